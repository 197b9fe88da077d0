"""What is written for the kernel is read back as the value it was: it reports objects as it is told them."""

from __future__ import annotations

import ipaddress
from socket import AF_INET, AF_INET6, inet_ntop

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._netlink import address as address_codec
from netkit._netlink.address import ADDRESS_POLICY, add_address, delete_address, list_addresses, parse_address
from netkit._netlink.fdb import add_fdb, delete_fdb, list_fdb, parse_fdb
from netkit._netlink.neighbour import (
    NEIGHBOUR_POLICY,
    add_neighbour,
    delete_neighbour,
    list_neighbours,
    parse_neighbour,
)
from netkit._netlink.policy import decode
from netkit._netlink.route import ROUTE_POLICY, add_route, delete_route, get_route, list_routes, parse_route
from netkit._netlink.rule import RULE_POLICY, add_rule, delete_rule, parse_rule
from netkit._netlink.wire import NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Request
from netkit._spec.address import Address
from netkit._spec.names import ROUTE_TYPES
from netkit._spec.neighbours import Neighbour
from netkit._spec.routes import NextHop, Route
from netkit._spec.rules import Rule
from netkit.errors import SpecError
from tests.unit.codec_values import (
    INDEXES,
    NAMES,
    U32,
    IPAddress,
    addresses,
    devices,
    hosts,
    macs,
    neighbours,
    reply,
    routes,
    rules,
)


def said(request: Request) -> dict[str, object]:
    """The attributes of a request by the kernel's names."""
    assert request.policy is not None
    return decode(request.policy, request.body, request.header_size, len(request.body))


def text_of(address: IPAddress) -> str:
    """As the tables read it; Python itself writes ::ffff:0:0 where the C library has ::ffff:0.0.0.0."""
    return inet_ntop(AF_INET if address.version == 4 else AF_INET6, address.packed)


def indexes(route: Route) -> tuple[int | None, list[int | None]]:
    own = None if route.dev is None else INDEXES[route.dev]
    return own, [None if hop.dev is None else INDEXES[hop.dev] for hop in route.nexthops]


# -- addresses ------------------------------------------------------------------------


@given(addresses(), st.integers(1, 2**31 - 1), st.booleans(), st.booleans())
def test_address(address: Address, index: int, nodad: bool, replace: bool) -> None:
    request = add_address(index, address, nodad=nodad, replace=replace)
    owner, found = parse_address(reply(request))
    assert (owner, found) == (index, address)
    assert found.packed_peer is None
    assert ("nodad" in found.flags) == (nodad and address.version == 6)
    assert bool(request.flags & NLM_F_REPLACE) == replace
    assert bool(request.flags & NLM_F_EXCL) != replace
    assert request.operation == f"add address {address} to link {index}"


@given(
    addresses(),
    st.none() | st.integers(0, U32 - 1),
    st.none() | st.integers(0, U32 - 1),
    st.sampled_from(("global", "link", "host", 200)),
)
def test_address_with_everything(
    address: Address, valid: int | None, preferred: int | None, scope: str | int
) -> None:
    request = add_address(
        5,
        address,
        label="eth0:x",
        scope=scope,
        broadcast="+",
        peer=address.packed[::-1],
        valid_lifetime=valid,
        preferred_lifetime=preferred,
        noprefixroute=True,
        metric=7,
    )
    _, found = parse_address(reply(request))
    assert found.label == "eth0:x"
    assert found.scope == ("site" if scope == 200 else scope)
    assert found.packed_peer == (None if address.packed[::-1] == address.packed else address.packed[::-1])
    assert "noprefixroute" in found.flags
    assert found.valid_lifetime == valid
    assert found.preferred_lifetime == (valid if preferred is None else preferred)
    wide = address.version == 4 and address.prefixlen <= 30
    assert found.broadcast == (address.network.broadcast_address if wide else None)
    assert said(request)["IFA_RT_PRIORITY"] == 7


@pytest.mark.parametrize(
    ("address", "scope"), [("127.0.0.9/8", "host"), ("10.0.0.1/24", "global"), ("::1/128", "global")]
)
def test_the_scope_of_loopback_is_host(address: str, scope: str) -> None:
    assert parse_address(reply(add_address(1, Address.parse(address))))[1].scope == scope


def test_an_address_from_ipaddress_is_the_same() -> None:
    text = "10.0.0.1/24"
    for make in (add_address, delete_address):
        assert make(1, Address.parse(text)).body == make(1, ipaddress.ip_interface(text)).body


def test_deleting_an_address_names_its_peer() -> None:
    plain, point = Address.parse("10.0.0.1/32"), Address(b"\x0a\0\0\1", 32, peer=b"\x0a\0\0\2")
    assert said(delete_address(1, plain)) == {"IFA_LOCAL": "10.0.0.1", "IFA_ADDRESS": "10.0.0.1"}
    assert said(delete_address(1, point)) == {"IFA_LOCAL": "10.0.0.1", "IFA_ADDRESS": "10.0.0.2"}
    assert delete_address(1, plain).deleting


def test_temporary_is_what_secondary_means_for_ipv6() -> None:
    assert address_codec.flag_names(0x81, 2) == {"secondary", "permanent"}
    assert address_codec.flag_names(0x81, 10) == {"temporary", "permanent"}
    assert address_codec.flag_names(0x80000000, 2) == set()


def test_listing_addresses() -> None:
    assert list_addresses(6, 9).body == bytes([10, 0, 0, 0]) + (9).to_bytes(4, "little")
    assert list_addresses().body == bytes(8)


# -- routes ----------------------------------------------------------------------------


@given(routes())
def test_route(route: Route) -> None:
    request = add_route(route, *indexes(route))
    found = parse_route(reply(request), NAMES)
    assert found == route
    assert str(found) == str(route)
    assert [hop.weight for hop in found.nexthops] == [hop.weight for hop in route.nexthops]
    assert request.operation == f"add route {route}"


@given(routes())
def test_deleting_a_route_exactly_names_all_of_it(route: Route) -> None:
    assert parse_route(reply(delete_route(route, *indexes(route), exact=True)), NAMES) == route


@given(routes())
def test_deleting_a_route_as_ip_does(route: Route) -> None:
    request = delete_route(route, *indexes(route))
    _, _, _, _, table, protocol, scope, kind = request.body[:8]
    assert (protocol, kind) == (0, ROUTE_TYPES[route.type]), "who made it does not matter"
    assert scope == (255 if route.family == 4 else 0)
    assert table == (route.table if route.table < 256 else 0)
    assert request.deleting
    assert delete_route(route, *indexes(route), any_type=True).body[7] == 0


@pytest.mark.parametrize(
    ("keywords", "flags", "verb"),
    [
        ({}, NLM_F_CREATE | NLM_F_EXCL, "add"),
        ({"exclusive": False}, NLM_F_CREATE, "add"),
        ({"replace": True}, NLM_F_CREATE | NLM_F_REPLACE, "replace"),
        ({"append": True}, NLM_F_CREATE | NLM_F_APPEND, "append"),
    ],
)
def test_ways_to_add_a_route(keywords: dict[str, bool], flags: int, verb: str) -> None:
    request = add_route(Route.build("10.0.0.0/8", via="10.0.0.1"), **keywords)
    assert request.flags & 0xF00 == flags
    assert request.operation.startswith(f"{verb} route 10.0.0.0/8")


def test_a_next_hop_on_link() -> None:
    hops = (NextHop("10.0.0.1", "eth0", 1, frozenset(["onlink"])), NextHop("10.0.0.2", "eth0"))
    route = Route("default", 4, nexthops=hops)
    found = parse_route(reply(add_route(route, None, [2, 2])), NAMES)
    assert [sorted(hop.flags) for hop in found.nexthops] == [["onlink"], []]


def test_next_hops_and_their_indexes_must_agree() -> None:
    route = Route.build("default", nexthops=[NextHop("10.0.0.1"), NextHop("10.0.0.2")])
    assert [hop.dev for hop in parse_route(reply(add_route(route)), NAMES).nexthops] == [None, None]
    with pytest.raises(SpecError, match="3 indexes for the 2 next hops"):
        add_route(route, None, [1, 2, 3])


@given(hosts(4) | hosts(6), st.booleans())
def test_asking_for_a_way(address: IPAddress, fib_match: bool) -> None:
    request = get_route(address, src=address, iif=3, oif=4, mark=5, fib_match=fib_match)
    assert said(request) == {
        "RTA_DST": text_of(address),
        "RTA_SRC": text_of(address),
        "RTA_IIF": 3,
        "RTA_OIF": 4,
        "RTA_MARK": 5,
    }
    assert request.body[1:3] == bytes(2 * [address.max_prefixlen])


@given(devices, st.integers(1, U32))
def test_devices_by_mapping_and_by_function(dev: str, unknown: int) -> None:
    route = Route("default", 4, dev=dev)
    for names in (NAMES, NAMES.get):
        assert parse_route(reply(add_route(route, INDEXES[dev])), names).dev == dev
    stranger = parse_route(reply(add_route(route, unknown)), {})
    assert stranger.dev == f"if{unknown}", "as ip-route(8) calls a device it cannot find"


def test_listing_routes() -> None:
    assert list_routes(6).body == bytes([10]) + bytes(11)
    assert said(list_routes(4, 1000)) == {"RTA_TABLE": 1000}


# -- rules, neighbours, forwarding entries --------------------------------------------


@given(rules())
def test_rule(rule: Rule) -> None:
    found = parse_rule(reply(add_rule(rule)))
    assert found == rule
    assert (found.proto, str(found)) == ("netkit", str(rule))
    assert parse_rule(reply(delete_rule(rule, exact=True))) == rule
    assert "FRA_PROTOCOL" not in said(delete_rule(rule))
    assert delete_rule(rule).deleting


def test_a_rule_without_a_priority_lets_the_kernel_choose() -> None:
    assert "FRA_PRIORITY" not in said(add_rule(Rule.build(src="10.0.0.0/8", table=5)))
    assert said(add_rule(Rule.build(src="10.0.0.0/8", table=5, priority=0)))["FRA_PRIORITY"] == 0


@given(neighbours(), st.booleans())
def test_neighbour(entry: Neighbour, replace: bool) -> None:
    index = INDEXES[entry.dev]
    request = add_neighbour(index, entry.address, entry.mac, state=entry.state, replace=replace)
    assert parse_neighbour(reply(request), NAMES) == entry
    assert bool(request.flags & NLM_F_REPLACE) == replace
    assert said(request)["NDA_PROTOCOL"] == 110
    gone = delete_neighbour(index, entry.address)
    assert said(gone) == {"NDA_DST": text_of(entry.address)}
    assert gone.deleting


def test_proxies_are_marked() -> None:
    address = ipaddress.ip_address("10.0.0.1")
    added = parse_neighbour(reply(add_neighbour(2, address, None, proxy=True)), NAMES)
    assert added.flags == {"proxy"}
    assert delete_neighbour(2, address, proxy=True).body[10] == 0x08
    assert said(list_neighbours(4, 9)) == {"NDA_IFINDEX": 9}


@given(macs, devices, st.none() | st.integers(1, 4094), st.sampled_from(("static", "permanent", "reachable")))
def test_forwarding_entry(mac: str, dev: str, vlan: int | None, state: str) -> None:
    request = add_fdb(INDEXES[dev], mac, vlan=vlan, state=state)
    found = parse_fdb(reply(request), NAMES)
    assert (found.mac, found.dev, found.vlan, found.state) == (mac, dev, vlan, state)
    assert found.flags == {"master"}
    own = add_fdb(INDEXES[dev], mac, vlan=vlan, state=state, on_bridge=True)
    assert parse_fdb(reply(own), NAMES).flags == {"self"}
    gone = delete_fdb(INDEXES[dev], mac, vlan=vlan)
    assert said(gone) == said(request)
    assert gone.deleting
    assert said(list_fdb(9)) == {"NDA_MASTER": 9}


def test_every_request_names_its_attributes() -> None:
    """An extended ACK's offset can be turned into a name only with a table."""
    address = ipaddress.ip_address("10.0.0.1")
    for request, policy, header in (
        (list_addresses(), ADDRESS_POLICY, 8),
        (get_route(address), ROUTE_POLICY, 12),
        (add_rule(Rule(4, priority=1)), RULE_POLICY, 12),
        (list_neighbours(), NEIGHBOUR_POLICY, 12),
        (list_fdb(1), NEIGHBOUR_POLICY, 12),
    ):
        assert (request.policy, request.header_size) == (policy, header)
