"""A drawing of namespaces side by side, made from what the kernel says is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from netkit import Namespace
from netkit._display.model import Box, Device
from netkit._display.picture import Picture
from netkit._display.sources import of_named

_CABLE = "-------"


def draw(namespaces: Sequence[tuple[str, Namespace]]) -> list[str]:
    """The namespaces from left to right, as (name, namespace); a veth joins neighbours.

    Each link has a row of lines: its name and kind, its addresses, the bridge it is a port of.
    """
    picture = of_named(namespaces)
    columns = [_Column(box) for box in picture.boxes]
    cables = list(_cables(picture))
    for left, end, peer in cables:
        _put(columns, {left: end, left + 1: peer})
    for column in columns:
        column.add_others()
    height = max(len(column.lines) for column in columns)
    for column in columns:
        column.finish(height)
    joined = {(left, _row_of(columns[left], end.name)) for left, end, _ in cables}
    return [_joined(columns, row, joined) for row in range(height + 2)]


class _Column:
    """One namespace: a box with lines."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.lines: list[str] = []
        self.drawn: list[Device] = []

    def add(self, device: Device) -> None:
        self.lines += _described(device)
        self.drawn.append(device)

    def pad(self, height: int) -> None:
        self.lines += [""] * (height - len(self.lines))

    def add_others(self) -> None:
        """The links without a neighbour, and the routes that the kernel did not add by itself."""
        for device in self.box.devices:
            if device not in self.drawn:
                self.add(device)
        self.lines += [*self.box.defaults, *[f"route {route}" for route in self.box.routes]]

    def finish(self, height: int) -> None:
        self.pad(height)
        self.width = max(len(text) for text in (*self.lines, self.box.name)) + 2

    def row(self, number: int) -> str:
        if number == 0:
            return f"+- {self.box.name} {'-' * (self.width - len(self.box.name) - 3)}+"
        if number > len(self.lines):
            return f"+{'-' * self.width}+"
        return f"| {self.lines[number - 1]:<{self.width - 2}} |"


def _described(device: Device) -> list[str]:
    first = f"{device.name} ({device.kind})" if device.kind != "veth" else device.name
    lines = [first, *[f"  {address}" for address in device.addresses]]
    return lines if device.master is None else [*lines, f"  port of {device.master}"]


def _cables(picture: Picture) -> Iterable[tuple[int, Device, Device]]:
    """Number of the left namespace, the link in it, and the one in its right neighbour."""
    for number, (left, right) in enumerate(pairwise(picture.boxes)):
        for wire in picture.wires:
            ends = {wire.near.box: wire.near.device, wire.far.box: wire.far.device}
            if ends.keys() == {left.key, right.key}:
                yield number, left.device(ends[left.key]), right.device(ends[right.key])


def _put(columns: Sequence[_Column], ends: dict[int, Device]) -> None:
    """Draw the two ends of a cable in the same row."""
    start = max(len(columns[number].lines) for number in ends)
    for number, device in ends.items():
        columns[number].pad(start)
        columns[number].add(device)


def _row_of(column: _Column, name: str) -> int:
    return column.lines.index(name) + 1


def _joined(columns: Sequence[_Column], row: int, joined: set[tuple[int, int]]) -> str:
    text = ""
    for number, column in enumerate(columns):
        text += column.row(row)
        text += _CABLE if (number, row) in joined else " " * len(_CABLE)
    return text.rstrip()
