"""The picture as a Mermaid flowchart: a subgraph per namespace, a node per device.

Grammar: mermaid.js.org/syntax/flowchart.html. Texts are in quotes, where entity codes (#quot;) are the only
thing that has a meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from netkit._display.palette import LIGHT
from netkit._display.summary import summarised
from netkit._display.texts import printable

if TYPE_CHECKING:
    from netkit._display.model import Box, Device, State
    from netkit._display.picture import Picture

_CODES = {"#": "#35;", '"': "#quot;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\\": "#92;"}
_LINES: dict[State, str] = {
    "up": "---",
    "planned": "---",
    "no carrier": "-. no carrier .-",
    "down": "-. down .-",
}
_COLOURS: dict[State, str] = {
    "up": LIGHT["up"],
    "no carrier": LIGHT["no-carrier"],
    "down": LIGHT["down"],
    "planned": LIGHT["planned"],
}


def draw(picture: Picture) -> str:
    """The text of a ```` ```mermaid ```` block."""
    drawn = summarised(picture)
    nodes = {
        (box.key, device.name): f"{box.key}d{number}"
        for box in drawn.boxes
        for number, device in enumerate(box.devices)
    }
    lines = ["flowchart LR"]
    for box in drawn.boxes:
        lines += _box(box, nodes)
    for wire in drawn.wires:
        lines.append(f"  {nodes[wire.near]} {_LINES[wire.state]} {nodes[wire.far]}")
    lines += _styles(drawn, nodes)
    return "\n".join([*lines, *([f"%% {printable(drawn.note)}"] if drawn.note else [])]) + "\n"


def _box(box: Box, nodes: dict[tuple[str, str], str]) -> Iterator[str]:
    marks = "".join([f" ({mark})" for mark in box.marks])
    yield f'  subgraph {box.key}["{_quoted(box.name + marks)}"]'
    masters = {each.name for each in box.devices}
    for device in box.devices:
        yield f"    {nodes[box.key, device.name]}{_shape(device)}"
    for device in box.devices:
        if device.master in masters and device.master != device.name:
            yield f"    {nodes[box.key, device.master or '']} --- {nodes[box.key, device.name]}"
    said = box.said
    if said or not box.devices:  # a subgraph with nothing in it is none, and its title has one line
        yield f'    {box.key}t["{"<br/>".join([_quoted(each) for each in said]) or "no links"}"]'
    yield "  end"


def _shape(device: Device) -> str:
    kind = "" if device.kind in (None, "veth") else f" {device.kind}"
    texts = [f"{device.name}{kind}", *device.addresses, *([f"→ {device.far}"] if device.far else [])]
    texts += [] if device.state in ("up", "planned") else [device.state]
    text = "<br/>".join([_quoted(each) for each in texts])
    return f'[["{text}"]]' if device.is_bridge else f'["{text}"]'


def _styles(picture: Picture, nodes: dict[tuple[str, str], str]) -> Iterator[str]:
    for state, colour in _COLOURS.items():
        here = [
            nodes[box.key, device.name]
            for box in picture.boxes
            for device in box.devices
            if device.state == state
        ]
        if here:
            name = state.replace(" ", "")
            yield f"  classDef {name} stroke:{colour},stroke-width:2px"
            yield f"  class {','.join(here)} {name}"


def _quoted(text: str) -> str:
    return "".join([_CODES.get(each, each) for each in printable(text)])
