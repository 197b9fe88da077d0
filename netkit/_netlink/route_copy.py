"""A route as the kernel tells of it (RTM_NEWROUTE), made a request that brings back just that, or deletes it.

Not by way of a Route: of other programs' routes it has not everything, such as the metrics of TCP, a realm,
or the id of a next-hop object. As `ip route save` and `restore` do it (ip/iproute.c).
"""

from __future__ import annotations

from struct import Struct, error
from sys import byteorder

from netkit._netlink.route import HEADER, ROUTE_POLICY, RTM_DELROUTE, RTM_NEWROUTE, header_of
from netkit._netlink.route_record import NEXT_HOP, RTA_MULTIPATH, RTA_OIF, RTNH_F_ONLINK, next_hops
from netkit._netlink.wire import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    attribute,
    attributes,
)
from netkit._netlink.wire import u32 as u32_attribute
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.socket import Reply
    from netkit._netlink.wire import Words

_EXPIRES = Struct("=8xi")  # of struct rta_cacheinfo
_CLOCK_TICKS = 100  # USER_HZ: in which it counts

_RTA_CACHEINFO = 12
_RTA_EXPIRES = 23
_RTA_NH_ID = 30
# Destination, source, device, gateway, metric, preferred source, metrics, next hops, realm, table, gateway of
# another family, preference, encapsulation, TTL, next-hop object: what can be asked for (rtm_ipv4_policy).
_KEPT = frozenset((1, 2, 4, 5, 6, 7, 8, RTA_MULTIPATH, 11, 15, 18, 20, 21, 22, 26, _RTA_NH_ID))
_OF_NEXT_HOP = frozenset((4, 5, RTA_MULTIPATH, 18, 21, 22))  # an object's id stands for them
_UNICAST, _BLACKHOLE = 1, 6  # RTN_...
_ASKED_FOR = RTNH_F_ONLINK  # of the flags; the others are the kernel's own, and refused


def is_for_all(reply: Reply) -> bool:
    """Whether a route is for packets of any source and TOS, as those are that netkit adds."""
    return not any(header_of(reply)[2:4])


def copy_of(reply: Reply, operation: Words) -> Request:
    """The request that adds this route, if it is not there."""
    _, data, start, end = reply
    try:
        body = _body(bytes(data[start:end]))
    except error as problem:
        raise ProtocolError(f"a malformed route: {problem}") from problem
    return _request(NLM_F_EXCL, body, operation)


def deletion_of(reply: Reply, operation: Words) -> Request:
    """The request that deletes just this route."""
    body = copy_of(reply, operation).body
    return Request(RTM_DELROUTE, NLM_F_ACK, body, operation, ROUTE_POLICY, HEADER.size, deleting=True)


def replacing(copy: Request) -> Request:
    """The same in the place of what has been put there."""
    return _request(NLM_F_REPLACE, copy.body, copy.words)


def links_of(copy: Request) -> list[int]:
    """The indexes of the links that a route's copy leaves by."""
    found: list[int] = []
    for name, begin, stop in attributes(copy.body, HEADER.size, len(copy.body)):
        if name == RTA_OIF:
            found.append(int.from_bytes(copy.body[begin:stop], byteorder))
        elif name == RTA_MULTIPATH:
            found += [index for *_, index in next_hops(copy.body[begin:stop])]
    return found


def _request(how: int, body: bytes, operation: Words) -> Request:
    flags = NLM_F_ACK | NLM_F_CREATE | how
    return Request(RTM_NEWROUTE, flags, body, operation, ROUTE_POLICY, HEADER.size)


def _body(told: bytes) -> bytes:
    *fields, kind, flags = HEADER.unpack_from(told)
    members = [(name, told[begin:stop]) for name, begin, stop in attributes(told, HEADER.size, len(told))]
    has_object = any(name == _RTA_NH_ID for name, _ in members)
    if has_object and kind == _BLACKHOLE:
        kind = _UNICAST  # what the object does is told as the route's type
    parts = [HEADER.pack(*fields, kind, flags & _ASKED_FOR)]
    for name, payload in members:
        if name == _RTA_CACHEINFO:
            parts += _lifetime(payload)
        elif name in _KEPT and not (has_object and name in _OF_NEXT_HOP):
            parts.append(attribute(name, _next_hops(payload) if name == RTA_MULTIPATH else payload))
    return b"".join(parts)


def _lifetime(cacheinfo: bytes) -> list[bytes]:
    """What is left of an IPv6 route's time."""
    ticks = int(_EXPIRES.unpack_from(cacheinfo)[0])
    return [u32_attribute(_RTA_EXPIRES, -(-ticks // _CLOCK_TICKS))] if ticks > 0 else []


def _next_hops(payload: bytes) -> bytes:
    parts: list[bytes] = []
    for start, end, flags, weight, index in next_hops(payload):
        head = NEXT_HOP.pack(NEXT_HOP.size + end - start, flags & _ASKED_FOR, weight, index)
        parts += [head, payload[start : (end + 3) & ~3]]
    return b"".join(parts)
