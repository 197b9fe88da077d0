"""The ways of the wires: through the gutters between layers, and the lanes below rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netkit._display.grid import COLUMN_GAP, Grid
from netkit._display.measure import Written
from netkit._display.model import End, Wire

Point = tuple[float, float]
_TRACK, _FIRST_TURN, _ROUND = 7.0, 16.0, 7.0
_MOST_TURNS = 24


@dataclass
class Route:
    """A wire and its way: a start, then curves of three points each."""

    wire: Wire
    points: list[Point]

    def move(self, x: float, y: float) -> None:
        """Move all of it."""
        self.points = [(each[0] + x, each[1] + y) for each in self.points]

    @property
    def path(self) -> str:
        """The ``d`` of an SVG path."""
        first, *rest = [f"{x:.1f},{y:.1f}" for x, y in self.points]
        curves = [f"C{' '.join(rest[number : number + 3])}" for number in range(0, len(rest), 3)]
        return f"M{first}{''.join(curves)}"


class Router:
    """Knows where each box stands in which layer."""

    def __init__(
        self,
        grids: Sequence[Grid],
        bands: Sequence[Sequence[int]],
        layer_of: Mapping[str, int],
        wires: Sequence[Wire],
    ) -> None:
        self._grids = grids
        self._band_of = {layer: number for number, band in enumerate(bands) for layer in band}
        self._bottoms = [max([grids[each].y + grids[each].height for each in band]) for band in bands]
        self._layer_of = layer_of
        self._places = {
            key: (row, column)
            for grid in grids
            for row, keys in enumerate(grid.rows)
            for column, key in enumerate(keys)
            if key is not None
        }
        self._wires = [self._outward(wire) for wire in wires]
        self._lanes = self._numbered_lanes()
        self._turns = self._numbered_turns()

    # -- who is where -----------------------------------------------------------------

    def _outward(self, wire: Wire) -> tuple[Wire, End, End]:
        """The wire, its end in the layer that the other one is placed by, and that other one."""
        near, far = wire.near, wire.far
        one, other = self._layer_of[near.box], self._layer_of[far.box]
        if one > other:
            near, far, one, other = far, near, other, one
        if one != other and self._grids[one].mirrored:
            near, far = far, near
        return wire, near, far

    def _numbered_lanes(self) -> dict[int, int]:
        """By wire: its lane in its row. Who goes farther takes a lower one."""
        rows: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for number, (_, near, far) in enumerate(self._wires):
            layer, (row, column) = self._layer_of[far.box], self._places[far.box]
            if column and self._layer_of[near.box] != layer:
                rows.setdefault((layer, row), []).append((column, number))
        return {wire: lane for row in rows.values() for lane, (_, wire) in enumerate(sorted(row))}

    def _numbered_turns(self) -> dict[int, int]:
        """By wire that comes back to its own layer: how far out it turns; the short ones first."""
        layers: dict[int, list[tuple[int, int]]] = {}
        for number, (_, near, far) in enumerate(self._wires):
            layer = self._layer_of[near.box]
            if layer == self._layer_of[far.box]:
                span = abs(self._places[near.box][0] - self._places[far.box][0])
                layers.setdefault(layer, []).append((span, number))
        return {wire: turn for some in layers.values() for turn, (_, wire) in enumerate(sorted(some))}

    def heights(self, written: Mapping[str, Written]) -> dict[End, float]:
        """How far down the other end of each wire is, as seen from this one."""
        found: dict[End, float] = {}
        for number, (_, near, far) in enumerate(self._wires):
            found[near] = self._entry(number, far, written)
            found[far] = written[near.box].anchor(near.device)
        return found

    def _entry(self, number: int, far: End, written: Mapping[str, Written]) -> float:
        """The height at which a wire enters the layer it leads to."""
        lane = self._lanes.get(number)
        if lane is None:
            return written[far.box].anchor(far.device)
        return self._grids[self._layer_of[far.box]].lane(self._places[far.box][0], lane)

    # -- ways ---------------------------------------------------------------------------

    def routes(self, written: Mapping[str, Written]) -> list[Route]:
        """The ways of all wires."""
        crossing = self._crossings(written)
        found: list[Route] = []
        for number, (wire, near, far) in enumerate(self._wires):
            if number in self._turns:
                points = self._turn(number, written[near.box], near, written[far.box], far)
            elif number in crossing:
                points = self._across(number, crossing[number], near, far, written)
            else:
                points = self._direct(number, near, far, written)
            found.append(Route(wire, points))
        return found

    def _turn(self, number: int, one: Written, near: End, other: Written, far: End) -> list[Point]:
        right = max(one.x + one.width, other.x + other.width)
        out = right + _FIRST_TURN + _TRACK * min(self._turns[number], _MOST_TURNS)
        top, bottom = one.anchor(near.device), other.anchor(far.device)
        return _rounded(
            [(one.x + one.width, top), (out, top), (out, bottom), (other.x + other.width, bottom)]
        )

    def _direct(self, number: int, near: End, far: End, written: Mapping[str, Written]) -> list[Point]:
        grid = self._grids[self._layer_of[far.box]]
        box = written[near.box]
        way = -1 if grid.mirrored else 1
        start = (box.x if grid.mirrored else box.x + box.width, box.anchor(near.device))
        entry = (grid.x + grid.width if grid.mirrored else grid.x, self._entry(number, far, written))
        return [start, *_curve(start, entry), *self._inward(number, entry, far, written, way)]

    def _inward(
        self, number: int, entry: Point, far: End, written: Mapping[str, Written], way: int
    ) -> list[Point]:
        """From where the wire enters the layer to its box."""
        if number not in self._lanes:
            return []
        box = written[far.box]
        edge = (box.x if way > 0 else box.x + box.width, box.anchor(far.device))
        drop = (edge[0] - way * (COLUMN_GAP - 8), entry[1])
        return [*_line(entry, drop), *_curve(drop, edge)]

    def _crossings(self, written: Mapping[str, Written]) -> dict[int, tuple[int, int]]:
        """By wire that leads to the next band: its place among those, and how many there are."""
        bands: dict[int, list[tuple[float, int]]] = {}
        for number, (_, near, far) in enumerate(self._wires):
            one, other = self._band_of[self._layer_of[near.box]], self._band_of[self._layer_of[far.box]]
            if one != other:
                bands.setdefault(other, []).append((written[near.box].anchor(near.device), number))
        return {
            wire: (place, len(some))
            for some in bands.values()
            for place, (_, wire) in enumerate(sorted(some))
        }

    def _across(
        self, number: int, place: tuple[int, int], near: End, far: End, written: Mapping[str, Written]
    ) -> list[Point]:
        """Out to the right, down, back below the band, and into the next one from the left."""
        box, grid = written[near.box], self._grids[self._layer_of[far.box]]
        layer = self._layer_of[near.box]
        turns = len([each for each in self._turns if self._layer_of[self._wires[each][1].box] == layer])
        back = _TRACK * (place[1] - 1 - place[0])
        start = (box.x + box.width, box.anchor(near.device))
        out = start[0] + _FIRST_TURN + _TRACK * min(turns, _MOST_TURNS) + back
        below = self._bottoms[self._band_of[layer]] + 13 + back
        inner = grid.x - 10 - _TRACK * place[0]
        entry = (grid.x, self._entry(number, far, written))
        corners = [start, (out, start[1]), (out, below), (inner, below), (inner, entry[1]), entry]
        return [*_rounded(corners), *self._inward(number, entry, far, written, 1)]


def _curve(start: Point, end: Point) -> list[Point]:
    middle = (start[0] + end[0]) / 2
    return [(middle, start[1]), (middle, end[1]), end]


def _line(start: Point, end: Point) -> list[Point]:
    return [start, end, end]


def _rounded(corners: Sequence[Point]) -> list[Point]:
    """A way along corners, each cut off by a curve."""
    points = [corners[0]]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        come, go = _towards(corner, before), _towards(corner, after)
        points += [*_line(points[-1], come), come if come == go else corner, corner, go]
    return [*points, *_line(points[-1], corners[-1])]


def _towards(corner: Point, other: Point) -> Point:
    """A little way from a corner."""
    x, y = other[0] - corner[0], other[1] - corner[1]
    length = abs(x) + abs(y)  # one of them is 0
    if not length:
        return corner
    part = min(_ROUND, length / 2) / length
    return corner[0] + x * part, corner[1] + y * part
