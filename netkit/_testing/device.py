"""One simulated device, and how it is reported (RTM_NEWLINK)."""

from __future__ import annotations

import os
from struct import Struct
from typing import TYPE_CHECKING

from netkit._netlink.wire import attribute, nested, text, u8, u32
from netkit._testing.messages import joined

if TYPE_CHECKING:
    from netkit._testing.namespace import FakeNetns

HEADER = Struct("=BxHiII")  # family, ARPHRD type, index, flags, change

IFF_UP, IFF_BROADCAST, IFF_LOOPBACK, IFF_RUNNING = 0x1, 0x2, 0x8, 0x40
IFF_MULTICAST, IFF_LOWER_UP = 0x1000, 0x10000
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_UNKNOWN, _DOWN, _LOWER_LAYER_DOWN, _UP = 0, 2, 3, 6  # RFC 2863

# IFLA_BR_...: FORWARD_DELAY, HELLO_TIME, MAX_AGE, AGEING_TIME (1/100 s), STP_STATE, PRIORITY,
# VLAN_FILTERING, MCAST_SNOOPING: what a new bridge has.
_BRIDGE_DEFAULTS = {
    1: u32(0, 1500)[4:],
    2: u32(0, 200)[4:],
    3: u32(0, 2000)[4:],
    4: u32(0, 30000)[4:],
    5: u32(0, 0)[4:],
    6: b"\0\x80",
    7: b"\0",
    23: b"\1",
}
# IFLA_BRPORT_...: PRIORITY, COST, MODE (hairpin), GUARD, PROTECT, FAST_LEAVE, LEARNING,
# UNICAST_FLOOD, MCAST_FLOOD, BCAST_FLOOD, ISOLATED.
_PORT_DEFAULTS = {
    2: b"\x20\0",
    3: u32(0, 2)[4:],
    **dict.fromkeys((4, 5, 6, 7), b"\0"),
    **dict.fromkeys((8, 9, 27, 30), b"\1"),
    33: b"\0",
}


class Device:
    """A network device. Two devices are the same only if they are the same object."""

    def __init__(self, netns: FakeNetns, index: int, name: str, kind: str | None) -> None:
        self.netns = netns
        self.index = index
        self.name = name
        self.kind = kind
        self.mtu = 65536 if kind is None else 1500
        self.mac = bytes(6) if kind is None else bytes([2]) + os.urandom(5)
        self.up = False
        self.group = 0
        self.alias = b""
        self.altnames: list[str] = []
        self.txqlen = 1000
        self.master: Device | None = None
        self.peer: Device | None = None
        self.options: dict[int, bytes] = dict(_BRIDGE_DEFAULTS) if kind == "bridge" else {}
        self.port: dict[int, bytes] = {}

    @property
    def names(self) -> list[str]:
        """Its name and its alternative names."""
        return [self.name, *self.altnames]

    @property
    def carrier(self) -> bool:
        """Whether what it is connected to is up: the peer of a veth, a port of a bridge."""
        if not self.up:
            return False
        if self.kind == "veth":
            return self.peer is not None and self.peer.up
        if self.kind == "bridge":
            return any(device.carrier for device in self.netns.links.ports_of(self))
        return True

    @property
    def flags(self) -> int:
        """IFF_...: as set, and as it follows from the carrier."""
        flags = IFF_LOOPBACK if self.kind is None else IFF_BROADCAST | IFF_MULTICAST
        flags |= IFF_UP if self.up else 0
        return flags | (IFF_RUNNING | IFF_LOWER_UP if self.carrier else 0)

    @property
    def operstate(self) -> int:
        """The operational state by number."""
        if self.kind is None:
            return _UNKNOWN if self.up else _DOWN
        if self.carrier:
            return _UP
        return _LOWER_LAYER_DOWN if self.up and self.kind == "veth" else _DOWN

    def _port_state(self, bridge: Device) -> int:
        """BR_STATE_... of br_make_forwarding(); no time passes here: with STP a port listens for ever."""
        if not (self.carrier and bridge.up):
            return 0
        return 1 if any(bridge.options[5]) and any(bridge.options[1]) else 3

    def enter_bridge(self, bridge: Device) -> None:
        """Become a port, with the options of a new one."""
        self.master = bridge
        self.port = dict(_PORT_DEFAULTS)

    def leave_bridge(self) -> None:
        """Be nobody's port."""
        self.master = None
        self.port = {}

    def report(self) -> bytes:
        """The body of the message that tells of it."""
        parts = [
            HEADER.pack(
                0, _ARPHRD_LOOPBACK if self.kind is None else _ARPHRD_ETHER, self.index, self.flags, 0
            ),
            text(3, self.name),
            u32(13, self.txqlen),
            u8(16, self.operstate),
            u32(4, self.mtu),
            u32(27, self.group),
            u8(33, int(self.carrier)),
            attribute(1, self.mac),
            text(6, "noqueue" if self.up else "noop"),
            attribute(23, bytes(200)),
            *self._relations(),
        ]
        if self.alias:
            parts.append(attribute(20, self.alias + b"\0"))
        if self.altnames:
            parts.append(nested(52, *[text(53, name) for name in self.altnames]))
        return b"".join(parts) + self._information()

    def _relations(self) -> list[bytes]:
        parts: list[bytes] = []
        if self.master is not None:
            parts.append(u32(10, self.master.index))
        if self.peer is not None:
            parts.append(u32(5, self.peer.index))
            if self.peer.netns is not self.netns:
                parts.append(u32(37, self.netns.id_of(self.peer.netns)))
        return parts

    def _information(self) -> bytes:
        """IFLA_LINKINFO: the kind, what is special to it, and the same of a port."""
        if self.kind is None:
            return b""
        parts = [text(1, self.kind)]
        if self.options:
            parts.append(nested(2, joined(self.options)))
        if self.master is not None:
            port = {1: bytes([self._port_state(self.master)]), **self.port}
            parts += [text(4, "bridge"), nested(5, joined(port))]
        return nested(18, *parts)

    def describe(self) -> str:
        """One line that says all that can be set."""
        words = [f"{self.name}: {self.kind or 'loopback'}", "up" if self.up else "down", f"mtu {self.mtu}"]
        words += [f"mac {self.mac.hex(':')}", f"group {self.group}", f"qlen {self.txqlen}"]
        words += [f"master {self.master.name}"] if self.master is not None else []
        words += [f"alias {self.alias.decode()!r}"] if self.alias else []
        words += [f"altname {name}" for name in self.altnames]
        words += [f"peer {self.peer.name}"] if self.peer is not None else []
        chosen = self.port if self.master is not None else self.options
        return " ".join(words + [f"{kind}={value.hex()}" for kind, value in sorted(chosen.items())])
