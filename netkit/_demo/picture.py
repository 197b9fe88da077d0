"""A drawing of namespaces side by side, made from what the kernel says is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from netkit import Link, Namespace

_CABLE = "-------"


def draw(namespaces: Sequence[tuple[str, Namespace]]) -> list[str]:
    """The namespaces from left to right, as (name, namespace); a veth joins neighbours.

    Each link has a row of lines: its name and kind, its addresses, the bridge it is a port of.
    """
    columns = [_Column(name, netns) for name, netns in namespaces]
    cables = list(_cables([netns for _, netns in namespaces]))
    for left, end, peer in cables:
        _put(columns, {left: end, left + 1: peer})
    for column in columns:
        column.add_others()
    height = max(len(column.lines) for column in columns)
    for column in columns:
        column.finish(height)
    joined = {_row_of(columns[left], end.name) for left, end, _ in cables}
    return [_joined(columns, row, row in joined, cables) for row in range(height + 2)]


class _Column:
    """One namespace: a box with lines."""

    def __init__(self, name: str, netns: Namespace) -> None:
        self.name = name
        self.netns = netns
        self.lines: list[str] = []
        self.drawn: list[Link] = []

    def add(self, link: Link) -> None:
        self.lines += _described(link)
        self.drawn.append(link)

    def pad(self, height: int) -> None:
        self.lines += [""] * (height - len(self.lines))

    def add_others(self) -> None:
        """The links without a neighbour, and the routes that the kernel did not add by itself."""
        for link in self.netns.links:
            if link not in self.drawn and link.name != "lo":
                self.add(link)
        routes = [route for route in self.netns.routes.filter(family=4) if route.proto != "kernel"]
        self.lines += [f"route {route.dst} dev {route.dev}" for route in routes]

    def finish(self, height: int) -> None:
        self.pad(height)
        self.width = max(len(text) for text in (*self.lines, self.name)) + 2

    def row(self, number: int) -> str:
        if number == 0:
            return f"+- {self.name} {'-' * (self.width - len(self.name) - 3)}+"
        if number > len(self.lines):
            return f"+{'-' * self.width}+"
        return f"| {self.lines[number - 1]:<{self.width - 2}} |"


def _described(link: Link) -> list[str]:
    master = link.master
    first = f"{link.name} ({link.kind})" if link.kind != "veth" else link.name
    lines = [first, *[f"  {address}" for address in link.addresses if address.version == 4]]
    return lines if master is None else [*lines, f"  port of {master.name}"]


def _cables(namespaces: Sequence[Namespace]) -> Iterable[tuple[int, Link, Link]]:
    """Number of the left namespace, the link in it, and the one in its right neighbour."""
    for left, (here, there) in enumerate(pairwise(namespaces)):
        for link in here.links:
            peer = link.peer
            if peer is not None and peer.netns is there:
                yield left, link, peer


def _put(columns: Sequence[_Column], ends: dict[int, Link]) -> None:
    """Draw the two ends of a cable in the same row."""
    start = max(len(columns[number].lines) for number in ends)
    for number, link in ends.items():
        columns[number].pad(start)
        columns[number].add(link)


def _row_of(column: _Column, name: str) -> int:
    return column.lines.index(name) + 1


def _joined(
    columns: Sequence[_Column], row: int, any_cable: bool, cables: Sequence[tuple[int, Link, Link]]
) -> str:
    text = ""
    for number, column in enumerate(columns):
        text += column.row(row)
        cable = any_cable and any(
            left == number and _row_of(columns[left], end.name) == row for left, end, _ in cables
        )
        text += _CABLE if cable else " " * len(_CABLE)
    return text.rstrip()
