"""The addresses of a simulated namespace (net/ipv4/devinet.c, net/ipv6/addrconf.c).

Not simulated: link-local addresses, duplicate address detection, lifetimes.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import TYPE_CHECKING

from netkit._netlink.wire import NLM_F_REPLACE
from netkit._testing.messages import Message, Refused, joined

if TYPE_CHECKING:
    from netkit._testing.device import Device
    from netkit._testing.namespace import FakeNetns

HEADER = Struct("=BBBBI")  # family, prefix length, flags, scope, index

RTM_NEWADDR, RTM_DELADDR = 20, 21
AF_INET, AF_INET6 = 2, 10
_ADDRESS, _LOCAL, _LABEL, _CACHEINFO, _MULTICAST, _FLAGS = 1, 2, 3, 6, 7, 8
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")
_PERMANENT = 0x80
_HOST = 254
_GROUPS = {AF_INET: 5, AF_INET6: 9}
_FOREVER = Struct("=IIII").pack(0xFFFFFFFF, 0xFFFFFFFF, 0, 0)


class FakeAddress:
    """One address as it was asked for."""

    def __init__(
        self, family: int, prefixlen: int, scope: int, local: bytes, values: dict[int, bytes]
    ) -> None:
        self.family = family
        self.prefixlen = prefixlen
        self.scope = scope
        self.local = local
        self.values = values

    def report(self, device: Device) -> bytes:
        """The body of RTM_NEWADDR."""
        values = dict(self.values)
        flags = int.from_bytes(values.get(_FLAGS, bytes(4)), "little") | _PERMANENT
        values[_FLAGS] = flags.to_bytes(4, "little")
        values[_CACHEINFO] = _FOREVER
        if self.family == AF_INET:
            values.setdefault(_LABEL, device.name.encode() + b"\0")
        elif values.get(_LOCAL) == values.get(_ADDRESS):
            values.pop(_LOCAL, None)  # IPv6 reports it for point-to-point addresses only
        header = HEADER.pack(self.family, self.prefixlen, flags & 0xFF, self.scope, device.index)
        return header + joined(values)


class Addresses:
    """Addresses by device, in order of arrival."""

    def __init__(self, netns: FakeNetns) -> None:
        self._netns = netns
        self.of: dict[int, list[FakeAddress]] = {}

    def dump(self, message: Message) -> list[bytes]:
        """RTM_GETADDR, filtered by family and device."""
        family, _, _, _, index = message.fields(HEADER)
        if index and index not in self._netns.links.by_index:
            raise Refused(errno.ENODEV)
        return [
            address.report(self._netns.links.by_index[owner])
            for owner, addresses in self.of.items()
            for address in addresses
            if index in (0, owner) and family in (0, address.family)
        ]

    def dump_groups(self, message: Message) -> list[bytes]:
        """RTM_GETMULTICAST: the solicited-node groups of the IPv6 addresses (RFC 4291, 2.7.1)."""
        _, _, _, _, index = message.fields(HEADER)
        return [
            HEADER.pack(AF_INET6, 0, 0, 0, owner) + joined({_MULTICAST: _SOLICITED_NODE + address.local[13:]})
            for owner, addresses in self.of.items()
            for address in addresses
            if address.family == AF_INET6 and index in (0, owner)
        ]

    def get(self, message: Message) -> bytes:
        """RTM_GETADDR of one IPv6 address."""
        family, _, _, _, index = message.fields(HEADER)
        if family != AF_INET6:
            raise Refused(errno.EOPNOTSUPP)
        local = message.attributes(HEADER.size).get(_ADDRESS)
        for address in self.of.get(index, []):
            if address.family == family and address.local == local:
                return address.report(self._netns.links.by_index[index])
        raise Refused(errno.EADDRNOTAVAIL)

    def add(self, message: Message) -> bytes | None:
        """RTM_NEWADDR; for IPv4, what is told to who asks for an echo."""
        device, address = self._asked(message)
        present = self._find(device, address, exact=address.family == AF_INET)
        if present is not None:
            if not message.flags & NLM_F_REPLACE:
                words = (
                    "ipv4: Address already assigned"
                    if address.family == AF_INET
                    else "ipv6: address already assigned"
                )
                raise Refused(errno.EEXIST, words)
            present.values = address.values
            address = present
        else:
            self.put(device, address)
        return address.report(device) if address.family == AF_INET else None

    def put(self, device: Device, address: FakeAddress) -> None:
        """Give a device an address, and with it the routes."""
        self.of.setdefault(device.index, []).append(address)
        if device.up:
            self._netns.routes.connect(device, address)
        self._announce(RTM_NEWADDR, device, address)

    def delete(self, message: Message) -> None:
        """RTM_DELADDR."""
        device, address = self._asked(message)
        present = self._find(device, address, exact=True)
        if present is None:
            words = "ipv4: Address not found" if address.family == AF_INET else "ipv6: address not found"
            raise Refused(errno.EADDRNOTAVAIL, words)
        self.take(device, present)

    def take(self, device: Device, address: FakeAddress) -> None:
        """Take an address away, and its routes."""
        self.of[device.index].remove(address)
        self._netns.routes.disconnect(device, address)
        self._announce(RTM_DELADDR, device, address)

    def link_changed(self, device: Device) -> None:
        """Coming up: routes, and those of `lo` itself. Going down: IPv6 addresses are lost."""
        if device.up:
            if device.kind is None and device.index not in self.of:
                self.of[device.index] = [
                    _loopback(AF_INET, b"\x7f\0\0\1", 8),
                    _loopback(AF_INET6, bytes(15) + b"\1", 128),
                ]
            for address in self.of.get(device.index, []):
                self._netns.routes.connect(device, address)
            return
        for address in [each for each in self.of.get(device.index, []) if each.family == AF_INET6]:
            self.take(device, address)

    def link_gone(self, index: int) -> None:
        """Its addresses go with a device."""
        self.of.pop(index, None)

    def _asked(self, message: Message) -> tuple[Device, FakeAddress]:
        family, prefixlen, _, scope, index = message.fields(HEADER)
        values = message.attributes(HEADER.size)
        local = values.get(_LOCAL, values.get(_ADDRESS))
        if (
            local is None
            or len(local) != {AF_INET: 4, AF_INET6: 16}.get(family)
            or prefixlen > 8 * len(local)
        ):
            raise Refused(errno.EINVAL, "ipv4: Invalid prefix length" if family == AF_INET else None)
        device = self._netns.links.by_index.get(index)
        if device is None:
            raise Refused(
                errno.ENODEV,
                "ipv4: Device not found" if family == AF_INET else "Unable to find the interface",
            )
        return device, FakeAddress(family, prefixlen, _scope(family, scope, local), local, values)

    def _find(self, device: Device, wanted: FakeAddress, exact: bool) -> FakeAddress | None:
        for address in self.of.get(device.index, []):
            same = address.family == wanted.family and address.local == wanted.local
            if same and (not exact or address.prefixlen == wanted.prefixlen):
                return address
        return None

    def _announce(self, kind: int, device: Device, address: FakeAddress) -> None:
        self._netns.announce(_GROUPS[address.family], kind, address.report(device))


def _scope(family: int, scope: int, local: bytes) -> int:
    if family == AF_INET:
        return scope
    if local == bytes(15) + b"\1":
        return _HOST
    return 253 if local[0] == 0xFE and local[1] & 0xC0 == 0x80 else 0


def _loopback(family: int, local: bytes, prefixlen: int) -> FakeAddress:
    return FakeAddress(family, prefixlen, _HOST, local, {_ADDRESS: local, _LOCAL: local})
