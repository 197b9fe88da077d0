"""The picture as a text, for terminals: each namespace with what is in it, as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netkit._display.texts import cells, padded, printable

if TYPE_CHECKING:
    from netkit._display.model import Box, Device
    from netkit._display.picture import Picture


def draw(picture: Picture) -> str:
    """One tree per namespace."""
    lines = [line for box in picture.boxes for line in _box(box, picture)]
    return "\n".join([*lines, *([printable(picture.note)] if picture.note else [])]) or "nothing to draw"


def _box(box: Box, picture: Picture) -> Iterator[str]:
    marks = [f"({printable(mark)})" for mark in box.marks]
    yield " ".join([printable(box.name), *marks])
    yield from _branches(_entries(box, picture), "")


def _entries(box: Box, picture: Picture) -> list[tuple[str, list[str]]]:
    """Lines, each with those that hang below it."""
    entries: list[tuple[str, list[str]]] = []
    devices = box.in_order()
    names = [f"{printable(each.name)}" for each in devices]
    width = max([cells(name) for name in names], default=0)
    bridges = {each.name for each in devices}
    for each in devices:
        line = _line(each, width, picture.far_end(box, each))
        if each.master in bridges and entries and each.master != each.name:
            entries[-1][1].append(line)
        else:
            entries.append((line, []))
    for word, texts in (
        ("", box.defaults),
        ("route ", box.routes),
        ("nat ", box.nat),
        ("publish ", box.published),
    ):
        entries += [(f"{word}{printable(text)}", []) for text in texts]
    return entries


def _line(device: Device, width: int, far: str | None) -> str:
    words = [padded(printable(device.name), width), f"{device.state:<4}"]
    words += [] if device.kind in (None, "veth") else [printable(device.kind or "")]
    words += [printable(each) for each in device.addresses]
    words += [] if far is None else [f"── {printable(far)}"]
    return " ".join(words).rstrip()


def _branches(entries: Sequence[tuple[str, Sequence[str]]], indent: str) -> Iterator[str]:
    for number, (line, below) in enumerate(entries):
        last = number == len(entries) - 1
        yield f"{indent}{'└─' if last else '├─'} {line}"
        yield from _branches([(each, ()) for each in below], indent + ("   " if last else "│  "))
