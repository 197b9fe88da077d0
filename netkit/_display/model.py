"""A picture of a network as plain values: boxes with devices, and wires between them.

Whatever draws one (text, SVG, HTML, Mermaid, dot) reads these and nothing else; whatever makes one (a live
namespace, a snapshot, a plan) fills them in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

# "no carrier": set up, but what it is connected to is not. "planned": nobody has made it yet.
State = Literal["up", "no carrier", "down", "planned"]


@dataclass(frozen=True)
class Device:
    """A link as it is drawn. ``far`` says where a veth leads whose other end is not in the picture."""

    name: str
    kind: str | None
    state: State
    addresses: tuple[str, ...] = ()
    master: str | None = None
    far: str | None = None

    @property
    def is_bridge(self) -> bool:
        """Whether others may be its ports."""
        return self.kind == "bridge"


@dataclass(frozen=True)
class Box:
    """A namespace as it is drawn. ``state`` is empty for one that is there; it stands for ``count``."""

    key: str
    name: str
    devices: tuple[Device, ...] = ()
    defaults: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    nat: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    forwards: bool = False
    state: str = ""
    remark: str = ""
    count: int = 1

    @property
    def marks(self) -> tuple[str, ...]:
        """What is said of it beside its name."""
        return tuple([each for each in ("router" if self.forwards else "", self.remark, self.state) if each])

    @property
    def said(self) -> tuple[str, ...]:
        """What is said below its devices: routes, NAT and published ports, a line each."""
        rest = {"route": self.routes, "nat": self.nat, "publish": self.published}
        return (*self.defaults, *[f"{word} {each}" for word, texts in rest.items() for each in texts])

    def device(self, name: str) -> Device:
        """The device of this name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Device]:
        return {each.name: each for each in self.devices}

    def in_order(self) -> list[Device]:
        """The devices, each bridge followed by its ports."""
        masters = {each.name for each in self.devices}
        ports: dict[str, list[Device]] = {}
        for each in self.devices:
            if each.master in masters and each.master != each.name:
                ports.setdefault(each.master or "", []).append(each)
        found: list[Device] = []
        for each in self.devices:
            if each.master not in masters or each.master == each.name:
                found += [each, *ports.pop(each.name, ())]
        for rest in ports.values():  # masters that are ports themselves (a bond in a bridge)
            found += [each for each in rest if each not in found]
        return found


class End(NamedTuple):
    """Where a wire is plugged in: the key of a box, the name of a device."""

    box: str
    device: str


class Wire(NamedTuple):
    """A veth pair."""

    near: End
    far: End
    state: State


def worse(one: State, other: State) -> State:
    """A wire is as good as the worse of its ends."""
    order: tuple[State, ...] = ("down", "no carrier", "planned", "up")
    return order[min(order.index(one), order.index(other))]
