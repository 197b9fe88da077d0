"""One layer of a picture: its boxes in rows and columns, with room below each row for the wires that pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from netkit._display.measure import Written

ROW_GAP, LANE, COLUMN_GAP = 14.0, 6.0, 44.0
_MOST_COLUMNS, _GOOD_HEIGHT = 5, 520.0


@dataclass
class Grid:
    """``rows`` of keys, the first column nearest to the layer before; ``lanes`` pass below each row."""

    rows: list[list[str | None]]
    lanes: list[int] = field(default_factory=list[int])
    widths: list[float] = field(default_factory=list[float])
    heights: list[float] = field(default_factory=list[float])
    x: float = 0.0
    y: float = 0.0
    mirrored: bool = False

    def measure(self, written: Mapping[str, Written], wires_to: Mapping[str, int]) -> Grid:
        """Find how large it is; ``wires_to`` counts what comes to each box from the layer before."""
        columns = max(len(row) for row in self.rows)
        self.lanes = [sum([wires_to.get(key, 0) for key in row[1:] if key]) for row in self.rows]
        self.heights = [max([written[key].height for key in row if key]) for row in self.rows]
        self.widths = [
            max([written[row[column]].width for row in self.rows if column < len(row) and row[column]])  # type: ignore[index]
            for column in range(columns)
        ]
        return self

    @property
    def width(self) -> float:
        """From side to side."""
        return sum(self.widths) + COLUMN_GAP * (len(self.widths) - 1)

    @property
    def height(self) -> float:
        """From top to bottom, with the lanes."""
        return sum(self.heights) + LANE * sum(self.lanes) + ROW_GAP * (len(self.rows) - 1)

    def column_left(self, column: int) -> float:
        """Where a column begins, counted from the layer before."""
        before = sum(self.widths[:column]) + COLUMN_GAP * column
        return self.x + (self.width - before - self.widths[column] if self.mirrored else before)

    def row_top(self, row: int) -> float:
        """Where the boxes of a row begin."""
        before = sum(self.heights[:row]) + ROW_GAP * row
        return self.y + before + LANE * sum(self.lanes[:row])

    def lane(self, row: int, number: int) -> float:
        """The height of a lane, counted from the top."""
        return self.row_top(row) + self.heights[row] + LANE * (number + 1)

    def place(self, written: Mapping[str, Written]) -> None:
        """Give each box its corner, and those of a column the same width."""
        for number, row in enumerate(self.rows):
            for column, key in enumerate(row):
                if key is not None:
                    box = written[key]
                    box.x, box.y = self.column_left(column), self.row_top(number)
                    box.width = self.widths[column]


def grid_of(
    layer: Sequence[str],
    leaves: Collection[str],
    written: Mapping[str, Written],
    wires_to: Mapping[str, int],
    room: tuple[float, float],
) -> Grid:
    """As few columns as fit the height; what goes on to the next layer stands in the last one.

    ``room`` is the width there is and the height that there is anyway.
    """
    width, height = room
    best = Grid([[key] for key in layer]).measure(written, wires_to)
    for columns in range(2, _MOST_COLUMNS + 1):
        if best.height <= max(height, _GOOD_HEIGHT) or not any(key in leaves for key in layer):
            break
        wider = Grid(_rows(layer, leaves, columns)).measure(written, wires_to)
        if wider.width > width or wider.height >= best.height:
            break
        best = wider
    return best


def _rows(layer: Sequence[str], leaves: Collection[str], columns: int) -> list[list[str | None]]:
    hanging = [key for key in layer if key in leaves]
    going_on = [key for key in layer if key not in leaves]
    across = min(columns - 1, len(hanging)) if going_on else columns
    rows: list[list[str | None]] = [
        [*hanging[start : start + across]] for start in range(0, len(hanging), across)
    ]
    for number, key in enumerate(going_on):
        if number == len(rows):
            rows.append([])
        rows[number] += [*[None] * (across - len(rows[number])), key]
    return rows
