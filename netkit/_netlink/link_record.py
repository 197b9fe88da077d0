"""What the kernel says of a link (RTM_NEWLINK), read by a narrow and fast parser.

A dump of a thousand links is read in one go, so the parser notes where the few wanted
attributes are and skips the forty others; what is rarely asked for is decoded when asked for.
"""

from __future__ import annotations

from struct import Struct, error

from netkit._netlink.link_policy import BRIDGE_PORT_POLICY, DATA_POLICIES
from netkit._netlink.policy import decode
from netkit._netlink.wire import NLA_F_NESTED, NLA_TYPE_MASK, attributes
from netkit._spec.value import Value
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
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


def _with_mark(*numbers: int) -> frozenset[int]:
    # Some kernels mark nests (NLA_F_NESTED), others do not.
    return frozenset(numbers) | frozenset([number | NLA_F_NESTED for number in numbers])


_WANTED = _with_mark(
    _IFLA_ADDRESS,
    _IFLA_IFNAME,
    _IFLA_MTU,
    _IFLA_LINK,
    _IFLA_QDISC,
    _IFLA_MASTER,
    _IFLA_TXQLEN,
    _IFLA_OPERSTATE,
    _IFLA_LINKINFO,
    _IFLA_IFALIAS,
    _IFLA_STATS64,
    _IFLA_GROUP,
    _IFLA_CARRIER,
    _IFLA_LINK_NETNSID,
    _IFLA_PROP_LIST,
)
_WANTED_INFO = _with_mark(_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA)

_ATTRIBUTE = Struct("=HH").unpack_from
_HEADER = Struct("=BxHiII")  # family, ARPHRD type, index, flags, change
_HEADER_SIZE = _HEADER.size
_U32 = Struct("=I").unpack
_S32 = Struct("=i").unpack
_STATS = Struct("=10Q")
_ZERO = bytes(4)
_NOTHING: dict[int, bytes] = {}


class LinkStats(Value):
    """What a link has counted since it was made. Twin: ``ip -s link show`` (IFLA_STATS64)."""

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

    ``link`` is the index of the peer or parent (IFLA_LINK), in the namespace ``link_netnsid`` if
    that is not None. ``kind`` is None for hardware and ``lo``. ``operstate`` is a number of RFC 2863.
    """

    __slots__ = (
        "_data",
        "_port",
        "_stats",
        "alias",
        "altnames",
        "carrier",
        "flags",
        "group",
        "index",
        "kind",
        "link",
        "link_netnsid",
        "mac",
        "master",
        "mtu",
        "name",
        "operstate",
        "qdisc",
        "slave_kind",
        "txqlen",
    )

    alias: str | None
    altnames: tuple[str, ...]
    carrier: bool
    flags: int
    group: int
    index: int
    kind: str | None
    link: int | None
    link_netnsid: int | None
    mac: str | None
    master: int | None
    mtu: int
    name: str
    operstate: int
    qdisc: str | None
    slave_kind: str | None
    txqlen: int

    def __init__(self, message: bytes, payloads: dict[int, bytes]) -> None:
        get = payloads.get
        _, _, self.index, self.flags, _ = _HEADER.unpack_from(message)
        self.name = _text(payloads[_IFLA_IFNAME])
        self.mtu = _U32(payloads[_IFLA_MTU])[0]
        self.group = _U32(get(_IFLA_GROUP, _ZERO))[0]
        self.txqlen = _U32(get(_IFLA_TXQLEN, _ZERO))[0]
        self.operstate = get(_IFLA_OPERSTATE, _ZERO)[0]
        self.carrier = get(_IFLA_CARRIER, _ZERO)[0] != 0
        self.master = _U32(payloads[_IFLA_MASTER])[0] if _IFLA_MASTER in payloads else None
        self.link = _U32(payloads[_IFLA_LINK])[0] if _IFLA_LINK in payloads else None
        self.link_netnsid = _S32(payloads[_IFLA_LINK_NETNSID])[0] if _IFLA_LINK_NETNSID in payloads else None
        self.mac = get(_IFLA_ADDRESS, b"").hex(":") or None
        self.qdisc = _text(payloads[_IFLA_QDISC]) if _IFLA_QDISC in payloads else None
        self.alias = _text(payloads[_IFLA_IFALIAS]) if _IFLA_IFALIAS in payloads else None
        self.altnames = _alternative_names(payloads[_IFLA_PROP_LIST]) if _IFLA_PROP_LIST in payloads else ()
        self._stats = get(_IFLA_STATS64)
        info = (
            _payloads(payloads[_IFLA_LINKINFO], 0, _WANTED_INFO) if _IFLA_LINKINFO in payloads else _NOTHING
        )
        self.kind = _text(info[_IFLA_INFO_KIND]) if _IFLA_INFO_KIND in info else None
        self.slave_kind = _text(info[_IFLA_INFO_SLAVE_KIND]) if _IFLA_INFO_SLAVE_KIND in info else None
        self._data = info.get(_IFLA_INFO_DATA)
        self._port = info.get(_IFLA_INFO_SLAVE_DATA)

    @property
    def stats(self) -> LinkStats:
        """The counters (IFLA_STATS64), which come with every link."""
        if self._stats is None:
            raise ProtocolError(f"link '{self.name}' came without its counters")
        if len(self._stats) < _STATS.size:
            raise ProtocolError(f"IFLA_STATS64 has {len(self._stats)} bytes")
        return LinkStats(*_STATS.unpack_from(self._stats))

    @property
    def data(self) -> dict[str, object]:
        """What is special to the kind (IFLA_INFO_DATA), by the kernel's names; empty if not known."""
        return _decoded(DATA_POLICIES.get(self.kind or ""), self._data)

    @property
    def bridge(self) -> dict[str, object]:
        """The ``IFLA_BR_...`` values of a bridge; empty for any other link."""
        return self.data if self.kind == "bridge" else {}

    @property
    def port(self) -> dict[str, object]:
        """The ``IFLA_BRPORT_...`` values of a bridge's port; empty for any other link."""
        return _decoded(BRIDGE_PORT_POLICY if self.slave_kind == "bridge" else None, self._port)

    def __repr__(self) -> str:
        return f"<LinkRecord {self.index}: {self.name!r} kind={self.kind!r} flags={self.flags:#x}>"


def _decoded(policy: Policy | None, payload: bytes | None) -> dict[str, object]:
    return {} if policy is None or payload is None else decode(policy, payload, 0, len(payload))


def parse_link(reply: Reply) -> LinkRecord:
    """Read an RTM_NEWLINK (or RTM_DELLINK). Raises ProtocolError for a malformed one."""
    _, data, start, end = reply
    message = bytes(data[start:end])
    try:
        return LinkRecord(message, _payloads(message, _HEADER_SIZE, _WANTED))
    except KeyError as problem:
        raise ProtocolError(f"a link without attribute {problem} (IFLA_...)") from problem
    except (error, IndexError) as problem:
        raise ProtocolError(f"a link's attribute is too short: {problem}") from problem


def _payloads(message: bytes, start: int, wanted: frozenset[int]) -> dict[int, bytes]:
    """The payloads of the wanted attributes. This loop is most of the cost of a read."""
    payloads: dict[int, bytes] = {}
    unpack, stop, end = _ATTRIBUTE, start, len(message)
    while start < end:
        length, kind = unpack(message, start)
        if length < 4:
            break
        stop = start + length
        if kind in wanted:
            payloads[kind & NLA_TYPE_MASK] = message[start + 4 : stop]
        start += (length + 3) & ~3
    if start < end or stop > end:  # asked once: only the last attribute can reach beyond the end
        raise ProtocolError(
            f"a link's attribute at byte {min(start, stop)} of {end} has an impossible length"
        )
    return payloads


def _text(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode("utf-8", "replace")


def _alternative_names(payload: bytes) -> tuple[str, ...]:
    names = attributes(payload, 0, len(payload))
    return tuple([_text(payload[begin:stop]) for number, begin, stop in names if number == _IFLA_ALT_IFNAME])
