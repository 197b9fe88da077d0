"""What the kernel says of a route (RTM_NEWROUTE), as a Route."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from struct import Struct, error

from netkit._netlink.layout import Field, Reader
from netkit._netlink.wire import attributes
from netkit._spec.addresses import address_of, network_of
from netkit._spec.names import protocol_name, route_type_name, scope_name
from netkit._spec.routes import NextHop, Route
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, TypeAlias

    from netkit._netlink.layout import Shape
    from netkit._netlink.socket import Reply
    from netkit._spec.addresses import IPAddress
    from netkit._spec.routes import Destination

    Names: TypeAlias = Mapping[int, str] | Callable[[int], str | None]

RTM_F_CLONED = 0x200
RTNH_F_ONLINK = 4

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_PREFSRC = 7
RTA_METRICS = 8
RTA_MULTIPATH = 9
RTA_TABLE = 15
RTA_VIA = 18
RTAX_MTU = 2

_FAMILIES = (2, 10)  # AF_INET, AF_INET6
_SHAPE: Shape = {
    RTA_DST: Field(7),
    RTA_OIF: Field(8, "I"),
    RTA_GATEWAY: Field(9),
    RTA_PRIORITY: Field(10, "I"),
    RTA_PREFSRC: Field(11),
    RTA_METRICS: Field(12),
    RTA_MULTIPATH: Field(13),
    RTA_TABLE: Field(14, "I"),
    RTA_VIA: Field(15),
}
# Of struct rtmsg: family, length of the destination, table, protocol, scope, type, flags.
_READER = Reader("a route", "=BBxxBBBBI", _SHAPE, [None] * 9)
# Of struct rtnexthop: length, flags, weight minus one, index.
NEXT_HOP = Struct("=HBBi")
_FAMILY = Struct("=H")
_U32 = Struct("=I").unpack

# As ip-route(8) calls the RTNH_F_... bits of a next hop, then the RTM_F_... bits of a route.
_FLAGS = {
    0x01: "dead",
    0x02: "pervasive",
    0x04: "onlink",
    0x08: "offload",
    0x10: "linkdown",
    0x20: "unresolved",
    0x40: "trap",
    RTM_F_CLONED: "cache",
    0x4000: "rt_offload",
    0x8000: "rt_trap",
    0x20000000: "rt_offload_failed",
}


def parse_route(reply: Reply, names: Names) -> Route:
    """Read an RTM_NEWROUTE; ``names`` are the devices' names by index, a mapping or a function.

    A device without a name there is called ``if5``, as ip-route(8) does. Raises ProtocolError.
    """
    return _made(_read(reply), names)


def parse_routes(replies: Iterable[Reply], names: Names) -> list[Route]:
    """Read a dump, leaving out cached clones and what is neither IPv4 nor IPv6."""
    return [_made(fields, names) for fields in _routes(replies)]


def parse_routes_in_order(replies: Iterable[Reply], names: Mapping[int, str]) -> list[Route]:
    """Read a dump as parse_routes, by family, table and destination; indexes have no part in the order."""
    found = [(_order(fields, names), number, fields) for number, fields in enumerate(_routes(replies))]
    return [_made(fields, names) for _, _, fields in sorted(found)]


def _read(reply: Reply) -> tuple[Any, ...]:
    _, data, start, end = reply
    return _READER.read(data, start, end)


def _routes(replies: Iterable[Reply]) -> list[tuple[Any, ...]]:
    found = [_read(reply) for reply in replies]
    return [fields for fields in found if fields[0] in _FAMILIES and not fields[6] & RTM_F_CLONED]


def _order(fields: tuple[Any, ...], names: Mapping[int, str]) -> tuple[object, ...]:
    family, prefixlen, table, protocol, scope, kind, flags = fields[:7]
    dst, oif, gateway, priority, source, metrics, hops, long_table, via = fields[7:]
    ways = [(str(hop.via), hop.dev, hop.weight) for hop in _hops(hops, family, names)] if hops else []
    return (
        family, table if long_table is None else long_table, dst or b"", prefixlen, priority or 0, kind,
        names.get(oif, ""), gateway or via or b"", source or b"", scope, protocol, metrics or b"",
        flags & RTNH_F_ONLINK, str(ways),
    )  # fmt: skip


def _made(fields: tuple[Any, ...], names: Names) -> Route:
    family, prefixlen, table, protocol, scope, kind, flags = fields[:7]
    dst, oif, gateway, priority, source, metrics, hops, long_table, via = fields[7:]
    version = ip_version(family)
    words = _words.get((protocol, scope, kind, flags)) or _remember_words(protocol, scope, kind, flags)
    try:
        return Route(
            _destination(version, prefixlen, dst),
            version,
            via=None if gateway is via else _via(gateway, via, version),  # both are None
            dev=None if oif is None else device_name(names, oif),
            src=None if source is None else _address(source, version),
            metric=priority,
            scope=words[0],
            proto=words[1],
            mtu=None if metrics is None else _mtu(metrics),
            onlink=bool(flags & RTNH_F_ONLINK),
            type=words[2],
            table=table if long_table is None else long_table,
            nexthops=() if hops is None else _hops(hops, family, names),
            flags=words[3],
        )
    except (error, ValueError) as problem:  # ValueError: what ipaddress says of a bad length
        raise ProtocolError(f"a malformed route: {problem!r}") from problem


# Of protocol, scope, type and flags: the same few come again and again.
_words: dict[tuple[int, int, int, int], tuple[str, str, str, frozenset[str]]] = {}
_MOST_WORDS = 256


def _remember_words(protocol: int, scope: int, kind: int, flags: int) -> tuple[str, str, str, frozenset[str]]:
    if len(_words) >= _MOST_WORDS:
        _words.clear()
    words = scope_name(scope), protocol_name(protocol), route_type_name(kind), flag_names(flags)
    _words[protocol, scope, kind, flags] = words
    return words


def _destination(version: int, prefixlen: int, packed: bytes | None) -> Destination:
    if not prefixlen:
        return "default"
    width = 4 if version == 4 else 16
    if packed is None:
        packed = bytes(width)
    elif len(packed) != width:
        raise ProtocolError(f"RTA_DST of an IPv{version} route has {len(packed)} bytes")
    return network_of(packed, prefixlen)


def _address(packed: bytes, version: int) -> IPAddress:
    if len(packed) != (4 if version == 4 else 16):
        raise ProtocolError(f"an IPv{version} address of {len(packed)} bytes")
    return address_of(packed)


def _via(gateway: bytes | None, via: bytes | None, version: int) -> IPAddress | None:
    if gateway is not None:
        return _address(gateway, version)
    return None if via is None else _address(via[2:], ip_version(_FAMILY.unpack_from(via)[0]))


def _mtu(metrics: bytes) -> int | None:
    for number, begin, stop in attributes(metrics, 0, len(metrics)):
        if number == RTAX_MTU:
            return int(_U32(metrics[begin:stop])[0])
    return None


def _hops(payload: bytes, family: int, names: Names) -> tuple[NextHop, ...]:
    version = ip_version(family)
    hops: list[NextHop] = []
    for start, end, flags, weight, index in next_hops(payload):
        members = {number: payload[begin:stop] for number, begin, stop in attributes(payload, start, end)}
        dev = device_name(names, index) if index else None
        # Not through its constructor: what the kernel has is not for us to refuse.
        via = _via(members.get(RTA_GATEWAY), members.get(RTA_VIA), version)
        fields = (via, dev, weight + 1, flag_names(flags))
        hops.append(NextHop._from_fields(fields))  # pyright: ignore[reportPrivateUsage]
    return tuple(hops)


def next_hops(multipath: bytes) -> Iterator[tuple[int, ...]]:
    """Of each: where its attributes begin and end, its flags, weight minus one, and index."""
    start, end = 0, len(multipath)
    while start < end:
        length, flags, weight, index = NEXT_HOP.unpack_from(multipath, start)
        if not NEXT_HOP.size <= length <= end - start:
            raise ProtocolError(f"a next hop claims {length} bytes of {end - start}")
        yield start + NEXT_HOP.size, start + length, flags, weight, index
        start += (length + 3) & ~3


def ip_version(family: int) -> Literal[4, 6]:
    """4 or 6 of an address family; ProtocolError for any other."""
    if family == 2:
        return 4
    if family == 10:
        return 6
    raise ProtocolError(f"address family {family} is neither IPv4 nor IPv6")


def device_name(names: Names, index: int) -> str:
    known = names(index) if callable(names) else names.get(index)
    return known or f"if{index}"


def flag_names(flags: int) -> frozenset[str]:
    """The names of the bits of a route or a next hop."""
    return frozenset([name for bit, name in _FLAGS.items() if flags & bit])
