"""Interleaved rounds (A B C A B C ...), medians, and ratios taken round by round.

One machine's milliseconds mean little on another, or an hour later. What lasts is the ratio of two
programs that ran within the same few milliseconds, so each round runs every contestant once, the
ratio to the floor is taken within the round, and the median over the rounds is what a claim is about.
"""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

DEADLINE = 120.0  # seconds: no answer takes that long unless something hangs

Reply = dict[str, object]


class Unavailable(Exception):
    """This contestant cannot run here; the text says why, and the table shows it."""


@dataclass(frozen=True)
class Setting:
    """What the command line asks of a claim."""

    floor: Path
    rounds: int
    wanted: Callable[[str], bool]
    sizes: Sequence[int] | None = None
    phases: Sequence[str] | None = None

    def has_phase(self, name: str) -> bool:
        """Whether it is to be played."""
        return self.phases is None or name in self.phases


class Child:
    """A contestant's own process: one command per line to it, one JSON answer per line back."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def ask(self, *words: object, deadline: float = DEADLINE) -> Reply:
        """Send a command and return its answer; Unavailable if the child reports an error."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        except BrokenPipeError:
            raise Unavailable("its process has ended") from None
        reply: Reply = json.loads(self._line(deadline))
        if "error" in reply:
            raise Unavailable(str(reply["error"]))
        return reply

    def seconds(self, *words: object) -> float:
        """The time a command took, as its process measured it."""
        return float(str(self.ask(*words)["seconds"]))

    def _line(self, seconds: float) -> bytes:
        assert self.process.stdout is not None
        line, deadline = b"", time.monotonic() + seconds
        while not line.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], deadline - time.monotonic())[0]:
                raise Unavailable(f"no answer in {seconds:.0f} s")
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                raise Unavailable(f"its process ended with status {self.process.wait()}")
            line += part
        return line

    def close(self) -> None:
        """End of input ends the child; one that does not listen is killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


T = TypeVar("T")


class Budget:
    """Contestants that take long play fewer rounds: as many as fit, and one at least."""

    def __init__(self, seconds: float, cost: Callable[[Any], float], exempt: Collection[str]) -> None:
        self.seconds, self.cost, self.exempt = seconds, cost, exempt

    def rounds(self, name: str, warm_up: object) -> float:
        """How many rounds after the warm-up, which took as long as it took."""
        return math.inf if name in self.exempt else self.seconds // max(self.cost(warm_up), 1e-9)


def interleave(
    contestants: Mapping[str, Callable[[], T]],
    rounds: int,
    between: Callable[[], object] | None = None,
    budget: Budget | None = None,
) -> tuple[dict[str, list[T]], dict[str, str]]:
    """What each measured per round, after one round of warm-up; and why some dropped out.

    Those that do not fit the budget play the first rounds only; if none, their warm-up is what counts.
    """
    samples: dict[str, list[T]] = {name: [] for name in contestants}
    allowed: dict[str, float] = dict.fromkeys(contestants, math.inf)
    failed: dict[str, str] = {}
    for number in range(rounds + 1):
        for name, measure in contestants.items():
            if name in failed or number > allowed[name]:
                continue
            _progress(f"  round {number}/{rounds}, {name}")
            sample = _one(name, measure, failed)
            if sample is None:
                samples.pop(name)
            elif number == 0 and budget is not None:
                allowed[name] = budget.rounds(name, sample)
            if sample is not None and (number > 0 or allowed[name] < 1):
                samples[name].append(sample)
            if between is not None:
                between()
    _progress("")
    return samples, failed


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:60}\r", end="", file=sys.stderr, flush=True)


def _one(name: str, measure: Callable[[], T], failed: dict[str, str]) -> T | None:
    try:
        return measure()
    except Unavailable as reason:
        failed[name] = str(reason)
        return None


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and third quartile, so that a few disturbed rounds do not show."""
    ordered = sorted(values)
    return ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]


def ratios(times: Sequence[float], base: Sequence[float]) -> list[float]:
    """Round by round, how many times the base; of the rounds that both played, which are the first."""
    return [one / other for one, other in zip(times, base, strict=False)]


def ratio(times: Mapping[str, Sequence[float]], name: str, base: str) -> float | None:
    """The median over the rounds of `name`'s time by `base`'s, or None if one of them did not run."""
    if name not in times or base not in times:
        return None
    return median(ratios(times[name], times[base]))
