"""Snapshot: all that a namespace is configured with, as one frozen value.

The kernel has no snapshot over several tables. So events are listened to while the tables are
read, and they are read again if one came; `Snapshot.consistent` says whether that ended well.
"""

from __future__ import annotations

import errno
import socket as _socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from struct import error as struct_error
from typing import TYPE_CHECKING, Any, TypeVar

from netkit._netlink.address import list_addresses, parse_addresses
from netkit._netlink.link import IFF_UP, list_links, parse_link
from netkit._netlink.neighbour import NDMSG, list_neighbours, parse_neighbours
from netkit._netlink.route import list_routes, parse_routes
from netkit._netlink.rule import list_rules, parse_rule
from netkit._netlink.transport import NETLINK_ROUTE, subscribe
from netkit._netlink.wire import messages
from netkit._snapshot_nat import NatState, own_rules, read_nat
from netkit._spec.neighbours import STATES, Neighbour
from netkit._spec.routes import Route
from netkit._spec.rules import Rule
from netkit.errors import ProtocolError

if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._nat.rule import NatRule
    from netkit._netlink.link import LinkRecord
    from netkit._netlink.socket import NetlinkSocket, Reply
    from netkit._netlink.transport import Transport
    from netkit._runtime import Runtime
    from netkit._spec.address import Address
    from netkit._spec.addresses import IPAddress

T = TypeVar("T")

__all__ = ["InterfaceAddress", "LinkState", "NatState", "Snapshot", "take_snapshot", "take_snapshots"]

# RTNLGRP_... of linux/rtnetlink.h: link, neigh, ipv4 ifaddr, route, rule, ipv6 ifaddr, route, rule.
_GROUPS = (1, 3, 5, 7, 8, 9, 11, 19)
_READ_TRIES = 8
_RTM_NEWNEIGH, _RTM_DELNEIGH = 28, 29
_EVENT_SIZE = 32 * 1024

# The settings of a bridge and of a port that somebody chooses; the rest are timers and states.
_BRIDGE_OPTIONS = (
    "IFLA_BR_FORWARD_DELAY", "IFLA_BR_HELLO_TIME", "IFLA_BR_MAX_AGE", "IFLA_BR_AGEING_TIME",
    "IFLA_BR_STP_STATE", "IFLA_BR_PRIORITY", "IFLA_BR_VLAN_FILTERING", "IFLA_BR_MCAST_SNOOPING",
)  # fmt: skip
_PORT_OPTIONS = (
    "IFLA_BRPORT_COST", "IFLA_BRPORT_PRIORITY", "IFLA_BRPORT_MODE", "IFLA_BRPORT_LEARNING",
    "IFLA_BRPORT_UNICAST_FLOOD", "IFLA_BRPORT_ISOLATED",
)  # fmt: skip
_OPTIONS = (*_BRIDGE_OPTIONS, *_PORT_OPTIONS)


@dataclass(frozen=True)
class LinkState:
    """One link as it was. Twin: an entry of ``ip -d link show``.

    ``peer`` is the veth's other end (or the device it is put upon) where that is in the same
    namespace. ``options`` are a bridge's and a port's settings by the kernel's names.
    ``index`` and ``group`` do not count when two are compared: netkit marks what it makes with a
    random group, so that two builds of one network differ in it.
    """

    name: str
    index: int = field(compare=False)
    kind: str | None
    mtu: int
    mac: str | None
    state: str
    up: bool
    master: str | None
    peer: str | None
    alias: str | None
    altnames: tuple[str, ...]
    txqlen: int
    group: int = field(compare=False)
    options: tuple[tuple[str, object], ...]

    def __str__(self) -> str:
        words = [f"{self.name:<16}", f"{self.kind or '-':<8}", f"{self.state:<8}", f"{self.mac or '-':<17}"]
        words += [f"mtu {self.mtu}"]
        words += [] if self.up else ["down"]
        for word, value in (("master", self.master), ("peer", self.peer), ("alias", self.alias)):
            words += [f"{word} {value}"] if value else []
        words += [f"altname {name}" for name in self.altnames]
        return " ".join(words)


@dataclass(frozen=True)
class InterfaceAddress:
    """An address and the name of the link that has it; ``flags`` do not count when two are compared."""

    link: str
    address: Address
    scope: str
    label: str | None
    flags: frozenset[str] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.link:<16} {self.address} scope {self.scope}"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a namespace was configured with at one moment, frozen; made by ``ns.snapshot()``.

    Two are equal when the configuration is: indexes and counters do not count, nor do neighbours
    that the kernel learnt by itself and that come and go. ``nat`` has netkit's own rules and those
    of nftables; other programs' rules in legacy iptables are not seen. ``consistent`` is False when
    things changed during each of several reads: then the parts may be of different moments.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     before = box.snapshot()
        ...     _ = box.links["lo"].addresses.add("10.0.0.1/32")
        ...     print("\\n".join(before.diff(box.snapshot())))
        + address   lo               10.0.0.1/32 scope global
        + route     local 10.0.0.1/32 dev lo table local proto kernel scope host src 10.0.0.1
    """

    links: tuple[LinkState, ...]
    addresses: tuple[InterfaceAddress, ...]
    routes: tuple[Route, ...]
    rules: tuple[Rule, ...]
    neighbours: tuple[Neighbour, ...]
    nat: tuple[NatState, ...]
    consistent: bool = True

    def link(self, name: str) -> LinkState | None:
        """The link of this name, or None."""
        return next((link for link in self.links if link.name == name), None)

    def diff(self, other: Snapshot) -> list[str]:
        """A line for each thing that only one of the two has: ``-`` here, ``+`` there.

        A thing that changed has both. Empty for equal snapshots.
        """
        lines: list[str] = []
        for name in _PARTS:
            before, after = _compared(self, name), _compared(other, name)
            gone = [each for each in before if each not in after]
            come = [each for each in after if each not in before]
            lines += [f"- {_SINGULAR[name]:<9} {_shown(each)}" for each in gone]
            lines += [f"+ {_SINGULAR[name]:<9} {_shown(each)}" for each in come]
        return lines

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return NotImplemented
        return all(_compared(self, name) == _compared(other, name) for name in _PARTS)

    def __hash__(self) -> int:
        return hash(tuple([_compared(self, name) for name in _PARTS]))

    def __str__(self) -> str:
        parts: list[str] = []
        for name in _PARTS:
            values: Sequence[object] = getattr(self, name)
            if values:
                parts += [f"{name}:", *[f"  {_brief(value)}" for value in values]]
        return "\n".join(parts if self.consistent else ["(read while it changed)", *parts])


_PARTS = tuple(each.name for each in fields(Snapshot) if each.name != "consistent")
_SINGULAR = {"links": "link", "addresses": "address", "routes": "route", "rules": "rule",
             "neighbours": "neighbour", "nat": "nat"}  # fmt: skip


def _compared(snapshot: Snapshot, part: str) -> tuple[object, ...]:
    if part == "neighbours":
        return tuple([each for each in snapshot.neighbours if each.state == "permanent"])
    found: tuple[object, ...] = getattr(snapshot, part)
    return found


def _brief(value: object) -> str:
    """A line; the text of a rule does not say its family."""
    return f"-6 {value}" if isinstance(value, Rule) and value.family == 6 else str(value)


def _shown(value: object) -> str:
    """A line; for a link with all that counts."""
    if not isinstance(value, LinkState):
        return _brief(value)
    more = [f"group {value.group}" if value.group else "", f"qlen {value.txqlen}"]
    more += [f"{name.removeprefix('IFLA_').lower()}={option}" for name, option in value.options]
    return " ".join([str(value), *[word for word in more if word]])


# -- taking one ----------------------------------------------------------------------


def take_snapshots(namespaces: Mapping[str, Namespace]) -> dict[str, Snapshot]:
    """The snapshots of many. What `Network.snapshot` does."""
    rules = own_rules()
    return {name: _take(netns, rules) for name, netns in namespaces.items()}


def take_snapshot(netns: Namespace) -> Snapshot:
    """Read everything, again if it changed meanwhile. What `Namespace.snapshot` does."""
    return _take(netns, own_rules())


def _take(netns: Namespace, rules: Mapping[Runtime, Sequence[NatRule]]) -> Snapshot:
    runtime = netns._live_runtime()
    own = rules.get(runtime, ())
    monitor = runtime.opener.open_netlink(runtime.check(), NETLINK_ROUTE)
    try:
        subscribe(monitor, _GROUPS)
        snapshot = _read(runtime, own)
        for _ in range(_READ_TRIES):
            if not _changed(monitor):
                return snapshot
            snapshot = _read(runtime, own)
        return snapshot if not _changed(monitor) else _marked(snapshot)
    finally:
        monitor.close()


def _marked(snapshot: Snapshot) -> Snapshot:
    parts = {name: getattr(snapshot, name) for name in _PARTS}
    return Snapshot(**parts, consistent=False)


def _changed(monitor: Transport) -> bool:
    """Whether events came since the last look; reads them all away."""
    changed = False
    buffer = bytearray(_EVENT_SIZE)
    while True:
        try:
            size, _ = monitor.recvfrom_into(buffer, 0, _socket.MSG_DONTWAIT | _socket.MSG_TRUNC)
        except BlockingIOError:
            return changed
        except OSError as problem:
            if problem.errno != errno.ENOBUFS:
                raise
            changed = True  # some were lost, and with them what they said
            continue
        cut = size > len(buffer)
        changed = cut or _counts(memoryview(buffer)[:size]) or changed


def _counts(datagram: memoryview) -> bool:
    """Whether an event is of a change that somebody made. The states of learnt neighbours change by
    themselves all the time, and the snapshot does not compare them."""
    try:
        for kind, _, _, start, end in messages(datagram):
            if kind not in (_RTM_NEWNEIGH, _RTM_DELNEIGH):
                return True
            _, _, state, _, _ = NDMSG.unpack_from(datagram[start:end])
            if state & STATES["permanent"]:
                return True
    except (struct_error, ProtocolError):
        return True
    return False


def _read(runtime: Runtime, own: Sequence[NatRule]) -> Snapshot:
    route = runtime.route
    records = [parse_link(reply) for reply in route.dump(list_links())]
    names = {record.index: record.name for record in records}
    addresses = parse_addresses(route.dump(list_addresses()))
    routes = parse_routes(route.dump(list_routes()), names)
    neighbours = parse_neighbours(_shown_neighbours(route.dump(list_neighbours())), names)
    return Snapshot(
        links=_sorted([_link_state(record, names) for record in records], key=_name_of),
        addresses=_sorted([_interface_address(*each, names) for each in addresses], key=_address_order),
        routes=_sorted(routes, key=_route_order),
        rules=_rules(route),
        neighbours=_sorted(neighbours, key=str),
        nat=read_nat(runtime, own),
    )


def _shown_neighbours(replies: Iterable[Reply]) -> list[Reply]:
    """As ip-neighbour(8) shows them: multicast entries of state noarp are none of anybody's."""
    hidden = (STATES["none"], STATES["noarp"])
    return [
        (kind, data, start, end)
        for kind, data, start, end in replies
        if end - start < NDMSG.size or NDMSG.unpack_from(data, start)[2] not in hidden
    ]


def _link_state(record: LinkRecord, names: dict[int, str]) -> LinkState:
    return LinkState(
        name=record.name,
        index=record.index,
        kind=record.kind,
        mtu=record.mtu,
        mac=record.mac,
        state=record.state,
        up=bool(record.flags & IFF_UP),
        master=_name(record.master, names),
        peer=_name(record.link, names) if record.link_netnsid is None else None,
        alias=record.alias,
        altnames=record.altnames,
        txqlen=record.txqlen,
        group=record.group,
        options=_options(record),
    )


def _options(record: LinkRecord) -> tuple[tuple[str, object], ...]:
    if record.kind != "bridge" and record.slave_kind is None:
        return ()
    options = {**record.bridge, **record.port}
    return tuple([(name, options[name]) for name in _OPTIONS if name in options])


def _name(index: int | None, names: dict[int, str]) -> str | None:
    return names.get(index, f"if{index}") if index else None


def _interface_address(index: int, address: Address, names: dict[int, str]) -> InterfaceAddress:
    link = names.get(index, f"if{index}")
    return InterfaceAddress(link, address, address.scope, address.label, address.flags)


def _rules(route: NetlinkSocket) -> tuple[Rule, ...]:
    """In the order in which they count."""
    found: list[Rule] = []
    for family in (4, 6):
        rules = [parse_rule(reply) for reply in route.dump(list_rules(family))]
        found += sorted(rules, key=lambda rule: rule.priority or 0)
    return tuple(found)


def _sorted(values: Iterable[T], key: Callable[[T], Any]) -> tuple[T, ...]:
    """In an order that indexes have no part in."""
    return tuple(sorted(values, key=key))


def _name_of(link: LinkState) -> str:
    return link.name


def _address_order(each: InterfaceAddress) -> tuple[object, ...]:
    address = each.address
    return each.link, len(address.packed), address.packed, address.prefixlen, address.packed_peer or b""


def _route_order(route: Route) -> tuple[object, ...]:
    """By family, table and destination; the text of a route would do, but takes ten times as long."""
    network = (-1, 0) if isinstance(route.dst, str) else (int(route.dst.network_address), route.dst.prefixlen)
    first = route.family, route.table, *network, route.metric or 0, route.type, route.dev or ""
    rest = _number(route.via), _number(route.src), route.scope, route.protocol, route.mtu or 0, route.onlink
    return *first, *rest, str(route) if route.nexthops else ""


def _number(address: IPAddress | None) -> tuple[int, int]:
    return (0, 0) if address is None else (address.version, int(address))
