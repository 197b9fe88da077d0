"""One simulated network namespace: what it holds, and which table answers which request."""

from __future__ import annotations

import errno
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from netkit._netlink.wire import NLM_F_ECHO, u32
from netkit._testing.addresses import Addresses
from netkit._testing.links import Links
from netkit._testing.messages import Message, Refused, number, packed
from netkit._testing.neighbours import Neighbours
from netkit._testing.routes import Routes
from netkit._testing.rules import Rules

if TYPE_CHECKING:
    from netkit._testing.device import Device
    from netkit._testing.transport import FakeTransport

_RTGENMSG = Struct("=Bxxx")
_RTM_NEWNSID = 88
_NETNSA_NSID, _NETNSA_FD = 1, 3

Answers = list[tuple[int, bytes]]


class FakeNetns:
    """Links, addresses, routes, rules and neighbours. ``label`` is for people."""

    def __init__(self, label: str, find: Callable[[int], FakeNetns | None]) -> None:
        self.label = label
        self._find = find
        self._ids: dict[FakeNetns, int] = {}
        self.transports: set[FakeTransport] = set()
        self.links = Links(self)
        self.addresses = Addresses(self)
        self.routes = Routes(self)
        self.rules = Rules(self)
        self.neighbours = Neighbours(self)
        self._readers: dict[int, Callable[[Message], bytes]] = {
            18: self.links.get,
            22: self.addresses.get,
            26: self.routes.get,
        }
        self._dumps: dict[int, tuple[int, Callable[[Message], list[bytes]]]] = {
            18: (16, self.links.dump),
            22: (20, self.addresses.dump),
            26: (24, self.routes.dump),
            30: (28, self.neighbours.dump),
            34: (32, self.rules.dump),
            58: (56, self.addresses.dump_groups),
        }
        self._writers: dict[int, Callable[[Message], bytes | None]] = {
            16: self.links.new,
            17: self.links.delete,
            19: self.links.new,
            20: self.addresses.add,
            21: self.addresses.delete,
            24: self.routes.add,
            25: self.routes.delete,
            28: self.neighbours.add,
            29: self.neighbours.delete,
            32: self.rules.add,
            33: self.rules.delete,
            108: lambda message: self.links.change_property(message, adding=True),
            109: lambda message: self.links.change_property(message, adding=False),
        }

    # -- requests -----------------------------------------------------------------

    def do(self, message: Message) -> Answers:
        """Do what one message asks; the objects that answer it. Raises Refused."""
        if message.kind in self._writers:
            made = self._writers[message.kind](message)
            return [(message.kind, made)] if made and message.flags & NLM_F_ECHO else []
        if message.kind in self._readers:
            return [(message.kind - 2, self._readers[message.kind](message))]
        if message.kind == 90:
            return [(_RTM_NEWNSID, self._nsid(message))]
        raise Refused(errno.EOPNOTSUPP)

    def dump(self, message: Message) -> tuple[int, list[bytes]]:
        """The type and bodies of all objects that a dump asks for. Raises Refused."""
        if message.kind not in self._dumps:
            raise Refused(errno.EOPNOTSUPP)
        kind, function = self._dumps[message.kind]
        return kind, function(message)

    def find(self, descriptor: int) -> FakeNetns:
        """The namespace behind a descriptor; EINVAL for any other file."""
        netns = self._find(descriptor)
        if netns is None:
            raise Refused(errno.EINVAL)
        return netns

    def id_of(self, other: FakeNetns) -> int:
        """The id by which this namespace knows another, given when first needed."""
        return self._ids.setdefault(other, len(self._ids))

    def _nsid(self, message: Message) -> bytes:
        other = self.find(number(message.attributes(_RTGENMSG.size).get(_NETNSA_FD, b"")))
        known = self._ids.get(other, -1)
        return _RTGENMSG.pack(0) + u32(_NETNSA_NSID, known & 0xFFFFFFFF)

    # -- what follows from a change -----------------------------------------------

    def link_changed(self, device: Device) -> None:
        """A device came up or went down."""
        self.addresses.link_changed(device)
        self.neighbours.link_changed(device)
        if not device.up:
            self.routes.link_gone(device.index)

    def link_gone(self, index: int) -> None:
        """A device is not here any more."""
        self.addresses.link_gone(index)
        self.routes.link_gone(index)
        self.neighbours.link_gone(index)

    def announce(self, group: int, kind: int, body: bytes) -> None:
        """Tell the members of a multicast group."""
        for transport in list(self.transports):
            if group in transport.groups:
                transport.deliver(packed(kind, 0, body))

    def end(self) -> None:
        """The last descriptor is closed: its devices are gone, and their peers elsewhere."""
        for device in [device for device in self.links.by_index.values() if device.kind is not None]:
            if device.index in self.links.by_index:
                self.links.remove(device)

    def describe(self) -> list[str]:
        """All that it holds, as sorted lines."""
        lines = [f"link {device.describe()}" for device in self.links.by_index.values()]
        named = {index: device.name for index, device in self.links.by_index.items()}
        for index, addresses in self.addresses.of.items():
            lines += [
                f"address {named[index]} {each.local.hex()}/{each.prefixlen} scope {each.scope}"
                for each in addresses
            ]
        for route in self.routes.all:
            devices = ",".join(sorted(named.get(index, str(index)) for index in route.oifs))
            lines.append(f"route {route.key} type {route.type} proto {route.protocol} dev {devices}")
        for rule in self.rules.all:
            lines.append(f"rule {rule.family} {rule.priority} table {rule.table} {rule.selectors()}")
        for family, index, what, _ in self.neighbours.all:
            lines.append(f"neighbour {family} {what.hex()} dev {named[index]}")
        return sorted(lines)
