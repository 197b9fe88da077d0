"""The picture for Graphviz: a table per namespace, whose cells the veths are tied to.

Grammar: graphviz.org/doc/info/shapes.html#html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkit._display.palette import LIGHT
from netkit._display.summary import summarised
from netkit._display.svg import escape
from netkit._display.texts import printable

if TYPE_CHECKING:
    from netkit._display.model import Box, Device, State
    from netkit._display.picture import Picture

_STYLES: dict[State, str] = {
    "up": f'color="{LIGHT["up"]}"',
    "planned": f'color="{LIGHT["planned"]}"',
    "no carrier": f'color="{LIGHT["no-carrier"]}" style=dotted label="no carrier"',
    "down": f'color="{LIGHT["down"]}" style=dashed label="down"',
}


def draw(picture: Picture) -> str:
    """The text of a ``.dot`` file."""
    drawn = summarised(picture)
    ports = {
        (box.key, device.name): f"{box.key}:d{number}"
        for box in drawn.boxes
        for number, device in enumerate(box.devices)
    }
    lines = ["graph network {", "  rankdir=LR", '  node [shape=plain fontname="monospace" fontsize=10]']
    lines += ['  edge [fontname="monospace" fontsize=9]']
    lines += [f"  {box.key} [label=<{_table(box)}>]" for box in drawn.boxes]
    lines += [f"  {ports[wire.near]} -- {ports[wire.far]} [{_STYLES[wire.state]}]" for wire in drawn.wires]
    if note := " ".join(drawn.note.split()):  # a label of nothing but space is a syntax error
        lines.append(f"  label=<{_text(note)}>")
    return "\n".join([*lines, "}"]) + "\n"


def _text(text: str) -> str:
    """In one line: elements of nothing but line ends are syntax errors."""
    return escape(printable(text))


def _table(box: Box) -> str:
    marks = "".join([f" ({_text(mark)})" for mark in box.marks])
    rows = [f'<TR><TD BGCOLOR="{LIGHT["head"]}"><B>{_text(box.name)}</B>{marks}</TD></TR>']
    names = {each.name: number for number, each in enumerate(box.devices)}
    rows += [_row(each, f"d{names[each.name]}", each.master in names) for each in box.in_order()]
    rows += [f'<TR><TD ALIGN="LEFT">{_text(text)}</TD></TR>' for text in box.said]
    return f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3">{"".join(rows)}</TABLE>'


def _row(device: Device, port: str, is_port: bool) -> str:
    kind = "" if device.kind in (None, "veth") else f" <I>{_text(device.kind or '')}</I>"
    state = "" if device.state in ("up", "planned") else f" ({device.state})"
    texts = [*device.addresses, *([f"→ {device.far}"] if device.far else [])]
    indent = "&#160;&#160;" if is_port else ""
    first, *rest = [_text(each) for each in texts] or [""]
    line = f"{indent}{_text(device.name)}{kind}{state} {first}".rstrip()
    more = "".join([f'<BR ALIGN="LEFT"/>{indent}&#160;&#160;{each}' for each in rest])
    return f'<TR><TD PORT="{port}" ALIGN="LEFT" BALIGN="LEFT">{line}{more}</TD></TR>'
