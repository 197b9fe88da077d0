"""Where the boxes and wires of a picture go.

Each connected part is put in layers, each layer wired only to the ones beside it. Wires run in the gutters
between layers; to boxes in a second or third column of a layer they run in lanes below its rows. A part
that is too wide goes on in a band below. So no wire crosses a box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netkit._display.grid import Grid, grid_of
from netkit._display.layers import components, is_leaf, layers_of, neighbours_of
from netkit._display.measure import Written, write
from netkit._display.model import Device, End
from netkit._display.routing import Route, Router

if TYPE_CHECKING:
    from netkit._display.picture import Picture

MARGIN, WIDEST = 18.0, 1180.0
_GUTTER, _TRACK, _BAND_GAP, _PART_GAP = 62.0, 7.0, 26.0, 34.0
_LITTLE_WIDER = 1.3  # is better than going on below
_MANY_BOXES, _FEW_LINES, _MOST_LINES = 12, 2, 5


@dataclass
class Layout:
    """Boxes with their places, wires with their ways, and the size of it all."""

    boxes: list[Written]
    routes: list[Route]
    width: float
    height: float


def lay_out(picture: Picture) -> Layout:
    """Find a place for everything."""
    beside = neighbours_of(picture.boxes, picture.wires)
    written = {each.key: write(each, _lines(picture)) for each in picture.boxes}
    parts = [_Part(each, beside, written, picture) for each in components(picture.boxes, beside)]
    width, height = _on_shelves(parts)
    boxes = [box for part in parts for box in part.written.values()]
    return Layout(boxes, [route for part in parts for route in part.routes], width, height)


def _lines(picture: Picture) -> int:
    """How many routes and rules are written of each kind: fewer where there are many boxes."""
    return _FEW_LINES if len(picture.boxes) > _MANY_BOXES else _MOST_LINES


def _on_shelves(parts: Sequence[_Part]) -> tuple[float, float]:
    """The parts beside each other as far as they fit, then below."""
    x = y = MARGIN
    shelf = widest = 0.0
    for part in parts:
        if x > MARGIN and x + part.width > MARGIN + WIDEST:
            x, y, shelf = MARGIN, y + shelf + _PART_GAP, 0.0
        part.move(x, y)
        x += part.width + _PART_GAP
        widest, shelf = max(widest, x - _PART_GAP), max(shelf, part.height)
    return max(widest + MARGIN, 200.0), y + shelf + MARGIN


class _Part:
    """What hangs together."""

    def __init__(
        self, keys: Sequence[str], beside: Mapping[str, Mapping[str, int]], written: dict[str, Written],
        picture: Picture,
    ) -> None:  # fmt: skip
        self._beside = beside
        self._lines = _lines(picture)
        self.written = {key: written[key] for key in keys}
        self._wires = [wire for wire in picture.wires if wire.near.box in self.written]
        self.layers, mirrored = layers_of(keys, beside)
        self._layer_of = {key: number for number, layer in enumerate(self.layers) for key in layer}
        self.grids = self._grids(mirrored)
        self.bands = self._bands()
        self._place()
        router = Router(self.grids, self.bands, self._layer_of, self._wires)
        self._write_in_order(router)
        self.routes = router.routes(self.written)
        self.width, self.height = self._size(router)

    def _grids(self, mirrored: bool) -> list[Grid]:
        grids: list[Grid] = []
        height = 0.0
        if mirrored:  # what the leaves hang on says how high they may stand
            height = max(self.written[key].height for key in self.layers[1])
        for number, layer in enumerate(self.layers):
            before = 1 if mirrored and number == 0 else number - 1
            known = self.layers[before] if 0 <= before < len(self.layers) else []
            parents = {key: [each for each in self._beside[key] if each in known] for key in layer}
            leaves = {
                key for key in layer if len(parents[key]) == 1 and is_leaf(key, parents[key][0], self._beside)
            }
            counts = {key: sum([self._beside[key][each] for each in parents[key]]) for key in layer}
            beside = grids[-1].width if grids else self._middle_width(mirrored)
            room = WIDEST - beside - _GUTTER
            grid = grid_of(layer, leaves, self.written, counts, (room, height))
            grid.mirrored = mirrored and number == 0
            grids.append(grid)
            height = max(height, grid.height)
        return grids

    def _middle_width(self, mirrored: bool) -> float:
        """The width of what leaves hang on to its left: they stay in one band with it."""
        return max([self.written[key].width for key in self.layers[1]]) if mirrored else 0.0

    def _gutter(self, number: int) -> float:
        """The width of what is right of a layer: more if wires turn back in it."""
        pairs = [(self._layer_of[wire.near.box], self._layer_of[wire.far.box]) for wire in self._wires]
        turns = pairs.count((number, number))
        through = pairs.count((number, number + 1)) + pairs.count((number + 1, number))
        return _GUTTER + _TRACK * min(turns, 24) + min(1.2 * through, 80.0)

    def _bands(self) -> list[list[int]]:
        whole = sum([grid.width + self._gutter(number) for number, grid in enumerate(self.grids)])
        if whole < WIDEST * _LITTLE_WIDER:
            return [list(range(len(self.grids)))]
        bands: list[list[int]] = [[]]
        width = 0.0
        for number, grid in enumerate(self.grids):
            hangs = number == 1 and self.grids[0].mirrored
            if bands[-1] and width + grid.width > WIDEST and not hangs:
                bands.append([])
                width = 0.0
            bands[-1].append(number)
            width += grid.width + self._gutter(number)
        return bands

    def _place(self) -> None:
        y = 0.0
        for count, band in enumerate(self.bands):
            crossing = self._crossing(count)
            y += _BAND_GAP + _TRACK * crossing if count else 0.0
            x = 16.0 + _TRACK * crossing if count else 0.0
            height = max(self.grids[number].height for number in band)
            for number in band:
                grid = self.grids[number]
                grid.x, grid.y = x, y + (height - grid.height) / 2
                grid.place(self.written)
                x += grid.width + self._gutter(number)
            y += height

    def _crossing(self, band: int) -> int:
        """The wires between a band and the one above it."""
        first = self.bands[band][0] if band else -1
        pairs = [(self._layer_of[wire.near.box], self._layer_of[wire.far.box]) for wire in self._wires]
        return len([pair for pair in pairs if sorted(pair) == [first - 1, first]])

    def _write_in_order(self, router: Router) -> None:
        """Devices stand in the order of where their wires lead, so that those do not cross."""
        for _ in range(2):
            heights = router.heights(self.written)
            for key, old in list(self.written.items()):
                new = write(old.box, self._lines, _Rank(key, heights))
                new.x, new.y, new.width = old.x, old.y, old.width
                self.written[key] = new

    def _size(self, router: Router) -> tuple[float, float]:
        right = [each.x + each.width for each in self.written.values()]
        bottom = [each.y + each.height for each in self.written.values()]
        for route in self.routes:
            right += [x for x, _ in route.points]
            bottom += [y for _, y in route.points]
        return max(right), max(bottom)

    def move(self, x: float, y: float) -> None:
        """To where it is to be."""
        for box in self.written.values():
            box.x += x
            box.y += y
        for route in self.routes:
            route.move(x, y)


class _Rank:
    """How far down a device's wire goes."""

    def __init__(self, key: str, heights: Mapping[End, float]) -> None:
        self._key = key
        self._heights = heights

    def __call__(self, device: Device) -> float:
        return self._heights.get(End(self._key, device.name), -1.0)
