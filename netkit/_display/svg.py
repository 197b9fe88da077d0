"""The picture as SVG: no script, nothing from elsewhere, readable in light, in dark and on paper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from netkit._display.layout import lay_out
from netkit._display.measure import CHAR, HEAD, LINE, PAD, PILL, Mark
from netkit._display.palette import svg_style
from netkit._display.summary import summarised
from netkit._display.texts import printable, shortened

if TYPE_CHECKING:
    from netkit._display.measure import Label, Pill, Written
    from netkit._display.model import State
    from netkit._display.picture import Picture
    from netkit._display.routing import Route

_FOOT = 26.0
_STATES: tuple[State, ...] = ("up", "no carrier", "down", "planned")


def draw(picture: Picture) -> str:
    """The whole ``<svg>`` element."""
    drawn = summarised(picture)
    layout = lay_out(drawn)
    there: set[State] = {device.state for box in drawn.boxes for device in box.devices}
    states: list[State] = [state for state in _STATES if state in there]
    legend, needed = _legend(states, drawn.note, layout.height)
    width, height = max(layout.width, needed), layout.height + (_FOOT if legend else 0.0)
    body = [*_wires(layout.routes, drawn), *[part for box in layout.boxes for part in _box(box)], *legend]
    title = escape(picture.title or "a network")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="netkit-svg" role="img" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        'style="max-width:100%;height:auto">'
        f"<title>{title}</title><desc>{escape(str(drawn))}</desc><style>{svg_style()}</style>"
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}" rx="6"/>{"".join(body)}</svg>'
    )


def escape(text: str) -> str:
    """Harmless in XML and HTML, in elements and in attributes."""
    shown = "\n".join([printable(line) for line in text.split("\n")])
    for character, entity in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "#39")):
        shown = shown.replace(character, f"&{entity};")
    return shown


def _box(box: Written) -> Iterator[str]:
    x, y, width, height = box.x, box.y, box.width, box.height
    many = box.box.count > 1
    if many:  # as a stack of cards
        yield _rect("box", x + 6, y - 5, width, height, 6)
        yield _rect("box", x + 3, y - 2.5, width, height, 6)
    yield f'<g transform="translate({x:.1f},{y:.1f})">{_rect("box", 0, 0, width, height, 6)}'
    right = f"H{width - 7:.1f}A6,6 0 0 1 {width - 1:.1f},7"
    yield f'<path class="head" d="M1,{HEAD}V7A6,6 0 0 1 7,1{right}V{HEAD}Z"/>'
    for top, bottom in box.frames:
        yield _rect("frame", 5, top, width - 10, bottom - top, 4)
    if box.rule is not None:
        yield f'<path class="rule" d="M{PAD},{box.rule:.1f}H{width - PAD:.1f}"/>'
    for pill in box.pills:
        yield _pill(pill)
    for mark in box.marks:
        yield _mark(mark)
    for label in box.labels:
        yield _label(label)
    yield "</g>"


def _rect(style: str, x: float, y: float, width: float, height: float, round: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{style}" {place} rx="{round}"/>'


def _label(label: Label) -> str:
    title = f"<title>{escape(label.full)}</title>" if label.full else ""
    return (
        f'<text class="{label.style}" x="{label.x:.1f}" y="{label.y:.1f}">{title}{escape(label.text)}</text>'
    )


def _pill(pill: Pill) -> str:
    width, height = PILL - 8, 14.0
    return (
        f'<rect class="back {pill.word.lower()}" x="{pill.x:.1f}" y="{pill.y - height / 2:.1f}" '
        f'width="{width}" height="{height}" rx="7"/>'
        f'<text class="pill" x="{pill.x + width / 2:.1f}" y="{pill.y:.1f}">{pill.word}</text>'
    )


def _mark(mark: Mark) -> str:
    """The shape says what the colour says: a full disc, a triangle, a cross, a ring."""
    x, y, name = mark.x, mark.y, mark.state.replace(" ", "-")
    if mark.state == "up":
        return f'<circle class="mark full {name}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    if mark.state == "planned":
        return f'<circle class="mark void {name}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    if mark.state == "no carrier":
        return f'<path class="mark {name}" d="M{x:.1f},{y - 4:.1f}l4.5,8h-9z"/>'
    return f'<path class="mark {name}" d="M{x - 4:.1f},{y - 4:.1f}l8,8m0,-8l-8,8"/>'


def _wires(routes: Iterable[Route], picture: Picture) -> Iterator[str]:
    for route in routes:
        near, far = route.wire.near, route.wire.far
        ends = [f"{picture.box(end.box).name}:{end.device}" for end in (near, far)]
        title = f"<title>{escape(' – '.join(ends))}</title>"
        yield f'<path class="wire {route.wire.state.replace(" ", "-")}" d="{route.path}">{title}</path>'


def _legend(states: Iterable[State], note: str, y: float) -> tuple[list[str], float]:
    """What the shapes mean, and what has to be said; and how wide that is."""
    x, middle = 24.0, y + LINE / 2 - 4
    parts: list[str] = []
    for state in states:
        parts.append(_mark(Mark(x, middle, state)))
        parts.append(f'<text class="dim" x="{x + 10:.1f}" y="{middle:.1f}">{state}</text>')
        x += 10 + CHAR * (len(state) + 3)
    if note:
        text = shortened(printable(note), 110)
        parts.append(f'<text class="dim" x="{x:.1f}" y="{middle:.1f}">{escape(text)}</text>')
        x += CHAR * len(text)
    return parts, x + 18
