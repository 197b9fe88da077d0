"""What the kernel says of a link (RTM_NEWLINK), read by a narrow and fast parser.

A dump of a thousand links is read in one go: see layout.py.
"""

from __future__ import annotations

from struct import Struct

from netkit._netlink.layout import Field, Nest, Reader
from netkit._netlink.link_policy import BRIDGE_PORT_POLICY, DATA_POLICIES
from netkit._netlink.policy import decode
from netkit._netlink.wire import attributes
from netkit._spec.value import Value
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from netkit._netlink.layout import Shape
    from netkit._netlink.policy import Policy
    from netkit._netlink.socket import Reply

_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_QDISC = 6
_IFLA_MASTER = 10
_IFLA_TXQLEN = 13
_IFLA_OPERSTATE = 16
_IFLA_LINKINFO = 18
_IFLA_IFALIAS = 20
_IFLA_STATS64 = 23
_IFLA_GROUP = 27
_IFLA_CARRIER = 33
_IFLA_LINK_NETNSID = 37
_IFLA_PROP_LIST = 52

_IFLA_ALT_IFNAME = 53
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_INFO_SLAVE_KIND = 4
_IFLA_INFO_SLAVE_DATA = 5

# Where the fields of a link stand in what the reader gives; the first two are the header's.
_INDEX, _FLAGS, _NAME, _MTU, _GROUP, _TXQLEN, _OPERSTATE, _CARRIER = 0, 1, 2, 3, 4, 5, 6, 7
_MASTER, _LINK, _NETNSID, _MAC, _QDISC, _ALIAS, _ALTNAMES, _STATS = 8, 9, 10, 11, 12, 13, 14, 15
_KIND, _SLAVE_KIND, _DATA, _PORT = 16, 17, 18, 19

_INFO: Shape = {
    _IFLA_INFO_KIND: Field(_KIND),
    _IFLA_INFO_SLAVE_KIND: Field(_SLAVE_KIND),
    _IFLA_INFO_DATA: Field(_DATA),
    _IFLA_INFO_SLAVE_DATA: Field(_PORT),
}
_SHAPE: Shape = {
    _IFLA_ADDRESS: Field(_MAC),
    _IFLA_IFNAME: Field(_NAME),
    _IFLA_MTU: Field(_MTU, "I"),
    _IFLA_LINK: Field(_LINK, "I"),
    _IFLA_QDISC: Field(_QDISC),
    _IFLA_MASTER: Field(_MASTER, "I"),
    _IFLA_TXQLEN: Field(_TXQLEN, "I"),
    _IFLA_OPERSTATE: Field(_OPERSTATE, "B"),
    _IFLA_LINKINFO: Nest(_INFO),
    _IFLA_IFALIAS: Field(_ALIAS),
    _IFLA_STATS64: Field(_STATS),
    _IFLA_GROUP: Field(_GROUP, "I"),
    _IFLA_CARRIER: Field(_CARRIER, "B"),
    _IFLA_LINK_NETNSID: Field(_NETNSID, "i"),
    _IFLA_PROP_LIST: Nest({}, Field(_ALTNAMES)),
}
_DEFAULTS = (None, None, 0, 0, 0, 0, *[None] * 12)  # from the name on
_READER = Reader("a link", "=4xiI4x", _SHAPE, _DEFAULTS)  # of struct ifinfomsg: index, flags
_OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
_HEADER_SIZE = 16
_index_of = Struct("=i").unpack_from
_STATISTICS = Struct("=10Q")


class LinkStats(Value):
    """What a link has counted since it was made, in packets and bytes; frozen, made by ``link.stats``.

    Twin: ``ip -s link show``. Source: IFLA_STATS64, struct rtnl_link_stats64 of linux/if_link.h.
    """

    __slots__ = _fields = (
        "rx_packets",
        "tx_packets",
        "rx_bytes",
        "tx_bytes",
        "rx_errors",
        "tx_errors",
        "rx_dropped",
        "tx_dropped",
        "multicast",
        "collisions",
    )  # in the order of struct rtnl_link_stats64

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int
    multicast: int
    collisions: int

    def __init__(self, *counts: int) -> None:
        for name, count in zip(self._fields, counts, strict=True):
            object.__setattr__(self, name, count)


class LinkRecord:
    """One link as the kernel reported it; not a handle, and never fresh again.

    It keeps what the kernel said, and decodes a field when it is asked for.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: tuple[Any, ...]) -> None:
        self._fields = fields

    @property
    def index(self) -> int:
        """Its index in its namespace."""
        return int(self._fields[_INDEX])

    @property
    def flags(self) -> int:
        """The ``IFF_...`` bits."""
        return int(self._fields[_FLAGS])

    @property
    def name(self) -> str:
        """Its name (IFLA_IFNAME)."""
        return _text(self._fields[_NAME])

    @property
    def mtu(self) -> int:
        """The largest packet in bytes (IFLA_MTU)."""
        return int(self._fields[_MTU])

    @property
    def group(self) -> int:
        """Its group (IFLA_GROUP)."""
        return int(self._fields[_GROUP])

    @property
    def txqlen(self) -> int:
        """The length of its transmit queue in packets (IFLA_TXQLEN)."""
        return int(self._fields[_TXQLEN])

    @property
    def operstate(self) -> int:
        """A number of RFC 2863 (IFLA_OPERSTATE)."""
        return int(self._fields[_OPERSTATE])

    @property
    def state(self) -> str:
        """``operstate`` in the words of ``ip link``, in lower case."""
        number = self.operstate
        return _OPERSTATES[number] if number < len(_OPERSTATES) else str(number)

    @property
    def carrier(self) -> bool:
        """Whether it has a carrier (IFLA_CARRIER)."""
        return bool(self._fields[_CARRIER])

    @property
    def master(self) -> int | None:
        """The index of the bridge, or other master, it is a port of (IFLA_MASTER)."""
        found: int | None = self._fields[_MASTER]
        return found

    @property
    def link(self) -> int | None:
        """The index of the peer or parent (IFLA_LINK), in the namespace ``link_netnsid`` if that is given."""
        found: int | None = self._fields[_LINK]
        return found

    @property
    def link_netnsid(self) -> int | None:
        """The namespace of ``link``, by the id it has here (IFLA_LINK_NETNSID); None: this one."""
        found: int | None = self._fields[_NETNSID]
        return found

    @property
    def mac(self) -> str | None:
        """The link-layer address in lower case (IFLA_ADDRESS)."""
        packed: bytes | None = self._fields[_MAC]
        return packed.hex(":") if packed else None

    @property
    def qdisc(self) -> str | None:
        """The queueing discipline (IFLA_QDISC)."""
        return _text_or_none(self._fields[_QDISC])

    @property
    def alias(self) -> str | None:
        """The free text (IFLA_IFALIAS)."""
        return _text_or_none(self._fields[_ALIAS])

    @property
    def altnames(self) -> tuple[str, ...]:
        """The alternative names (IFLA_ALT_IFNAME)."""
        packed = self._fields[_ALTNAMES]
        return () if packed is None else _alternative_names(packed)

    @property
    def kind(self) -> str | None:
        """``veth``, ``bridge`` and so on (IFLA_INFO_KIND); None for hardware and ``lo``."""
        return _text_or_none(self._fields[_KIND])

    @property
    def slave_kind(self) -> str | None:
        """The kind of its master, where that keeps data about it (IFLA_INFO_SLAVE_KIND)."""
        return _text_or_none(self._fields[_SLAVE_KIND])

    @property
    def stats(self) -> LinkStats:
        """The counters (IFLA_STATS64), which come with every link."""
        packed: bytes | None = self._fields[_STATS]
        if packed is None:
            raise ProtocolError(f"link '{self.name}' came without its counters")
        if len(packed) < _STATISTICS.size:
            raise ProtocolError(f"IFLA_STATS64 has {len(packed)} bytes")
        return LinkStats(*_STATISTICS.unpack_from(packed))

    @property
    def data(self) -> dict[str, object]:
        """What is special to the kind (IFLA_INFO_DATA), by the kernel's names; empty if not known."""
        return _decoded(DATA_POLICIES.get(self.kind or ""), self._fields[_DATA])

    @property
    def bridge(self) -> dict[str, object]:
        """The ``IFLA_BR_...`` values of a bridge; empty for any other link."""
        return self.data if self.kind == "bridge" else {}

    @property
    def port(self) -> dict[str, object]:
        """The ``IFLA_BRPORT_...`` values of a bridge's port; empty for any other link."""
        return _decoded(BRIDGE_PORT_POLICY if self.slave_kind == "bridge" else None, self._fields[_PORT])

    def __repr__(self) -> str:
        return f"<LinkRecord {self.index}: {self.name!r} kind={self.kind!r} flags={self.flags:#x}>"


def parse_link(reply: Reply) -> LinkRecord:
    """Read an RTM_NEWLINK (or RTM_DELLINK). Raises ProtocolError for a malformed one."""
    _, data, start, end = reply
    fields = _READER.read(data, start, end)
    if fields[_NAME] is None or fields[_MTU] is None:
        raise ProtocolError("a link without attribute IFLA_IFNAME or IFLA_MTU")
    return LinkRecord(fields)


def parse_identity(reply: Reply) -> tuple[int, str]:
    """Index and name alone of an RTM_NEWLINK, in which the name comes first. Raises ProtocolError."""
    _, data, start, end = reply
    if end - start < _HEADER_SIZE:
        raise ProtocolError(f"a link of {end - start} bytes is shorter than its header")
    for number, begin, stop in attributes(data, start + _HEADER_SIZE, end):
        if number == _IFLA_IFNAME:
            return _index_of(data, start + 4)[0], _text(bytes(data[begin:stop]))
    raise ProtocolError("a link without attribute IFLA_IFNAME")


def _decoded(policy: Policy | None, payload: bytes | None) -> dict[str, object]:
    return {} if policy is None or payload is None else decode(policy, payload, 0, len(payload))


def _text(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode("utf-8", "replace")


def _text_or_none(payload: bytes | None) -> str | None:
    return None if payload is None else _text(payload)


def _alternative_names(payload: bytes) -> tuple[str, ...]:
    found = attributes(payload, 0, len(payload))
    return tuple([_text(payload[begin:stop]) for number, begin, stop in found if number == _IFLA_ALT_IFNAME])
