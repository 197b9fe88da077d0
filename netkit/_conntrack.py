"""The connections that the kernel tracks in a namespace: list, filter, count and delete."""

from __future__ import annotations

from collections.abc import Iterator

from netkit._netlink import conntrack
from netkit._shown import Shown
from netkit._spec._family import checked_family
from netkit._spec._nat_match import PROTOCOLS, address_matches, checked_protocol, port_match
from netkit._spec.addresses import address_of
from netkit._spec.value import Value
from netkit.errors import NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from netkit._namespace import Namespace
    from netkit._spec._nat_match import AddressMatch, Match, NatPort
    from netkit._spec.addresses import IPAddress, IPNetwork

_set = object.__setattr__
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
# enum tcp_conntrack, net/netfilter/nf_conntrack_proto_tcp.c
_TCP_STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
    "SYN_SENT2",
)  # fmt: skip
_STATUS = {
    "seen_reply": conntrack.IPS_SEEN_REPLY,
    "assured": conntrack.IPS_ASSURED,
    "snat": conntrack.IPS_SNAT,
    "dnat": conntrack.IPS_DNAT,
}
_BATCH = 100


class Connection(Value):
    """A tracked connection as it was when it was read: frozen. Twin: a line of ``conntrack -L``. Source:
    net/netfilter/nf_conntrack_netlink.c.

    ``saddr sport daddr dport`` are those of its first packet, as it was sent; ``reply_...`` those of the
    answers, where translation shows: ``reply_saddr`` is where DNAT leads. Ports are 0 for protocols without.
    ``state`` is that of TCP, else None; ``status`` holds ``"seen_reply"``, ``"assured"``, ``"snat"``,
    ``"dnat"``. ``timeout`` is seconds until it is forgotten. ``packets`` and ``bytes`` are (sent, answered),
    zeros unless the sysctl net.netfilter.nf_conntrack_acct is 1.
    """

    __slots__ = _fields = (
        "proto", "saddr", "sport", "daddr", "dport",
        "reply_saddr", "reply_sport", "reply_daddr", "reply_dport",
        "state", "status", "timeout", "mark", "packets", "bytes",
    )  # fmt: skip
    _compared = _fields[:9]

    proto: str
    saddr: IPAddress
    sport: int
    daddr: IPAddress
    dport: int
    reply_saddr: IPAddress
    reply_sport: int
    reply_daddr: IPAddress
    reply_dport: int
    state: str | None
    status: frozenset[str]
    timeout: int
    mark: int
    packets: tuple[int, int]
    bytes: tuple[int, int]

    def __init__(self, entry: conntrack.Entry) -> None:
        _set(self, "proto", _PROTOCOL_NAMES.get(entry.orig.proto, str(entry.orig.proto)))
        for prefix, way in (("", entry.orig), ("reply_", entry.reply)):
            _set(self, f"{prefix}saddr", address_of(way.src))
            _set(self, f"{prefix}sport", way.sport)
            _set(self, f"{prefix}daddr", address_of(way.dst))
            _set(self, f"{prefix}dport", way.dport)
        number = entry.tcp_state
        known = number is not None and number < len(_TCP_STATES)
        _set(self, "state", _TCP_STATES[number or 0] if known else None)
        _set(self, "status", frozenset([name for name, bit in _STATUS.items() if entry.status & bit]))
        _set(self, "timeout", entry.timeout)
        _set(self, "mark", entry.mark)
        _set(self, "packets", entry.packets)
        _set(self, "bytes", entry.bytes)

    def __str__(self) -> str:
        state = f" {self.state}" if self.state else ""
        asked = f"{_end(self.saddr, self.sport)} -> {_end(self.daddr, self.dport)}"
        answered = f"{_end(self.reply_saddr, self.reply_sport)} -> {_end(self.reply_daddr, self.reply_dport)}"
        return f"{self.proto}{state} {asked}, answers {answered}"

    def __repr__(self) -> str:
        return f"<Connection {self}>"


def _end(address: IPAddress, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


class Connections(Shown):
    """The tracked connections of a namespace: iterate for all of them.

    The kernel tracks once a rule asks for it, such as one of NAT. Twin: conntrack(8). Source:
    net/netfilter/nf_conntrack_netlink.c. Needs CAP_NET_ADMIN and CONFIG_NF_CT_NETLINK.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     print(box.conntrack.count(), list(box.conntrack))
        0 []
    """

    __slots__ = ("_netns",)

    def __init__(self, netns: Namespace) -> None:
        self._netns = netns

    def __iter__(self) -> Iterator[Connection]:
        return iter([Connection(entry) for entry in self._read(_Wanted())])

    def __len__(self) -> int:
        return self.count()

    def filter(
        self,
        *,
        proto: str | int | None = None,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        reply_saddr: AddressMatch | None = None,
        family: Literal[4, 6] | None = None,
    ) -> list[Connection]:
        """Those that match all that is given, in NatRule's words: networks, ranges of ports, ``!= `` negates.

        ``reply_saddr`` is who answers: where DNAT leads. Twin: ``conntrack -L``. Raises SpecError for bad
        values.
        """
        wanted = _Wanted(proto, saddr, daddr, sport, dport, reply_saddr, family)
        return [Connection(entry) for entry in self._read(wanted)]

    def count(
        self,
        *,
        proto: str | int | None = None,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        reply_saddr: AddressMatch | None = None,
        family: Literal[4, 6] | None = None,
    ) -> int:
        """How many match; without conditions the kernel's own count. Twin: ``conntrack -C``.

        Raises SpecError for bad values.
        """
        wanted = _Wanted(proto, saddr, daddr, sport, dport, reply_saddr, family)
        if wanted.is_all():
            socket = self._netns._live_runtime().netfilter
            return conntrack.parse_count(socket.get(conntrack.get_count()))
        return len(self._read(wanted))

    def delete(
        self,
        *,
        proto: str | int | None = None,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        reply_saddr: AddressMatch | None = None,
        family: Literal[4, 6] | None = None,
    ) -> int:
        """Forget those that match, so that their next packet is looked at anew; returns how many.

        What ends meanwhile is not counted. Twin: ``conntrack -D``. Raises SpecError without any condition:
        all of them are others' too.
        """
        wanted = _Wanted(proto, saddr, daddr, sport, dport, reply_saddr, family)
        if wanted.is_all():
            raise SpecError(
                "conntrack.delete() without a condition would forget everybody's connections: give proto=, "
                "saddr=, daddr=, sport=, dport=, reply_saddr= or family="
            )
        return self._delete(self._read(wanted))

    def _read(self, wanted: _Wanted) -> list[conntrack.Entry]:
        socket = self._netns._live_runtime().netfilter
        replies = socket.dump(conntrack.dump_entries(wanted.family))
        return [entry for entry in conntrack.parse_entries(replies) if wanted.matches(entry)]

    def _delete(self, entries: list[conntrack.Entry]) -> int:
        socket = self._netns._live_runtime().netfilter
        gone = 0
        for start in range(0, len(entries), _BATCH):
            requests = [conntrack.delete_entry(entry) for entry in entries[start : start + _BATCH]]
            for outcome in socket.batch(requests):
                if outcome is not None and not isinstance(outcome, NotFoundError):
                    raise outcome
                gone += outcome is None
        return gone

    def __repr__(self) -> str:
        return f"<Connections of {self._netns._called()}>"


class _Wanted:
    """The conditions, checked."""

    def __init__(
        self,
        proto: str | int | None = None,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        reply_saddr: AddressMatch | None = None,
        family: int | None = None,
    ) -> None:
        self.proto = checked_protocol(proto)
        self.saddr = address_matches(saddr, "saddr") or None
        self.daddr = address_matches(daddr, "daddr") or None
        self.reply_saddr = address_matches(reply_saddr, "reply_saddr") or None
        self.sport = port_match(sport, "sport")
        self.dport = port_match(dport, "dport")
        self.family = checked_family(family)

    def is_all(self) -> bool:
        """Whether nothing is asked for."""
        return all(value is None for value in vars(self).values())

    def matches(self, entry: conntrack.Entry) -> bool:
        """Whether the connection is meant."""
        way = entry.orig
        name = _PROTOCOL_NAMES.get(way.proto, str(way.proto))
        return (
            (self.family is None or len(way.src) == (4 if self.family == 4 else 16))
            and (self.proto is None or (name == self.proto.value) != self.proto.negated)
            and _is_in(way.src, self.saddr)
            and _is_in(way.dst, self.daddr)
            and _is_in(entry.reply.src, self.reply_saddr)
            and _is_between(way.sport, self.sport)
            and _is_between(way.dport, self.dport)
        )


def _is_in(address: bytes, matches: tuple[Match[IPNetwork], ...] | None) -> bool:
    return all((address_of(address) in match.value) != match.negated for match in matches or ())


def _is_between(port: int, match: Match[tuple[int, int]] | None) -> bool:
    return match is None or (match.value[0] <= port <= match.value[1]) != match.negated
