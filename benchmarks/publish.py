"""docs/performance.md: its tables and charts, from the figures in benchmarks/published.json.

`python -m benchmarks --publish` measures and does this; `python -m benchmarks.publish` does it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from . import machine
from .plot import figures
from .plot.scale import plain
from .reasons import reason

ROOT = Path(__file__).parents[1]
PUBLISHED = Path(__file__).parent / "published.json"
PAGE, CHARTS = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance"
MARKS = {part: (f"<!-- {part}: generated -->", f"<!-- {part}: end -->") for part in ("claims", "contestants")}
UNITS = {"ms": 1e3, "us": 1e6}

ORDER = (
    "demo_build", "star", "rootless", "memory", "many", "read_links", "operations", "ports", "connections",
    "run_command", "import_first", "fixtures",
)  # fmt: skip
LAST = 1 << 30  # what has no size comes after what has

Stored = Mapping[str, Any]


def merge(measured: Sequence[Stored], beside: bool = False) -> None:
    """Put results in the place of those of the same claim, size and phase; note the machine.

    ``beside``: who was not asked now keeps what he had, which was measured beside the floor, too.
    """
    before = json.loads(PUBLISHED.read_text())["results"] if PUBLISHED.exists() else []
    results = {_key(each): each for each in before}
    for each in measured:
        old = results.get(_key(each)) if beside else None
        results[_key(each)] = each if old is None else _together(old, each)
    whole = {"machine": machine.describe(), "results": [results[key] for key in sorted(results)]}
    PUBLISHED.write_text(json.dumps(_rounded(whole), indent=1) + "\n")


_BY_NAME = ("seconds", "ratio", "unfinished", "did_not_run", "rows")


def _together(old: Stored, new: Stored) -> Stored:
    asked = {name for part in _BY_NAME for name in new.get(part, ())}
    if new.get("base") in old.get("seconds", ()):  # it was played beside both: the one of more rounds stays
        asked.discard(new["base"])
    both = {
        part: {name: each for name, each in old.get(part, {}).items() if name not in asked}
        | {name: each for name, each in new[part].items() if name in asked}
        for part in _BY_NAME
        if part in new
    }
    known = {claim["claim"]: claim for claim in [*old["claims"], *new["claims"]]}
    for claim in old["claims"]:
        if known[claim["claim"]]["measured"] is None:
            known[claim["claim"]] = claim
    return {**new, **both, "claims": [*known.values()]}


def _key(result: Stored) -> tuple[int, int, str]:
    return ORDER.index(result["claim"]), result.get("size", LAST), result.get("phase", "")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


# -- tables -----------------------------------------------------------------------


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(head), _row("---" for _ in head), *(_row(cells) for cells in rows)]


def _verdict(claim: Stored) -> str:
    if claim["held"] is None:
        return "not measured"
    return "reached" if claim["held"] else f"**not reached**: {reason(claim['claim'])}"


def _claims(results: Sequence[Stored]) -> Iterator[Sequence[str]]:
    for result in results:
        command = f"`python -m benchmarks {result['claim']}`"
        for claim in result["claims"]:
            where = f"star of {result['size']}: " if result["claim"] == "star" and "size" in result else ""
            yield (where + claim["claim"], _asked(claim), _measured(claim), _verdict(claim), command)


def _is_fact(claim: Stored) -> bool:
    return claim["bound"] == 1 and not claim["at_most"]


def _asked(claim: Stored) -> str:
    if _is_fact(claim):
        return "yes"
    return ("at most " if claim["at_most"] else "at least ") + plain(claim["bound"])


def _measured(claim: Stored) -> str:
    if claim["measured"] is None:
        return ""
    if _is_fact(claim):
        return "yes" if claim["held"] else "no"
    return plain(claim["measured"])


def _of_star(results: Sequence[Stored], phase: str) -> list[str]:
    played = [each for each in results if each["claim"] == "star" and each.get("phase") == phase]
    names = dict.fromkeys(name for each in played for name in [*each["seconds"], *each["did_not_run"]])
    head = [f"star, {phase}: ms per container", *(f"{each['size']}" for each in played)]
    return _table(head, ([name, *(_of_size(each, name) for each in played)] for name in names))


def _of_size(result: Stored, name: str) -> str:
    if name not in result["seconds"]:
        return result["did_not_run"].get(name, "")
    seconds = result["seconds"][name]
    cost = plain(median(seconds) / result["size"] * 1e3)
    return f"{cost}{_few(seconds, result)}"


def _of_times(result: Stored) -> list[str]:
    unit, base = result["unit"], result["base"]
    rows = []
    for name, seconds in result["seconds"].items():
        quotient = result["ratio"][name]
        middle = f"{plain(median(seconds) * UNITS[unit])} {unit}{_few(seconds, result)}"
        rows.append((name, middle, "" if quotient is None else plain(quotient)))
    rows += [(name, how_far, "") for name, how_far in result.get("unfinished", {}).items()]
    rows += [(name, f"did not run: {why}", "") for name, why in result["did_not_run"].items()]
    return [*_table((result["title"], "median", f"times {base}"), rows), "", *_notes(result)]


def _few(seconds: Sequence[float], result: Stored) -> str:
    most = max(map(len, result["seconds"].values()))
    rounds = f"{len(seconds)} round{'s' if len(seconds) > 1 else ''}"
    return f" ({rounds})" if len(seconds) < most or most == 1 else ""


def _of_figures(result: Stored) -> list[str]:
    rows = [[name, *map(plain, figures)] for name, figures in result["rows"].items()]
    rows += [[name, f"did not run: {why}"] for name, why in result["did_not_run"].items()]
    return [*_table([result["title"], *result["columns"]], rows), "", *_notes(result)]


def _notes(result: Stored) -> list[str]:
    return [f"{note}  " for note in result.get("notes", ())]


def _contestants(results: Sequence[Stored]) -> Iterator[str]:
    for phase in ("build", "build, processor time", "teardown until the names are free"):
        yield from (*_of_star(results, phase), "")
    for result in results:
        if "rows" in result:
            yield from (*_of_figures(result), "")
        elif result["claim"] != "star":
            yield from (*_of_times(result), "")


# -- the page ---------------------------------------------------------------------


def _replace(page: str, part: str, lines: Iterable[str]) -> str:
    begin, end = MARKS[part]
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return "\n".join([before + begin, "", *lines, "", end + after])


def render() -> None:
    """Write the page's two blocks, and the charts."""
    stored = json.loads(PUBLISHED.read_text())
    results = stored["results"]
    head = ("figure", "asked", "measured", "", "command")
    claims = [machine.sentence(stored["machine"]), "", *_table(head, _claims(results))]
    page = _replace(PAGE.read_text(), "claims", claims)
    PAGE.write_text(_replace(page, "contestants", _contestants(results)))
    figures.draw(results, CHARTS)


if __name__ == "__main__":
    render()
