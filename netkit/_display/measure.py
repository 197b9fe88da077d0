"""What is written in a box, and how large that makes it; in pixels, in a monospaced font."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from netkit._display.model import Box, Device, State
from netkit._display.texts import cells, printable, shortened, shortened_inside

CHAR = 7.3  # the widest of the usual monospaced fonts, at 12 pixels
LINE, PAD, HEAD, INDENT, GLYPH, PILL = 18.0, 10.0, 26.0, 14.0, 14.0, 60.0
_LONGEST_NAME, _LONGEST_LINE, _MOST_ADDRESSES = 30, 60, 5
_LONGEST_KIND = 27  # "macvlan on " and the longest name

Style = Literal["name", "badge", "state", "device", "dim", "address", "text"]


class Label(NamedTuple):
    """A text at a place in its box; ``y`` is the middle of its line, ``full`` what was cut off or empty."""

    x: float
    y: float
    text: str
    style: Style
    full: str = ""

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.x + cells(self.text) * CHAR


class Mark(NamedTuple):
    """The state of a device, as a shape."""

    x: float
    y: float
    state: State


class Pill(NamedTuple):
    """What kind of thing a line says."""

    x: float
    y: float
    word: str


@dataclass
class Written:
    """A box with its texts; its own corner is at ``x``, ``y``, theirs are relative to that."""

    box: Box
    labels: list[Label] = field(default_factory=list[Label])
    marks: list[Mark] = field(default_factory=list[Mark])
    pills: list[Pill] = field(default_factory=list[Pill])
    frames: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    anchors: dict[str, float] = field(default_factory=dict[str, float])
    rule: float | None = None
    width: float = 0.0
    height: float = 0.0
    x: float = 0.0
    y: float = 0.0

    def anchor(self, device: str) -> float:
        """The height at which a device's wire is plugged in."""
        return self.y + self.anchors[device]


def write(box: Box, most: int, rank: Callable[[Device], float] | None = None) -> Written:
    """Write a box, of each kind of line so many; ``rank`` puts its devices in order with their bridges."""
    done = Written(box)
    _head(done)
    y = HEAD + 4
    groups = _groups(box, rank)
    column = PAD + GLYPH + _name_width(groups)
    for bridge, ports in groups:
        y += 4 if bridge.is_bridge and y > HEAD + 4 else 0
        top = y
        y = _device(done, bridge, y, column, 0.0)
        for port in ports:
            y = _device(done, port, y, column, INDENT)
        if bridge.is_bridge:
            done.frames.append((top, y))
            y += 4
    if not box.devices and not box.state:
        done.labels.append(Label(PAD, y + LINE / 2, "no links but lo", "dim"))
        y += LINE
    y = _foot(done, y, most)
    done.height = y + 6
    ends = [each.right for each in done.labels]
    done.width = max([*ends, 90.0]) + PAD
    return done


def _head(done: Written) -> None:
    box = done.box
    x = PAD
    name, full = _cut(box.name, _LONGEST_NAME)
    done.labels.append(Label(x, HEAD / 2, name, "name", full))
    x = done.labels[-1].right + CHAR
    for word in ("router" if box.forwards else "", box.remark):
        done.labels += [Label(x, HEAD / 2, printable(word), "badge")] if word else []
        x = done.labels[-1].right + CHAR
    if box.state:
        text, full = _cut(box.state, _LONGEST_NAME)
        done.labels.append(Label(x, HEAD / 2, text, "state", full))


def _groups(box: Box, rank: Callable[[Device], float] | None) -> list[tuple[Device, list[Device]]]:
    """Each device that is no port, with its ports."""
    names = {each.name for each in box.devices}
    groups: list[tuple[Device, list[Device]]] = []
    for each in box.in_order():
        if each.master in names and each.master != each.name and groups:
            groups[-1][1].append(each)
        else:
            groups.append((each, []))
    if rank is None:
        return groups
    for _, ports in groups:
        ports.sort(key=rank)
    return sorted(groups, key=lambda group: _mean([rank(each) for each in group[1] or [group[0]]]))


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _name_width(groups: Iterable[tuple[Device, list[Device]]]) -> float:
    """To where the longest name and kind reach, of those that have something beside them."""
    widths = [0.0]
    for first, ports in groups:
        for each, indent in ((first, 0.0), *[(port, INDENT) for port in ports]):
            if each.addresses:
                widths.append(indent + CHAR * (cells(_cut(each.name, _LONGEST_NAME)[0]) + _kind_cells(each)))
    return max(widths) + CHAR


def _kind_cells(device: Device) -> int:
    kind = _kind(device)
    return cells(kind) + 1 if kind else 0


def _kind(device: Device) -> str:
    return "" if device.kind in (None, "veth") else shortened(printable(device.kind or ""), _LONGEST_KIND)


def _device(done: Written, device: Device, y: float, column: float, indent: float) -> float:
    middle = y + LINE / 2
    x = PAD + indent
    done.marks.append(Mark(x + 5, middle, device.state))
    name, full = _cut(device.name, _LONGEST_NAME)
    done.labels.append(Label(x + GLYPH, middle, name, "device", full))
    if kind := _kind(device):
        done.labels.append(Label(done.labels[-1].right + CHAR, middle, kind, "dim"))
    done.anchors[device.name] = middle
    addresses = _few(device.addresses, _MOST_ADDRESSES)
    for number, address in enumerate(addresses):
        text, full = _cut(address, _LONGEST_LINE)
        done.labels.append(Label(column, middle + number * LINE, text, "address", full))
    y += LINE * max(len(addresses), 1)
    if device.far is not None:
        text, full = _cut(f"→ {device.far}", _LONGEST_LINE)
        done.labels.append(Label(x + GLYPH, y + LINE / 2, text, "dim", full))
        y += LINE
    return y


def _foot(done: Written, y: float, most: int) -> float:
    box = done.box
    kinds = (("default", box.defaults), ("route", box.routes), ("NAT", box.nat), ("port", box.published))
    lines = [(word, text) for word, texts in kinds for text in _few(texts, most)]
    if not lines:
        return y
    done.rule = y + 3
    y += 6
    only = box.devices[0].name if len(box.devices) == 1 else None
    for word, text in lines:
        done.pills.append(Pill(PAD, y + LINE / 2, word))
        whole = printable(_brief(word, text, only))
        shown = shortened_inside(whole, _LONGEST_LINE)
        full = "" if shown == whole else whole
        done.labels.append(Label(PAD + PILL, y + LINE / 2, shown, "text", full))
        y += LINE
    return y


def _brief(word: str, text: str, only: str | None) -> str:
    """Without what the box and the word before it say."""
    if word == "default":
        text = text.removeprefix("default ")
    return text if only is None else text.removesuffix(f" dev {only}")


def _few(texts: Sequence[str], most: int) -> list[str]:
    if len(texts) <= most:
        return list(texts)
    return [*texts[: most - 1], f"… {len(texts) - most + 1} more"]


def _cut(text: str, width: int) -> tuple[str, str]:
    whole = printable(text)
    short = shortened(whole, width)
    return short, "" if short == whole else whole
