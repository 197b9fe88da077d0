"""What a Snapshot consists of, besides routes, rules and neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netkit._shown import Shown

if TYPE_CHECKING:
    from netkit._spec.address import Address
    from netkit._spec.bridges import BridgeInfo, PortInfo


@dataclass(frozen=True)
class LinkState(Shown):
    """One link as it was. Twin: an entry of ``ip -d link show``.

    ``peer`` is the veth's other end (or the device it is put upon) where that is in the same
    namespace. ``bridge`` has the options of a bridge, ``port`` those of a bridge's port; None for others.
    ``index`` and ``group`` do not count when two are compared: netkit marks what it makes with a
    random group, so that two builds of one network differ in it.
    """

    name: str
    index: int = field(compare=False)
    kind: str | None
    mtu: int
    mac: str | None
    state: str
    up: bool
    master: str | None
    peer: str | None
    alias: str | None
    altnames: tuple[str, ...]
    txqlen: int
    group: int = field(compare=False)
    bridge: BridgeInfo | None
    port: PortInfo | None

    def __str__(self) -> str:
        words = [f"{self.name:<16}", f"{self.kind or '-':<8}", f"{self.state:<8}", f"{self.mac or '-':<17}"]
        words += [f"mtu {self.mtu}"]
        words += [] if self.up else ["down"]
        for word, value in (("master", self.master), ("peer", self.peer), ("alias", self.alias)):
            words += [f"{word} {value}"] if value else []
        words += [f"altname {name}" for name in self.altnames]
        return " ".join(words)


@dataclass(frozen=True)
class InterfaceAddress(Shown):
    """An address and the name of the link that has it; ``flags`` do not count when two are compared."""

    link: str
    address: Address
    scope: str
    label: str | None
    flags: frozenset[str] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.link:<16} {self.address} scope {self.scope}"
