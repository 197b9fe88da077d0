"""Requests about routes: Route -> RTM_NEWROUTE and its kin (rtnetlink(7), ip-route(8)).

A route names devices; the kernel wants indexes. Whoever calls gives them: ``index`` for
``route.dev``, ``nexthop_indexes`` for the devices of ``route.nexthops`` in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from netkit._netlink.policy import Attribute, Policy, binary, ip, nest, u8, u16, u32
from netkit._netlink.route_record import (
    NEXT_HOP,
    RTA_DST,
    RTA_GATEWAY,
    RTA_METRICS,
    RTA_MULTIPATH,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTA_VIA,
    RTAX_MTU,
    RTNH_F_ONLINK,
)
from netkit._netlink.route_record import RTM_F_CLONED as RTM_F_CLONED
from netkit._netlink.route_record import parse_route as parse_route
from netkit._netlink.route_record import parse_routes as parse_routes
from netkit._netlink.wire import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    attribute,
    nested,
)
from netkit._netlink.wire import u32 as u32_attribute
from netkit._spec.names import (
    PROTOCOLS,
    ROUTE_TYPES,
    SCOPES,
    protocol_number,
    route_type_number,
    scope_number,
)
from netkit.errors import ProtocolError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.socket import Reply
    from netkit._netlink.wire import Words
    from netkit._spec.addresses import IPAddress
    from netkit._spec.routes import NextHop, Route

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
RTM_F_LOOKUP_TABLE = 0x1000
RTM_F_FIB_MATCH = 0x2000
RT_SCOPE_NOWHERE = 255
_RTN_LOCAL = 2

RTA_SRC = 2
RTA_IIF = 3
RTA_MARK = 16

ROUTE_POLICY: Policy = {
    1: Attribute("RTA_DST", ip),
    2: Attribute("RTA_SRC", ip),
    3: Attribute("RTA_IIF", u32),
    4: Attribute("RTA_OIF", u32),
    5: Attribute("RTA_GATEWAY", ip),
    6: Attribute("RTA_PRIORITY", u32),
    7: Attribute("RTA_PREFSRC", ip),
    8: nest(
        "RTA_METRICS",
        {
            1: Attribute("RTAX_LOCK", u32),
            2: Attribute("RTAX_MTU", u32),
            3: Attribute("RTAX_WINDOW", u32),
            4: Attribute("RTAX_RTT", u32),
            5: Attribute("RTAX_RTTVAR", u32),
            6: Attribute("RTAX_SSTHRESH", u32),
            7: Attribute("RTAX_CWND", u32),
            8: Attribute("RTAX_ADVMSS", u32),
            9: Attribute("RTAX_REORDERING", u32),
            10: Attribute("RTAX_HOPLIMIT", u32),
            11: Attribute("RTAX_INITCWND", u32),
            12: Attribute("RTAX_FEATURES", u32),
            13: Attribute("RTAX_RTO_MIN", u32),
            14: Attribute("RTAX_INITRWND", u32),
            15: Attribute("RTAX_QUICKACK", u32),
            16: Attribute("RTAX_CC_ALGO", binary),
            17: Attribute("RTAX_FASTOPEN_NO_COOKIE", u32),
        },
    ),
    9: Attribute("RTA_MULTIPATH", binary),
    10: Attribute("RTA_PROTOINFO", u32),
    11: Attribute("RTA_FLOW", u32),
    12: Attribute("RTA_CACHEINFO", binary),
    13: Attribute("RTA_SESSION", binary),
    14: Attribute("RTA_MP_ALGO", binary),
    15: Attribute("RTA_TABLE", u32),
    16: Attribute("RTA_MARK", u32),
    17: Attribute("RTA_MFC_STATS", binary),
    18: Attribute("RTA_VIA", binary),
    19: Attribute("RTA_NEWDST", binary),
    20: Attribute("RTA_PREF", u8),
    21: Attribute("RTA_ENCAP_TYPE", u16),
    22: Attribute("RTA_ENCAP", binary),
    23: Attribute("RTA_EXPIRES", u32),
    25: Attribute("RTA_UID", u32),
    26: Attribute("RTA_TTL_PROPAGATE", u8),
    27: Attribute("RTA_IP_PROTO", u8),
    28: Attribute("RTA_SPORT", u16),
    29: Attribute("RTA_DPORT", u16),
    30: Attribute("RTA_NH_ID", u32),
    31: Attribute("RTA_FLOWLABEL", binary),
}

_AF = {0: 0, 4: 2, 6: 10}
# family, destination's and source's prefix lengths, tos, table, protocol, scope, type, flags
HEADER = Struct("=BBBBBBBBI")
# IPv4: a network by a device, or a default route by a gateway: most routes, in one go. The header,
# RTA_DST or RTA_GATEWAY, and RTA_OIF.
_PLAIN = Struct("=BBBBBBBBIHH4sHHI")
_FAMILY = Struct("=H")


def add_route(
    route: Route,
    index: int | None = None,
    nexthop_indexes: Sequence[int | None] = (),
    *,
    replace: bool = False,
    exclusive: bool = True,
    append: bool = False,
    operation: Words | None = None,
) -> Request:
    """Add a route; ``replace`` takes the place of one with the same destination and metric.

    Without ``exclusive``, an equal route that is there is no error. Twins: ``ip route add``,
    ``replace``, ``append``.
    """
    flags = NLM_F_ACK | NLM_F_CREATE
    if replace:
        flags |= NLM_F_REPLACE
    elif append:
        flags |= NLM_F_APPEND
    elif exclusive:
        flags |= NLM_F_EXCL
    body = _body(route, index, nexthop_indexes, *_numbers(route))
    verb = "replace" if replace else "append" if append else "add"
    what = operation or (verb, " route ", route)
    return Request(RTM_NEWROUTE, flags, body, what, ROUTE_POLICY, HEADER.size)


class _Selector:
    """What is asked of a deletion, put into words only if it is refused."""

    __slots__ = ("_any_type", "_route")

    def __init__(self, route: Route, any_type: bool) -> None:
        self._route = route
        self._any_type = any_type

    def __str__(self) -> str:
        return self._route.selector(self._any_type)


def delete_route(
    route: Route,
    index: int | None = None,
    nexthop_indexes: Sequence[int | None] = (),
    *,
    exact: bool = False,
    any_type: bool = False,
    operation: Words | None = None,
) -> Request:
    """Delete the first route that has what is given here; what is None may be anything.

    That is how `ip route del` does it: the scope and who made the route do not count. With ``exact``
    they do. Either way a metric of None matches every metric, and the least goes first. With
    ``any_type``, a blackhole is found as well as a unicast route.
    """
    protocol, scope, kind = _numbers(route)
    if not exact:
        protocol, scope = 0, RT_SCOPE_NOWHERE if route.family == 4 else 0
    if any_type:
        kind = 0
    body = _body(route, index, nexthop_indexes, protocol, scope, kind)
    what = operation or ("delete route ", route if exact else _Selector(route, any_type))
    return Request(RTM_DELROUTE, NLM_F_ACK, body, what, ROUTE_POLICY, HEADER.size, deleting=True)


def list_routes(family: int = 0, table: int | None = None, *, operation: str | None = None) -> Request:
    """Ask for the routes of a family (4, 6, or 0 for both), of one table or all; for ``socket.dump``.

    A table that has never had a route is NotFoundError when a family is given, else an empty list.
    """
    members = b"" if table is None else u32_attribute(RTA_TABLE, table)
    body = HEADER.pack(_AF[family], 0, 0, 0, 0, 0, 0, 0, 0) + members
    what = operation or ("list routes" if table is None else f"list the routes of table {table}")
    return Request(RTM_GETROUTE, 0, body, what, ROUTE_POLICY, HEADER.size)


def get_route(
    address: IPAddress,
    *,
    src: IPAddress | None = None,
    iif: int | None = None,
    oif: int | None = None,
    mark: int | None = None,
    fib_match: bool = False,
    operation: str | None = None,
) -> Request:
    """Ask which way the kernel would send; for ``socket.get``. Twin: ``ip route get ADDRESS``.

    With ``fib_match`` the answer is the route of the table, not what follows from it.
    """
    packed = address.packed
    bits = 8 * len(packed)
    parts = [attribute(RTA_DST, packed)]
    if src is not None:
        parts.append(attribute(RTA_SRC, src.packed))
    for kind, value in ((RTA_IIF, iif), (RTA_OIF, oif), (RTA_MARK, mark)):
        if value is not None:
            parts.append(u32_attribute(kind, value))
    # IPv6 always says the table, and refuses to be asked for it.
    flags = (RTM_F_LOOKUP_TABLE if address.version == 4 else 0) | (RTM_F_FIB_MATCH if fib_match else 0)
    source_bits = 0 if src is None else bits
    header = HEADER.pack(_AF[address.version], bits, source_bits, 0, 0, 0, 0, 0, flags)
    what = operation or f"find the route to {address}"
    return Request(RTM_GETROUTE, 0, header + b"".join(parts), what, ROUTE_POLICY, HEADER.size)


def is_local(reply: Reply) -> bool:
    """Whether an RTM_NEWROUTE is of an address that the namespace itself has."""
    return header_of(reply)[7] == _RTN_LOCAL


def header_of(reply: Reply) -> tuple[int, ...]:
    """The fields of its struct rtmsg."""
    _, data, start, end = reply
    if end - start < HEADER.size:
        raise ProtocolError(f"a route of {end - start} bytes is shorter than its header")
    return HEADER.unpack_from(data, start)


# -- parts of a message ------------------------------------------------------------


def _numbers(route: Route) -> tuple[int, int, int]:
    """Its protocol, scope and type."""
    try:
        return PROTOCOLS[route.proto], SCOPES[route.scope], ROUTE_TYPES[route.type]
    except KeyError:  # one is a number, or another word for it
        return protocol_number(route.proto), scope_number(route.scope), route_type_number(route.type)


def _body(
    route: Route, index: int | None, hop_indexes: Sequence[int | None], protocol: int, scope: int, kind: int
) -> bytes:
    prefixlen = 0 if isinstance(route.dst, str) else route.dst.prefixlen
    table = route.table if route.table < 256 else 0  # then RTA_TABLE says it
    flags = RTNH_F_ONLINK if route.onlink else 0
    if table and index and route.family == 4:
        only = _only_attribute(route, prefixlen)
        if only is not None:
            attribute_type, packed = only
            return _PLAIN.pack(
                2, prefixlen, 0, 0, table, protocol, scope, kind, flags,
                8, attribute_type, packed, 8, RTA_OIF, index,
            )  # fmt: skip
    header = HEADER.pack(_AF[route.family], prefixlen, 0, 0, table, protocol, scope, kind, flags)
    return header + b"".join(_members(route, index, hop_indexes))


def _only_attribute(route: Route, prefixlen: int) -> tuple[int, bytes] | None:
    """The destination of an IPv4 route, or its gateway, if it has one of them and none but its device."""
    via = route.via
    if route.src is not None or route.metric is not None or route.mtu is not None or route.nexthops:
        return None
    if via is None:
        # "default" has no prefix length
        return (RTA_DST, route.dst.network_address.packed) if prefixlen else None  # type: ignore[union-attr]
    return (RTA_GATEWAY, via.packed) if not prefixlen and via.version == 4 else None


def _members(route: Route, index: int | None, nexthop_indexes: Sequence[int | None]) -> list[bytes]:
    parts: list[bytes] = []
    if not isinstance(route.dst, str) and route.dst.prefixlen:
        parts.append(attribute(RTA_DST, route.dst.network_address.packed))
    if route.table > 255:
        parts.append(u32_attribute(RTA_TABLE, route.table))
    if route.via is not None:
        parts.append(_gateway(route.via, route.family))
    if index is not None:
        parts.append(u32_attribute(RTA_OIF, index))
    if route.src is not None:
        parts.append(attribute(RTA_PREFSRC, route.src.packed))
    if route.metric is not None:
        parts.append(u32_attribute(RTA_PRIORITY, route.metric))
    if route.mtu is not None:
        parts.append(nested(RTA_METRICS, u32_attribute(RTAX_MTU, route.mtu)))
    if route.nexthops:
        parts.append(attribute(RTA_MULTIPATH, _next_hops(route, nexthop_indexes)))
    return parts


def _gateway(via: IPAddress, family: int) -> bytes:
    if via.version == family:
        return attribute(RTA_GATEWAY, via.packed)
    # RFC 5549: an IPv4 route by way of an IPv6 neighbour.
    return attribute(RTA_VIA, _FAMILY.pack(_AF[via.version]) + via.packed)


def _next_hops(route: Route, indexes: Sequence[int | None]) -> bytes:
    given = indexes or (None,) * len(route.nexthops)
    if len(given) != len(route.nexthops):
        raise SpecError(f"{len(given)} indexes for the {len(route.nexthops)} next hops of {route}")
    return b"".join(
        [_next_hop(hop, index, route.family) for hop, index in zip(route.nexthops, given, strict=True)]
    )


def _next_hop(hop: NextHop, index: int | None, family: int) -> bytes:
    gateway = b"" if hop.via is None else _gateway(hop.via, family)
    flags = RTNH_F_ONLINK if "onlink" in hop.flags else 0
    return NEXT_HOP.pack(NEXT_HOP.size + len(gateway), flags, hop.weight - 1, index or 0) + gateway
