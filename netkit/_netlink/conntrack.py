"""Connection tracking: entries listed, counted and deleted (ctnetlink).

Sources: include/uapi/linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c. The twin
is conntrack(8).
"""

from __future__ import annotations

from netkit._netlink.policy import Attribute, Policy, be16, be32, be64, binary, decode, nest, u8
from netkit._netlink.wire import NLM_F_ACK, Request, attribute, attributes, nested, u32
from netkit._netlink.wire import u8 as u8_attribute
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netkit._netlink.socket import Reply

_SUBSYSTEM = 1 << 8
_NEW, _GET, _DELETE, _GET_STATS = _SUBSYSTEM, _SUBSYSTEM + 1, _SUBSYSTEM + 2, _SUBSYSTEM + 5
_HEADER_SIZE = 4  # struct nfgenmsg

_TUPLE_ORIG, _TUPLE_REPLY = 1, 2
_ID = 12
_FILTER = 25
# What of the original direction a filter of a dump compares (Linux 5.8): net/netfilter/nf_conntrack_core.h
_FILTER_PROTO_NUM, _FILTER_DST_PORT = 1 << 3, 1 << 5

_IP_POLICY: Policy = {
    1: Attribute("CTA_IP_V4_SRC", binary),
    2: Attribute("CTA_IP_V4_DST", binary),
    3: Attribute("CTA_IP_V6_SRC", binary),
    4: Attribute("CTA_IP_V6_DST", binary),
}
_PROTO_POLICY: Policy = {
    1: Attribute("CTA_PROTO_NUM", u8),
    2: Attribute("CTA_PROTO_SRC_PORT", be16),
    3: Attribute("CTA_PROTO_DST_PORT", be16),
}
_TUPLE_POLICY: Policy = {
    1: nest("CTA_TUPLE_IP", _IP_POLICY),
    2: nest("CTA_TUPLE_PROTO", _PROTO_POLICY),
    3: Attribute("CTA_TUPLE_ZONE", be16),
}
_COUNTERS_POLICY: Policy = {
    1: Attribute("CTA_COUNTERS_PACKETS", be64),
    2: Attribute("CTA_COUNTERS_BYTES", be64),
}
CONNTRACK_POLICY: Policy = {
    1: nest("CTA_TUPLE_ORIG", _TUPLE_POLICY),
    2: nest("CTA_TUPLE_REPLY", _TUPLE_POLICY),
    3: Attribute("CTA_STATUS", be32),
    4: nest("CTA_PROTOINFO", {1: nest("CTA_PROTOINFO_TCP", {1: Attribute("CTA_PROTOINFO_TCP_STATE", u8)})}),
    7: Attribute("CTA_TIMEOUT", be32),
    8: Attribute("CTA_MARK", be32),
    9: nest("CTA_COUNTERS_ORIG", _COUNTERS_POLICY),
    10: nest("CTA_COUNTERS_REPLY", _COUNTERS_POLICY),
    12: Attribute("CTA_ID", be32),
    18: Attribute("CTA_ZONE", be16),
}
_STATS_POLICY: Policy = {1: Attribute("CTA_STATS_GLOBAL_ENTRIES", be32)}

IPS_SNAT, IPS_DNAT, IPS_ASSURED, IPS_SEEN_REPLY = 1 << 4, 1 << 5, 1 << 2, 1 << 1
FAMILIES = {4: 2, 6: 10}


class Tuple:
    """One direction of a connection: who to whom, addresses as bytes, ports 0 where there are none."""

    __slots__ = ("dport", "dst", "proto", "sport", "src")

    def __init__(self, values: object) -> None:
        outer = _attributes(values)
        addresses, protocol = (
            _attributes(outer.get("CTA_TUPLE_IP")),
            _attributes(outer.get("CTA_TUPLE_PROTO")),
        )
        self.src = _bytes(addresses, "SRC")
        self.dst = _bytes(addresses, "DST")
        self.proto = _number(protocol, "CTA_PROTO_NUM")
        self.sport = _number(protocol, "CTA_PROTO_SRC_PORT")
        self.dport = _number(protocol, "CTA_PROTO_DST_PORT")


def _attributes(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _bytes(values: dict[str, object], which: str) -> bytes:
    found = values.get(f"CTA_IP_V4_{which}", values.get(f"CTA_IP_V6_{which}"))
    if not isinstance(found, bytes) or len(found) not in (4, 16):
        raise ProtocolError("a connection came without its addresses")
    return found


def _number(values: dict[str, object], name: str) -> int:
    found = values.get(name, 0)
    return found if isinstance(found, int) else 0


class Entry:
    """A connection as the kernel told it. ``orig`` and ``reply`` are its two directions.

    ``packets`` and ``bytes`` are (original, reply), zeros unless net.netfilter.nf_conntrack_acct is 1.
    """

    __slots__ = (
        "bytes", "id", "mark", "orig", "packets", "reply", "status", "tcp_state", "timeout", "tuple_orig",
    )  # fmt: skip

    def __init__(self, data: bytes) -> None:
        values = decode(CONNTRACK_POLICY, data, 0, len(data))
        self.orig = Tuple(values.get("CTA_TUPLE_ORIG"))
        self.reply = Tuple(values.get("CTA_TUPLE_REPLY"))
        self.status = _number(values, "CTA_STATUS")
        self.timeout = _number(values, "CTA_TIMEOUT")
        self.mark = _number(values, "CTA_MARK")
        self.id = _number(values, "CTA_ID")
        info = _attributes(_attributes(values.get("CTA_PROTOINFO")).get("CTA_PROTOINFO_TCP"))
        state = info.get("CTA_PROTOINFO_TCP_STATE")
        self.tcp_state = state if isinstance(state, int) else None
        counters = [_attributes(values.get(f"CTA_COUNTERS_{way}")) for way in ("ORIG", "REPLY")]
        self.packets = _both(counters, "CTA_COUNTERS_PACKETS")
        self.bytes = _both(counters, "CTA_COUNTERS_BYTES")
        self.tuple_orig = _raw(data)


def _both(counters: list[dict[str, object]], name: str) -> tuple[int, int]:
    return _number(counters[0], name), _number(counters[1], name)


def _raw(data: bytes) -> bytes:
    """The original direction as it came, by which the entry is deleted."""
    for kind, start, end in attributes(data, 0, len(data)):
        if kind == _TUPLE_ORIG:
            return data[start:end]
    raise ProtocolError("a connection came without its original direction")


def _header(version: int | None) -> bytes:
    return bytes((0 if version is None else FAMILIES[version], 0, 0, 0))


def dump_entries(
    version: int | None = None, *, proto: int | None = None, dport: int | None = None
) -> Request:
    """Ask for all connections, or those of a family. Twin: ``conntrack -L``.

    ``proto`` and ``dport`` of the original direction are compared by the kernel from Linux 5.8 on; an older
    one answers with all, so the caller compares as well. They need ``version``.
    """
    body = _header(version)
    flags = 0
    members = b""
    if proto is not None:
        flags |= _FILTER_PROTO_NUM
        members += u8_attribute(1, proto)
        if dport is not None:
            flags |= _FILTER_DST_PORT
            members += attribute(3, dport.to_bytes(2, "big"))
        body += nested(_TUPLE_ORIG, nested(2, members))
        body += nested(_FILTER, u32(1, flags), u32(2, 0))
    return Request(_GET, 0, body, "list tracked connections", CONNTRACK_POLICY, _HEADER_SIZE)


def parse_entries(replies: Iterable[Reply]) -> Iterator[Entry]:
    """The connections among replies."""
    for kind, data, start, end in replies:
        if kind == _NEW:
            yield Entry(bytes(data[start + _HEADER_SIZE : end]))


def delete_entry(entry: Entry) -> Request:
    """Forget one connection, if it is still that one. Twin: ``conntrack -D``."""
    version = 4 if len(entry.orig.src) == 4 else 6
    body = (
        _header(version) + nested(_TUPLE_ORIG, entry.tuple_orig) + attribute(_ID, entry.id.to_bytes(4, "big"))
    )
    return Request(_DELETE, NLM_F_ACK, body, "forget a tracked connection", CONNTRACK_POLICY, _HEADER_SIZE)


def get_count() -> Request:
    """Ask how many there are. Twin: ``conntrack -C``."""
    return Request(_GET_STATS, 0, _header(None), "count tracked connections", _STATS_POLICY, _HEADER_SIZE)


def parse_count(reply: Reply) -> int:
    """Read the answer to get_count."""
    _, data, start, end = reply
    return _number(decode(_STATS_POLICY, data, start + _HEADER_SIZE, end), "CTA_STATS_GLOBAL_ENTRIES")
