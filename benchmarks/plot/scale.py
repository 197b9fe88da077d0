"""A logarithmic axis: where values lie, and which are marked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise


class LogScale:
    """From values to pixels between `start` and `end`."""

    def __init__(self, values: Iterable[float], start: float, end: float, room: float = 1.15) -> None:
        known = [*values]
        least, most = min(known), max(known)
        if least == most:  # one size only: in the middle of the axis
            room = max(room, 2.0)
        self.least, self.most = math.log10(least / room), math.log10(most * room)
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        part = (math.log10(value) - self.least) / (self.most - self.least)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """1, 10, 100, ... within the range; with 2 and 5 between where the range is short."""
        steps: tuple[int, ...] = (1,) if self.most - self.least > 2.2 else (1, 2, 5)
        powers = range(math.floor(self.least), math.ceil(self.most) + 1)
        marks = [step * 10.0**power for power in powers for step in steps]
        return [mark for mark in marks if self.least <= math.log10(mark) <= self.most]


def plain(value: float) -> str:
    """0.05, 1.3, 27, 1000: no more digits than one reads."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.0f}" if value == int(value) else f"{value:.1f}"
    text = f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def spread(wanted: list[float], gap: float, top: float, bottom: float) -> list[float]:
    """Places near the wanted ones, in their order, that do not overlap."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed = list(wanted)
    for before, this in pairwise(order):
        placed[this] = max(placed[this], placed[before] + gap)
    if order and placed[order[-1]] > bottom:
        placed[order[-1]] = bottom
        for this, after in reversed(list(pairwise(order))):
            placed[this] = min(placed[this], placed[after] - gap)
    if order and placed[order[0]] < top:
        placed[order[0]] = top
        for before, this in pairwise(order):
            placed[this] = max(placed[this], placed[before] + gap)
    return placed
