"""Two kinds of chart: what a container costs by their number, and one time per contestant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from ..harness import quartiles
from .scale import LogScale, plain, spread
from .svg import Drawing, label_style, role

Series = Mapping[str, Mapping[int, float]]  # contestant: size: seconds per container
ORDER = {"peer": 0, "floor": 1, "ours": 2}  # what matters is drawn last


def _ordered(names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: ORDER[role(name)])


class Panel:
    """One of the line charts that stand side by side."""

    TOP, BOTTOM, LABELS = 62, 46, 168

    def __init__(
        self, drawing: Drawing, left: float, width: float, series: Series, bounds: list[float]
    ) -> None:
        self.drawing, self.series = drawing, series
        self.left, self.right = left + 46, left + width - self.LABELS
        self.low = drawing.height - self.BOTTOM
        sizes = sorted({size for points in series.values() for size in points})
        self.sizes = sizes
        self.x = LogScale(sizes, self.left + 8, self.right - 8, room=1.0)
        self.y = LogScale(bounds, self.low, self.TOP)

    def draw(self, title: str) -> None:
        """Axes, lines, and each line's name at its end."""
        self.drawing.text(self.left - 30, self.TOP - 14, title, style="strong")
        for tick in self.y.ticks():
            self.drawing.line(self.left, self.y(tick), self.right, self.y(tick), "grid")
            self.drawing.text(self.left - 6, self.y(tick) + 4, plain(tick), anchor="end")
        for size in self.sizes:
            self.drawing.text(self.x(size), self.low + 18, str(size), anchor="middle")
        self.drawing.text((self.left + self.right) / 2, self.low + 36, "containers", anchor="middle")
        for name in _ordered(list(self.series)):
            self._line(name)
        self._names()

    def _line(self, name: str) -> None:
        points = sorted(self.series[name].items())
        places = [(self.x(size), self.y(cost * 1e3)) for size, cost in points]
        self.drawing.path(places, f"line line-{role(name)}")
        for (size, cost), (x, y) in zip(points, places, strict=True):
            tooltip = f"{name}, {size} containers: {plain(cost * 1e3)} ms each"
            self.drawing.dot(x, y, 3, f"dot-{role(name)}", tooltip)

    def _names(self) -> None:
        names = list(self.series)
        ends = {name: max(self.series[name]) for name in names}
        heights = [self.y(self.series[name][ends[name]] * 1e3) for name in names]
        places = spread(heights, 15, self.TOP, self.low)
        for name, height, place in zip(names, heights, places, strict=True):
            x = self.x(ends[name])
            self.drawing.path([(x + 4, height), (self.right + 4, place), (self.right + 10, place)], "leader")
            cost = plain(self.series[name][ends[name]] * 1e3)
            self.drawing.text(self.right + 14, place + 4, f"{name}  {cost}", style=label_style(name))


def costs_by_size(path: Path, title: str, panels: Mapping[str, Series]) -> None:
    """Line charts side by side, with one scale: milliseconds per container by the number of containers."""
    drawing = Drawing(960, 520, title)
    drawing.text(18, 28, title, style="title")
    costs = [
        cost * 1e3 for series in panels.values() for points in series.values() for cost in points.values()
    ]
    width = drawing.width / len(panels)
    for number, (name, series) in enumerate(panels.items()):
        Panel(drawing, number * width, width, series, costs).draw(name)
    drawing.save(path)


def times(path: Path, title: str, measured: Mapping[str, Sequence[float]], unit: tuple[str, float]) -> None:
    """One row per contestant: the median as a dot, the quartiles as a bar, on a logarithmic scale."""
    name_of_unit, factor = unit
    rows = sorted(measured, key=lambda name: median(measured[name]))
    top, row, left, width = 56, 24, 190, 760
    drawing = Drawing(width, top + row * len(rows) + 42, title)
    drawing.text(18, 28, title, style="title")
    values = [
        value * factor for name in rows for value in (*quartiles(measured[name]), median(measured[name]))
    ]
    scale = LogScale(values, left, width - 80)
    low = top + row * len(rows)
    for tick in scale.ticks():
        drawing.line(scale(tick), top - 6, scale(tick), low, "grid")
        drawing.text(scale(tick), low + 18, plain(tick), anchor="middle")
    drawing.text((left + width - 80) / 2, low + 34, name_of_unit, anchor="middle")
    for number, name in enumerate(rows):
        y = top + row * number + row / 2
        drawing.text(left - 14, y + 4, name, anchor="end", style=label_style(name))
        first, third = (scale(value * factor) for value in quartiles(measured[name]))
        drawing.line(first, y, third, y, f"whisker whisker-{role(name)}")
        middle = median(measured[name]) * factor
        drawing.dot(scale(middle), y, 5, f"dot-{role(name)}", f"{name}: {plain(middle)} {name_of_unit}")
        drawing.text(max(third, scale(middle)) + 12, y + 4, plain(middle), style=label_style(name))
    drawing.save(path)
