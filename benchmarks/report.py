"""A claim's result: as a table for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from .harness import quartiles, ratio, ratios

UNITS = {"ms": 1e3, "us": 1e6}


class Claim:
    """`ratio(subject, base)` is to be at most (or at least) `bound`."""

    def __init__(self, text: str, measured: float | None, bound: float, at_most: bool = True) -> None:
        self.text, self.measured, self.bound, self.at_most = text, measured, bound, at_most

    @classmethod
    def fact(cls, text: str, holds: bool) -> Claim:
        """A claim without a figure."""
        return cls(text, float(holds), 1, at_most=False)

    @property
    def held(self) -> bool | None:
        """None: not measured, because one of the two did not run."""
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def line(self) -> str:
        """One sentence with the verdict."""
        if self.measured is None:
            return f"  not measured: {self.text}"
        return f"  {'holds' if self.held else 'DOES NOT HOLD'}: {self.text} (measured {self.measured:.2f})"

    def json(self) -> dict[str, object]:
        """For programs."""
        return {
            "claim": self.text,
            "measured": self.measured,
            "bound": self.bound,
            "at_most": self.at_most,
            "held": self.held,
        }


class Result:
    """The times of one interleaved run."""

    def __init__(
        self,
        title: str,
        times: Mapping[str, Sequence[float]],
        failed: Mapping[str, str],
        base: str,
        unit: str = "ms",
        claims: Sequence[Claim] = (),
        notes: Sequence[str] = (),
        extra: Mapping[str, object] | None = None,
        unfinished: Mapping[str, str] | None = None,
    ) -> None:
        self.title, self.times, self.failed, self.base = title, times, failed, base
        self.unit, self.claims, self.notes, self.extra = unit, claims, notes, extra or {}
        self.unfinished = unfinished or {}

    def table(self) -> str:
        """Fixed columns; the ratio's spread is its quartiles over the rounds."""
        width = max(map(len, [*self.times, *self.failed, *self.unfinished, self.title[:1]]))
        head = f"  {'':{width}}  {'median':>10} {'min':>10}   {'x ' + self.base:>9}  (quartiles)"
        rows = [self._row(name, width) for name in self.times]
        rows += [f"  {name:{width}}  {how_far}" for name, how_far in self.unfinished.items()]
        rows += [f"  {name:{width}}  did not run: {reason}" for name, reason in self.failed.items()]
        notes = [f"  {note}" for note in self.notes]
        return "\n".join([self.title, head, *rows, *notes, *(claim.line() for claim in self.claims)])

    def _row(self, name: str, width: int) -> str:
        times = self.times[name]
        middle, least = (
            f"{value * UNITS[self.unit]:.2f} {self.unit}" for value in (median(times), min(times))
        )
        row = f"  {name:{width}}  {middle:>10} {least:>10}"
        if self.base not in self.times:
            return row
        low, high = quartiles(ratios(times, self.times[self.base]))
        return row + f"   {ratio(self.times, name, self.base):>9.2f}  ({low:.2f} - {high:.2f})"

    def json(self) -> dict[str, object]:
        """Everything measured, in seconds, each round."""
        return {
            "title": self.title,
            "base": self.base,
            "unit": self.unit,
            "seconds": {name: list(times) for name, times in self.times.items()},
            "ratio": {name: ratio(self.times, name, self.base) for name in self.times},
            "unfinished": dict(self.unfinished),
            "did_not_run": dict(self.failed),
            "claims": [claim.json() for claim in self.claims],
            "notes": list(self.notes),
            **self.extra,
        }


class Figures:
    """What is no time: a row of figures per contestant, each with its unit in the column's head."""

    def __init__(
        self,
        title: str,
        columns: Sequence[str],
        rows: Mapping[str, Sequence[float]],
        failed: Mapping[str, str],
        claims: Sequence[Claim] = (),
        notes: Sequence[str] = (),
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self.title, self.columns, self.rows, self.failed = title, columns, rows, failed
        self.claims, self.notes, self.extra = claims, notes, extra or {}

    def table(self) -> str:
        """As `Result.table`."""
        width = max(map(len, [*self.rows, *self.failed, ""]))
        lines = [self.title, f"  {'':{width}}  " + "  ".join(self.columns)]
        for name, figures in self.rows.items():
            cells = (f"{figure:>{len(head)}.2f}" for figure, head in zip(figures, self.columns, strict=True))
            lines.append(f"  {name:{width}}  " + "  ".join(cells))
        lines += [f"  {name:{width}}  did not run: {reason}" for name, reason in self.failed.items()]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes), *(c.line() for c in self.claims)])

    def json(self) -> dict[str, object]:
        """Everything measured."""
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": {name: list(figures) for name, figures in self.rows.items()},
            "did_not_run": dict(self.failed),
            "claims": [claim.json() for claim in self.claims],
            **self.extra,
        }
