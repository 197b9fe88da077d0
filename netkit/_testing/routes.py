"""The routes of a simulated namespace (net/ipv4/fib_trie.c, fib_semantics.c, net/ipv6/route.c).

Not simulated: TOS, IPv6 multicast and link-local routes, next-hop objects.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING

from netkit._netlink.wire import NLM_F_APPEND, NLM_F_EXCL, NLM_F_REPLACE, u32
from netkit._testing.messages import Message, Refused, joined, number, payloads

if TYPE_CHECKING:
    from netkit._testing.addresses import FakeAddress
    from netkit._testing.device import Device
    from netkit._testing.namespace import FakeNetns

# family, destination's and source's prefix lengths, tos, table, protocol, scope, type, flags
HEADER = Struct("=BBBBBBBBI")
_NEXT_HOP = Struct("=HBBi")

RTM_NEWROUTE, RTM_DELROUTE = 24, 25
AF_INET, AF_INET6 = 2, 10
MAIN, LOCAL = 254, 255
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _MULTIPATH, _TABLE = 1, 4, 5, 6, 7, 9, 15
_UNICAST, _LOCAL_TYPE, _BLACKHOLE, _UNREACHABLE, _PROHIBIT = 1, 2, 6, 7, 8
_KERNEL = 2
_LINK, _HOST, _NOWHERE = 253, 254, 255
_ONLINK, _LINKDOWN = 4, 16
_GROUPS = {AF_INET: 7, AF_INET6: 11}
_DEFAULT_METRIC = {AF_INET: 0, AF_INET6: 1024}
_ERRORS = {_BLACKHOLE: errno.EINVAL, _UNREACHABLE: errno.EHOSTUNREACH, _PROHIBIT: errno.EACCES}


@dataclass
class FakeRoute:
    """One route; ``values`` are the attributes it is reported with."""

    family: int
    dst: bytes
    prefixlen: int
    table: int
    protocol: int
    scope: int
    type: int
    flags: int
    metric: int
    values: dict[int, bytes] = field(default_factory=dict[int, bytes])

    @property
    def key(self) -> tuple[int, int, bytes, int, int]:
        """What makes two routes the same one."""
        return self.family, self.table, self.dst, self.prefixlen, self.metric

    @property
    def oif(self) -> int:
        """The device's index, 0 for none."""
        return number(self.values[_OIF]) if _OIF in self.values else 0

    @property
    def oifs(self) -> set[int]:
        """The devices of the route and of its next hops."""
        hops = [index for _, _, index, _ in next_hops(self.values.get(_MULTIPATH, b""))]
        return {self.oif, *hops} - {0}

    def covers(self, address: bytes) -> bool:
        """Whether the destination contains an address of the same family."""
        return network_of(address, self.prefixlen) == self.dst

    def report(self) -> bytes:
        """The body of RTM_NEWROUTE."""
        table = self.table if self.table < 256 else 252
        header = HEADER.pack(
            self.family, self.prefixlen, 0, 0, table, self.protocol, self.scope, self.type, self.flags
        )
        parts = {_TABLE: u32(0, self.table)[4:], **self.values}
        if self.prefixlen:
            parts[_DST] = self.dst
        if self.metric:
            parts[_PRIORITY] = u32(0, self.metric)[4:]
        return header + joined(parts)


class Routes:
    """All tables of a namespace."""

    def __init__(self, netns: FakeNetns) -> None:
        self._netns = netns
        self.all: list[FakeRoute] = []
        self._tables = {(AF_INET, MAIN), (AF_INET, LOCAL), (AF_INET6, MAIN), (AF_INET6, LOCAL)}

    # -- reading ------------------------------------------------------------------

    def dump(self, message: Message) -> list[bytes]:
        """RTM_GETROUTE of a family and table."""
        family, _, _, _, table, *_ = message.fields(HEADER)
        values = message.attributes(HEADER.size)
        table = number(values[_TABLE]) if _TABLE in values else table
        if table and family and (family, table) not in self._tables:
            name = "ipv4" if family == AF_INET else "ipv6"
            raise Refused(errno.ENOENT, f"{name}: FIB table does not exist")
        return [
            route.report() for route in self.all if family in (0, route.family) and table in (0, route.table)
        ]

    def get(self, message: Message) -> bytes:
        """RTM_GETROUTE of one destination: the kernel's decision."""
        family, *_ = message.fields(HEADER)
        values = message.attributes(HEADER.size)
        address = values.get(_DST, bytes(4 if family == AF_INET else 16))
        route = self.lookup(family, address, number(values.get(_OIF, b"")))
        if route is None:
            raise Refused(errno.ENETUNREACH)
        if route.type in _ERRORS:
            raise Refused(_ERRORS[route.type])
        found = dict(route.values)
        source = found.get(_PREFSRC) or self._source(route)
        if source is not None:
            found[_PREFSRC] = source
        bits = 8 * len(address)
        return FakeRoute(family, address, bits, route.table, 0, 0, route.type, 0, 0, found).report()

    def lookup(self, family: int, address: bytes, oif: int = 0) -> FakeRoute | None:
        """The route a packet takes: by rule, then longest prefix, then least metric."""
        for table in self._netns.rules.tables_for(family, address):
            fitting = [
                route
                for route in self.all
                if route.family == family and route.table == table and route.covers(address)
                and (not oif or oif in route.oifs)
            ]  # fmt: skip
            if fitting:
                return min(fitting, key=lambda route: (-route.prefixlen, route.metric))
        return None

    def _source(self, route: FakeRoute) -> bytes | None:
        for address in self._netns.addresses.of.get(route.oif, []):
            if address.family == route.family:
                return address.local
        return None

    # -- changing -----------------------------------------------------------------

    def add(self, message: Message) -> bytes:
        """RTM_NEWROUTE; what is told to who asks for an echo."""
        route = self._asked(message)
        self._resolve(route)
        same = next((each for each in self.all if each.key == route.key), None)
        if same is not None and message.flags & NLM_F_EXCL:
            raise Refused(errno.EEXIST)
        if same is not None and message.flags & NLM_F_REPLACE:
            self.all[self.all.index(same)] = route
        elif same is not None and not message.flags & NLM_F_APPEND and same.values == route.values:
            raise Refused(errno.EEXIST)
        else:
            self.all.append(route)
        self._tables.add((route.family, route.table))
        self._announce(RTM_NEWROUTE, route)
        return route.report()

    def delete(self, message: Message) -> None:
        """RTM_DELROUTE: the first route that has what is asked for."""
        wanted = self._asked(message)
        given = _PRIORITY in message.attributes(HEADER.size)
        fitting = [route for route in self.all if _matches(route, wanted, given)]
        if not fitting:
            raise Refused(errno.ESRCH)
        self._drop(min(fitting, key=lambda route: route.metric))

    def _drop(self, route: FakeRoute) -> None:
        self.all.remove(route)
        self._announce(RTM_DELROUTE, route)

    def _asked(self, message: Message) -> FakeRoute:
        family, prefixlen, _, _, table, protocol, scope, kind, flags = message.fields(HEADER)
        values = message.attributes(HEADER.size)
        width = {AF_INET: 4, AF_INET6: 16}.get(family)
        if width is None:
            raise Refused(errno.EAFNOSUPPORT)
        dst = values.pop(_DST, bytes(width))
        if len(dst) != width or prefixlen > 8 * width or network_of(dst, prefixlen) != dst:
            raise Refused(errno.EINVAL, "Invalid prefix for given prefix length")
        table = number(values.pop(_TABLE)) if _TABLE in values else table or MAIN
        metric = number(values.pop(_PRIORITY, b"")) or _DEFAULT_METRIC[family]
        return FakeRoute(
            family, dst, prefixlen, table, protocol, scope, kind, flags & _ONLINK, metric, values
        )

    def _resolve(self, route: FakeRoute) -> None:
        """Find the device of each gateway, and refuse what leads nowhere."""
        if route.type in _ERRORS:
            if route.family == AF_INET6:
                route.values[_OIF] = u32(0, 1)[4:]
            return
        if _MULTIPATH in route.values:
            route.values[_MULTIPATH] = self._resolved_hops(route)
            return
        device = self._way(route, route.oif, route.values.get(_GATEWAY), bool(route.flags & _ONLINK))
        route.values[_OIF] = u32(0, device.index)[4:]

    def _resolved_hops(self, route: FakeRoute) -> bytes:
        hops = b""
        for flags, weight, index, members in next_hops(route.values[_MULTIPATH]):
            device = self._way(route, index, members.get(_GATEWAY), bool(flags & _ONLINK))
            body = joined(members)
            hops += _NEXT_HOP.pack(_NEXT_HOP.size + len(body), flags, weight, device.index) + body
        return hops

    def _way(self, route: FakeRoute, index: int, gateway: bytes | None, onlink: bool) -> Device:
        links = self._netns.links.by_index
        if index and index not in links:
            raise Refused(errno.ENODEV)
        if gateway is not None and not (onlink and index):
            index = self._reach(route.family, gateway, index)
        if not index:
            raise Refused(errno.ENODEV)
        if not links[index].up:
            raise Refused(errno.ENETDOWN, "Device for nexthop is not up" if route.family == AF_INET else None)
        return links[index]

    def _reach(self, family: int, gateway: bytes, index: int) -> int:
        """The device by which a gateway is reached directly."""
        for route in self.all:
            direct = route.family == family and route.type == _UNICAST and _GATEWAY not in route.values
            if direct and route.prefixlen and route.covers(gateway) and index in (0, route.oif):
                return route.oif
        if family == AF_INET:
            raise Refused(errno.ENETUNREACH, "Nexthop has invalid gateway")
        raise Refused(errno.EHOSTUNREACH)

    # -- with devices and addresses -------------------------------------------------

    def connect(self, device: Device, address: FakeAddress) -> None:
        """The routes that come with an address on a device that is up."""
        index = u32(0, device.index)[4:]
        v4 = address.family == AF_INET
        bits = 8 * len(address.local)
        own = {_OIF: index, _PREFSRC: address.local} if v4 else {_OIF: index}
        family, metric = address.family, 0 if v4 else 256
        local = FakeRoute(
            family, address.local, bits, LOCAL, _KERNEL, _HOST if v4 else 0, _LOCAL_TYPE, 0, 0, dict(own)
        )
        found = [local]
        if address.prefixlen < bits and device.kind is not None:
            network = network_of(address.local, address.prefixlen)
            found.append(
                FakeRoute(
                    family,
                    network,
                    address.prefixlen,
                    MAIN,
                    _KERNEL,
                    _LINK if v4 else 0,
                    _UNICAST,
                    0,
                    metric,
                    own,
                )
            )
        for route in found:
            if all((each.key, each.oif) != (route.key, route.oif) for each in self.all):
                self.all.append(route)
                self._announce(RTM_NEWROUTE, route)

    def disconnect(self, device: Device, address: FakeAddress) -> None:
        """Its own routes go with an address, and what is sent from it."""
        local = address.local
        own = {(network_of(local, address.prefixlen), address.prefixlen)}
        others = self._netns.addresses.of.get(device.index, [])
        still_here = any(other.local == local for other in others)
        if not still_here:
            own.add((local, 8 * len(local)))
        for route in list(self.all):
            if route.oif != device.index or route.family != address.family:
                continue
            unsourced = route.values.get(_PREFSRC) == local and not still_here
            if unsourced or (route.protocol == _KERNEL and (route.dst, route.prefixlen) in own):
                self._drop(route)

    def link_gone(self, index: int) -> None:
        """All routes by a device that is gone or down are gone."""
        for route in [each for each in self.all if index in each.oifs]:
            self._drop(route)

    def _announce(self, kind: int, route: FakeRoute) -> None:
        self._netns.announce(_GROUPS[route.family], kind, route.report())


def _matches(route: FakeRoute, wanted: FakeRoute, metric_given: bool) -> bool:
    same = (route.family, route.table, route.dst, route.prefixlen)
    if same != (wanted.family, wanted.table, wanted.dst, wanted.prefixlen):
        return False
    if metric_given and route.metric != wanted.metric:
        return False
    if wanted.type and route.type != wanted.type:
        return False
    if wanted.family == AF_INET and wanted.scope not in (_NOWHERE, route.scope):
        return False
    if wanted.protocol and route.protocol != wanted.protocol:
        return False
    return all(
        route.values.get(kind) == wanted.values[kind] for kind in (_OIF, _GATEWAY) if kind in wanted.values
    )


def next_hops(payload: bytes) -> Iterator[tuple[int, int, int, dict[int, bytes]]]:
    """The parts of RTA_MULTIPATH: flags, weight minus one, index, attributes."""
    start = 0
    while start + _NEXT_HOP.size <= len(payload):
        length, flags, weight, index = _NEXT_HOP.unpack_from(payload, start)
        if length < _NEXT_HOP.size:
            raise Refused(errno.EINVAL, "Invalid nexthop configuration - extra data after nexthop")
        yield flags, weight, index, payloads(payload[start + _NEXT_HOP.size : start + length])
        start += (length + 3) & ~3


def network_of(address: bytes, prefixlen: int) -> bytes:
    """The address with all bits behind the prefix cleared."""
    bits = 8 * len(address)
    value = int.from_bytes(address, "big") >> (bits - prefixlen) << (bits - prefixlen)
    return value.to_bytes(len(address), "big")
