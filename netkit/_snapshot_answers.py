"""The kernel's answers of which a Snapshot is made; each part of it is decoded when it is asked for.

A program that looks for one thing, or keeps a snapshot in case a test fails, pays for no more.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from netkit._netlink.address import list_addresses, parse_addresses
from netkit._netlink.bridge_record import bridge_info, port_info
from netkit._netlink.link import IFF_UP, list_links, parse_identity, parse_link
from netkit._netlink.neighbour import list_neighbours, parse_neighbours, shown_neighbours
from netkit._netlink.route import list_routes
from netkit._netlink.route_record import parse_routes_in_order
from netkit._netlink.rule import dump_rules, parse_rule
from netkit._snapshot_values import InterfaceAddress, LinkState
from netkit._spec.neighbours import Neighbour

if TYPE_CHECKING:
    from netkit._netlink.link import LinkRecord
    from netkit._netlink.socket import NetlinkSocket, Reply
    from netkit._spec.routes import Route
    from netkit._spec.rules import Rule


class Answers(NamedTuple):
    """One dump of each table."""

    link: list[Reply]
    address: list[Reply]
    route: list[Reply]
    rule: list[Reply]
    rule6: list[Reply]
    neighbour: list[Reply]

    @classmethod
    def read(cls, sock: NetlinkSocket) -> Answers:
        """Ask for all of them."""
        return cls(
            link=sock.dump(list_links()),
            address=sock.dump(list_addresses()),
            route=sock.dump(list_routes()),
            rule=dump_rules(sock, 4),
            rule6=dump_rules(sock, 6),
            neighbour=sock.dump(list_neighbours()),
        )

    # Each in an order that indexes have no part in.

    def links(self) -> tuple[LinkState, ...]:
        """By name."""
        records = [parse_link(reply) for reply in self.link]
        names = {record.index: record.name for record in records}
        return tuple(sorted([_link_state(record, names) for record in records], key=attrgetter("name")))

    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """By link, family and number."""
        names = self._names()
        found = [
            InterfaceAddress(_name(index, names) or "", each, each.scope, each.label, each.flags)
            for index, each in parse_addresses(self.address)
        ]
        return tuple(sorted(found, key=_address_order))

    def routes(self) -> tuple[Route, ...]:
        """By family, table and destination."""
        return tuple(parse_routes_in_order(self.route, self._names()))

    def rules(self) -> tuple[Rule, ...]:
        """In the order in which they count."""
        found: list[Rule] = []
        for replies in (self.rule, self.rule6):
            rules = [parse_rule(reply) for reply in replies]
            found += sorted(rules, key=lambda rule: rule.priority or 0)
        return tuple(found)

    def neighbours(self) -> tuple[Neighbour, ...]:
        """By their texts."""
        return tuple(sorted(parse_neighbours(shown_neighbours(self.neighbour), self._names()), key=str))

    def far_ends(self) -> dict[str, tuple[int, int | None]]:
        """By the name of a link: the index of its peer, and the id of its namespace if that is another."""
        records = [parse_link(reply) for reply in self.link]
        return {each.name: (each.link, each.link_netnsid) for each in records if each.link}

    def _names(self) -> dict[int, str]:
        return dict([parse_identity(reply) for reply in self.link])


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
        bridge=bridge_info(record),
        port=port_info(record),
    )


def _name(index: int | None, names: dict[int, str]) -> str | None:
    return names.get(index, f"if{index}") if index else None


def _address_order(each: InterfaceAddress) -> tuple[object, ...]:
    address = each.address
    return each.link, len(address.packed), address.packed, address.prefixlen, address.packed_peer or b""
