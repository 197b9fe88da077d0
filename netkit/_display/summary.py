"""A big network made small enough to look at: what hangs on one place alike is drawn as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from netkit._display.layers import neighbours_of
from netkit._display.model import Box, Device, End

if TYPE_CHECKING:
    from netkit._display.picture import Picture

MOST = 60
_SHOWN = 3  # of the leaves of one place, if there are too many


def summarised(picture: Picture, most: int = MOST) -> Picture:
    """The same picture if it is small; else leaves of one place are put together, and the rest is cut."""
    if len(picture.boxes) <= most:
        return picture
    smaller = _together(picture)
    return smaller if len(smaller.boxes) <= most else _cut(smaller, most)


def _together(picture: Picture) -> Picture:
    """The leaves of each place but the first few become one box."""
    from netkit._display.picture import Picture

    beside = neighbours_of(picture.boxes, picture.wires)
    places: dict[str, list[Box]] = {}
    for box in picture.boxes:
        others = beside[box.key]
        if len(others) == 1 and len(box.devices) == 1 and sum(others.values()) == 1 and box.key not in others:
            (place,) = others
            if len(beside[place]) > 1:
                places.setdefault(place, []).append(box)
    gone = {box.key: boxes for boxes in places.values() if len(boxes) > _SHOWN + 1 for box in boxes[_SHOWN:]}
    stacks = {boxes[_SHOWN].key: _stack(boxes[_SHOWN:]) for boxes in gone.values()}
    kept = [stacks.get(box.key, box) for box in picture.boxes if box.key not in gone or box.key in stacks]
    wires = [
        wire for wire in picture.wires if not {wire.near.box, wire.far.box} & (gone.keys() - stacks.keys())
    ]
    unplugged = {end for wire in picture.wires if wire not in wires for end in (wire.near, wire.far)}
    counts = {box.key: sum([1 for end in unplugged if end.box == box.key]) for box in kept}
    boxes = [_without_ports(box, unplugged) if counts[box.key] else box for box in kept]
    note = (
        f"{len(picture.boxes)} namespaces, {len(picture.wires)} veths; those that are alike are drawn as one."
    )
    return Picture(boxes, wires, picture.title, " ".join([note, picture.note]).strip())


def _stack(boxes: Sequence[Box]) -> Box:
    """One box for many: the first and last of their names and addresses."""
    first, last = boxes[0], boxes[-1]
    device = first.devices[0]
    ends = [each.devices[0].addresses[:1] for each in (first, last)]
    addresses = (" – ".join([address for some in ends for address in some]),) if all(ends) else ()
    name = f"{first.name} – {last.name}"
    state = device.state if all(each.devices[0].state == device.state for each in boxes) else "no carrier"
    stacked = Device(device.name, device.kind, state, addresses, device.master)
    return Box(first.key, name, (stacked,), first.defaults, remark=f"{len(boxes)} of them", count=len(boxes))


def _without_ports(box: Box, unplugged: set[End]) -> Box:
    """Without the ports whose wires are not drawn."""
    devices = [each for each in box.devices if End(box.key, each.name) not in unplugged]
    more = len(box.devices) - len(devices)
    return replace(box, devices=tuple(devices), remark=f"{more} more ports")


def _cut(picture: Picture, most: int) -> Picture:
    """The first so many, as they hang together."""
    from netkit._display.picture import Picture

    kept = _reached(picture, most)
    boxes = [box for box in picture.boxes if box.key in kept]
    wires = [wire for wire in picture.wires if wire.near.box in kept and wire.far.box in kept]
    left = {end for wire in picture.wires if wire not in wires for end in (wire.near, wire.far)}
    note = f"{len(picture.boxes) - len(boxes)} boxes more are not drawn."
    return Picture(
        [_without_ports(box, left) if any(end.box == box.key for end in left) else box for box in boxes],
        wires,
        picture.title,
        " ".join([note, picture.note]).strip(),
    )


def _reached(picture: Picture, most: int) -> set[str]:
    beside = neighbours_of(picture.boxes, picture.wires)
    order: dict[str, None] = {}
    for box in picture.boxes:
        waiting = [box.key]
        while waiting and len(order) < most:
            key = waiting.pop(0)
            if key not in order:
                order[key] = None
                waiting += beside[key]
    return set(order)
