"""Interleaved rounds (A B C A B C ...), medians, and ratios taken round by round.

One machine's milliseconds mean little on another, or an hour later. What lasts is the ratio of two
programs that ran within the same few milliseconds, so each round runs every contestant once, the
ratio to the floor is taken within the round, and the median over the rounds is what a claim is about.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

DEADLINE = 120.0  # seconds: no answer takes that long unless something hangs

Reply = dict[str, object]


class Unavailable(Exception):
    """This contestant cannot run here; the text says why, and the table shows it."""


class Child:
    """A contestant's own process: one command per line to it, one JSON answer per line back."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def ask(self, *words: object) -> Reply:
        """Send a command and return its answer; Unavailable if the child reports an error."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        except BrokenPipeError:
            raise Unavailable("its process has ended") from None
        reply: Reply = json.loads(self._line())
        if "error" in reply:
            raise Unavailable(str(reply["error"]))
        return reply

    def seconds(self, *words: object) -> float:
        """The time a command took, as its process measured it."""
        return float(str(self.ask(*words)["seconds"]))

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        line, deadline = b"", time.monotonic() + DEADLINE
        while not line.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], deadline - time.monotonic())[0]:
                raise Unavailable(f"no answer in {DEADLINE:.0f} s")
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


Measure = Callable[[], float]


def interleave(
    contestants: Mapping[str, Measure], rounds: int, between: Callable[[], object] | None = None
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds per contestant and round, after one round of warm-up; and why some dropped out."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    failed: dict[str, str] = {}
    for number in range(rounds + 1):
        for name, measure in contestants.items():
            if name not in failed:
                _one(name, measure, times, failed, keep=number > 0)
                if between is not None:
                    between()
        _progress(f"  round {number}/{rounds}")
    _progress("")
    return times, failed


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:30}\r", end="", file=sys.stderr, flush=True)


def _one(
    name: str, measure: Measure, times: dict[str, list[float]], failed: dict[str, str], keep: bool
) -> None:
    try:
        seconds = measure()
    except Unavailable as reason:
        failed[name] = str(reason)
        del times[name]
        return
    if keep:
        times[name].append(seconds)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and third quartile, so that a few disturbed rounds do not show."""
    ordered = sorted(values)
    return ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]


def ratios(times: Sequence[float], base: Sequence[float]) -> list[float]:
    """Round by round, how many times the base."""
    return [one / other for one, other in zip(times, base, strict=True)]


def ratio(times: Mapping[str, Sequence[float]], name: str, base: str) -> float | None:
    """The median over the rounds of `name`'s time by `base`'s, or None if one of them did not run."""
    if name not in times or base not in times:
        return None
    return median(ratios(times[name], times[base]))
