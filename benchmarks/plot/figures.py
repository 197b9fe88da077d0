"""The page's charts, from the results of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from . import charts

Stored = Mapping[str, Any]


def _found(results: Iterable[Stored], claim: str, phase: str | None = None) -> list[Stored]:
    return [each for each in results if each.get("claim") == claim and phase in (None, each.get("phase"))]


def _per_container(results: Sequence[Stored], phase: str) -> dict[str, dict[int, float]]:
    series: dict[str, dict[int, float]] = {}
    for result in _found(results, "star", phase):
        for name, seconds in result["seconds"].items():
            if phase != "build" and "Topology" in name:
                continue  # its hub goes too: no names have to be free
            series.setdefault(name, {})[result["size"]] = median(seconds) / result["size"]
    return series


def star(results: Sequence[Stored], directory: Path) -> None:
    """Build and teardown by the number of containers."""
    panels = {
        "build, ms per container": _per_container(results, "build"),
        "teardown until the names are free, ms per container": _per_container(
            results, "teardown until the names are free"
        ),
    }
    if all(panels.values()):
        charts.costs_by_size(directory / "star.svg", "A star of containers around a bridge", panels)


def _one(results: Sequence[Stored], path: Path, title: str, unit: tuple[str, float], *which: str) -> None:
    for result in _found(results, *which):
        if result["seconds"]:
            charts.times(path, title, result["seconds"], unit)


def draw(results: Sequence[Stored], directory: Path) -> None:
    """Every chart whose figures are there."""
    directory.mkdir(parents=True, exist_ok=True)
    star(results, directory)
    ms = ("ms", 1e3)
    _one(results, directory / "demo_build.svg", "The demo's network, built", ms, "demo_build")
    title = "1001 links with their 2002 addresses, read into objects"
    _one(results, directory / "read_links.svg", title, ms, "read_links", "all")
    _one(
        results,
        directory / "run_command.svg",
        "A command run inside a namespace, in milliseconds",
        ms,
        "run_command",
    )
