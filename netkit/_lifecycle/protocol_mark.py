"""Whether what is to be deleted is ours, where the message that deletes it cannot say so.

An address or neighbour bears netkit's protocol number, but is deleted whoever made it. A rule or route is
deleted on condition of the number; an IPv4 route without a metric, though, whatever metric is there.
"""

from __future__ import annotations

import os
from struct import Struct, error
from sys import byteorder

from netkit._netlink.wire import Request, attributes, u32
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.socket import NetlinkSocket
    from netkit._runtime import Runtime

_ADDRESS = Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_NEIGHBOUR = Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type
_ROUTE = Struct("=BBBBBBBBI")  # rtmsg: family, lengths, tos, table, protocol, scope, type, flags
# Plain numbers: the modules that have them cost a guard a millisecond, or need ipaddress.
_RTM_DELADDR, _RTM_GETADDR, _IFA_ADDRESS, _IFA_LOCAL, _IFA_PROTO = 21, 22, 1, 2, 11
_RTM_DELNEIGH, _RTM_GETNEIGH, _NDA_DST, _NDA_PROTOCOL = 29, 30, 1, 12
_RTM_DELROUTE, _RTM_GETROUTE, _RTA_DST, _RTA_PRIORITY, _RTA_TABLE = 25, 26, 1, 6, 15
_AF_INET, _AF_INET6 = 2, 10
_METRIC6 = 1024  # IP6_RT_PRIO_USER: what an IPv6 route gets without one
_OURS = 110  # the protocol: NETKIT_PROTOCOL of _spec/names.py


class Look:
    """What is there, each list read once: for several deletions that are looked at together."""

    def __init__(self, sock: NetlinkSocket) -> None:
        self._sock = sock
        self._known: dict[tuple[int, bytes], list[bytes]] = {}

    @classmethod
    def at(cls, runtime: Runtime) -> Look | None:
        """Into a namespace that others use too; None for another, where nobody has put something of his."""
        return cls(runtime.route) if runtime.survives else None

    def has(self, kind: int, body: bytes) -> bool:
        """As `is_there`, but that an address without a number is ours where none has any."""
        if kind == _RTM_DELADDR and not addresses_have_numbers(os.uname().release):
            return True
        return is_there(self._sock, kind, body, self._known)


def addresses_have_numbers(release: str) -> bool:
    """Whether the kernel keeps an address's protocol: IFA_PROTO came with Linux 5.18."""
    first, second, *_ = release.replace("-", ".").split(".")
    return (int(first), int(second)) >= (5, 18)


def is_there(
    sock: NetlinkSocket, kind: int, body: bytes, known: dict[tuple[int, bytes], list[bytes]] | None = None
) -> bool:
    """Whether what this deletion is about is there and ours; True for a deletion that asks itself.

    An address has had the number since Linux 5.18: before, none is known to be ours. ``known`` are lists
    that were read before, and keeps those that are read now.
    """
    known = {} if known is None else known
    if kind == _RTM_DELROUTE:
        return _is_metric_there(sock, body, known)
    if kind not in (_RTM_DELADDR, _RTM_DELNEIGH):
        return True
    try:
        wanted = _read(kind, body)
    except error as problem:
        raise ProtocolError("a deletion in a journal is too short") from problem
    header = (
        _ADDRESS.pack(body[0], 0, 0, 0, wanted[1])
        if kind == _RTM_DELADDR
        else _NEIGHBOUR.pack(body[0], 0, 0, 0, 0)
    )
    asked = _RTM_GETADDR if kind == _RTM_DELADDR else _RTM_GETNEIGH
    return (*wanted[:3], _OURS) in [_read(kind, each) for each in _list(sock, asked, header, known)]


def key_of(kind: int, body: bytes) -> tuple[object, ...]:
    """What a deletion is about, for the kernel: two with one key can't be there at once (EEXIST).

    Raises ProtocolError for one that is too short.
    """
    six = body[:1] == bytes([_AF_INET6])
    try:
        if kind == _RTM_DELROUTE:
            length, target, table, metric, _ = _route(body)
            return kind, six, length, target, table, metric or _METRIC6 * six
        if kind in (_RTM_DELADDR, _RTM_DELNEIGH):
            length, index, address, _ = _read(kind, body)
            return kind, six, 0 if six else length, index, address
    except error as problem:
        raise ProtocolError("a deletion in a journal is too short") from problem
    return kind, body


def _list(
    sock: NetlinkSocket, asked: int, header: bytes, known: dict[tuple[int, bytes], list[bytes]]
) -> list[bytes]:
    if (asked, header) not in known:
        replies = sock.dump(Request(asked, 0, header, "look for what is to be removed"))
        known[asked, header] = [bytes(data[start:end]) for _, data, start, end in replies]
    return known[asked, header]


def _read(kind: int, body: bytes) -> tuple[int, int, bytes, int]:
    """Prefix length (of an address), index, address, protocol."""
    if kind == _RTM_DELADDR:
        _, length, _, _, index = _ADDRESS.unpack_from(body)
        found = _attributes(body, _ADDRESS.size)
        local = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")
        return length, index, local, _number(found.get(_IFA_PROTO))
    index = _NEIGHBOUR.unpack_from(body)[1]
    found = _attributes(body, _NEIGHBOUR.size)
    return 0, index, found.get(_NDA_DST, b""), _number(found.get(_NDA_PROTOCOL))


def _is_metric_there(sock: NetlinkSocket, body: bytes, known: dict[tuple[int, bytes], list[bytes]]) -> bool:
    if len(body) < _ROUTE.size:
        raise ProtocolError("a deletion in a journal is too short")
    wanted = _route(body)
    if body[0] != _AF_INET or wanted[3]:
        return True
    header = _ROUTE.pack(_AF_INET, 0, 0, 0, 0, 0, 0, 0, 0) + u32(_RTA_TABLE, wanted[2])
    return wanted in [_route(each) for each in _list(sock, _RTM_GETROUTE, header, known)]


def _route(body: bytes) -> tuple[int, bytes, int, int, int]:
    """Prefix length, destination, table, metric, protocol."""
    _, length, _, _, table, protocol, _, _, _ = _ROUTE.unpack_from(body)
    found = _attributes(body, _ROUTE.size)
    table = int.from_bytes(found.get(_RTA_TABLE, b""), byteorder) or table
    metric = int.from_bytes(found.get(_RTA_PRIORITY, b""), byteorder)
    return length, found.get(_RTA_DST, b""), table, metric, protocol


def _attributes(body: bytes, start: int) -> dict[int, bytes]:
    return {kind: body[begin:end] for kind, begin, end in attributes(body, start, len(body))}


def _number(payload: bytes | None) -> int:
    return payload[0] if payload else 0
