"""Static routes: packets sent through a model of the layout arrive, without loops and without detours."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netkit import Topology
from netkit._topology.layout import Layout
from netkit._topology.subnets import Subnet, covering
from tests.unit.topology_plans import connected_plans, interfaces

Ip = IPv4Address | IPv6Address


@dataclass
class Model:
    """Who has which address on which wire, and everybody's routes."""

    layout: Layout
    owner: dict[tuple[object, Ip], str] = field(default_factory=dict)  # by wire and address
    own: dict[str, set[Ip]] = field(default_factory=dict)
    table: dict[str, list[tuple[object, object, Ip | None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in interfaces(self.layout):
            for address in each.addresses:
                self.owner[each.segment.where, address.ip] = each.netns
                self.own.setdefault(each.netns, set()).add(address.ip)
                self.add(each.netns, address.network, each.segment.where, None)
            for route in each.routes:
                assert not isinstance(each.where, str) or route in self.layout.routes[each.netns]
                dst = (
                    ip_network("0.0.0.0/0" if route.family == 4 else "::/0")
                    if route.dst == "default"
                    else route.dst
                )
                self.add(each.netns, dst, each.segment.where, route.via)

    def add(self, netns: str, dst: object, wire: object, via: Ip | None) -> None:
        self.table.setdefault(netns, []).append((dst, wire, via))

    def send(self, source: str, target: Ip) -> list[str]:
        """The namespaces that a packet comes through, the last of which has the address."""
        path = [source]
        while target not in self.own.get(path[-1], ()):
            assert len(path) < 32, f"a loop: {path}"
            assert len(path) == 1 or self.layout_forwards(path[-1]), f"{path[-1]} forwards nothing: {path}"
            matching = [
                row for row in self.table[path[-1]] if row[0].version == target.version and target in row[0]
            ]  # type: ignore[attr-defined,operator]
            assert matching, f"{path[-1]} has no route to {target}"
            longest = max(row[0].prefixlen for row in matching)  # type: ignore[attr-defined]
            best = [row for row in matching if row[0].prefixlen == longest]  # type: ignore[attr-defined]
            assert len(best) == 1 or len({row[1:] for row in best}) == 1, best
            _, wire, via = best[0]
            path.append(self.owner[wire, via or target])
        return path

    def layout_forwards(self, netns: str) -> bool:
        return any(path.endswith("/forwarding") for path, _ in self.layout.early.get(netns, []))


def shortest(plan: Topology, layout: Layout, source: str, wire: object) -> int:
    """How many routers there are at least between a namespace and a wire."""
    wires: dict[str, set[object]] = {}
    for each in interfaces(layout):
        if each.addresses:
            wires.setdefault(each.netns, set()).add(each.segment.where)
    distance, waiting = {source: 0}, deque([source])
    while waiting:
        here = waiting.popleft()
        if wire in wires[here]:
            return distance[here]
        for other in plan.namespaces:
            if (
                plan.namespaces[other].forwarding
                and other not in distance
                and wires[here] & wires.get(other, set())
            ):
                distance[other] = distance[here] + 1
                waiting.append(other)
    raise AssertionError(f"{source} is not connected with {wire}")


@settings(max_examples=200)
@given(plan=connected_plans())
def test_everything_reaches_everything_the_shortest_way(plan: Topology) -> None:
    layout = Layout(plan)
    model = Model(layout)
    for source in plan.namespaces:
        for each in interfaces(layout):
            for address in each.addresses:
                path = model.send(source, address.ip)
                # Through the routers on the way to its wire, and from the last one over it.
                assert len(path) <= shortest(plan, layout, source, each.segment.where) + 2


SHAPES = {
    "star": lambda: Topology.star(5, forwarding=True),
    "line": lambda: Topology.line(7),
    "ring": lambda: Topology.ring(6),
    "odd ring": lambda: Topology.ring(5, subnet=["auto", "auto6"]),
    "mesh": lambda: Topology.mesh(5),
    "tree": lambda: Topology.tree(3, 2),
    "wide tree": lambda: Topology.tree(2, 4, subnet="fd00::/32"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_routed(shape: str) -> None:
    plan = SHAPES[shape]()
    layout = Layout(plan)
    model = Model(layout)
    for source in plan.namespaces:
        for each in interfaces(layout):
            for address in each.addresses:
                assert (
                    len(model.send(source, address.ip))
                    <= shortest(plan, layout, source, each.segment.where) + 2
                )


def routes_of(layout: Layout, netns: str) -> list[str]:
    found = [str(route) for each in interfaces(layout) if each.netns == netns for route in each.routes]
    return [text.replace(" proto netkit", "") for text in found]


def test_networks_in_a_row_are_one_route() -> None:
    layout = Layout(Topology.line(66, subnet="10.0.0.0/16"))
    assert routes_of(layout, "box1") == ["default via 10.0.0.2"]
    # The 32 networks before the link to box33, and those after the link to box34.
    assert routes_of(layout, "box33") == [
        "10.0.0.0/26 via 10.0.0.125", "10.0.0.64/27 via 10.0.0.125", "10.0.0.96/28 via 10.0.0.125",
        "10.0.0.112/29 via 10.0.0.125", "10.0.0.120/30 via 10.0.0.125",
        "10.0.0.132/30 via 10.0.0.130", "10.0.0.136/29 via 10.0.0.130", "10.0.0.144/28 via 10.0.0.130",
        "10.0.0.160/27 via 10.0.0.130", "10.0.0.192/26 via 10.0.0.130", "10.0.1.0/30 via 10.0.0.130",
    ]  # fmt: skip


def test_a_tree_has_few_routes_for_its_size() -> None:
    layout = Layout(Topology.tree(7, 2))
    most = max(len(routes_of(layout, netns)) for netns in layout.namespaces)
    assert most < 30  # of 254 networks


def test_routers_without_a_way_out_have_no_default_route() -> None:
    layout = Layout(Topology.line(4))
    assert not [
        route for netns in ("box2", "box3") for route in routes_of(layout, netns) if "default" in route
    ]


def outside() -> Topology:
    plan = Topology(subnet="10.0.0.0/16")
    for name in ("r1", "r2", "r3"):
        plan.add_router(name)
    plan.add_namespace("box")
    plan.add_namespace("internet")
    plan.add_link("r1", "internet", subnet="198.51.100.0/30", default_route=True)
    plan.add_link("r1", "r2")
    plan.add_link("r2", "r3")
    plan.add_link("r3", "box")
    return plan


def test_a_way_out_is_everybodys() -> None:
    layout = Layout(outside())
    assert "default via 198.51.100.2" in routes_of(layout, "r1")
    assert "default via 10.0.0.1" in routes_of(layout, "r2")
    assert "default via 10.0.0.5" in routes_of(layout, "r3")
    assert routes_of(layout, "box") == ["default via 10.0.0.9"]


def test_the_world_outside_knows_no_way_in() -> None:
    plan = outside()
    assert routes_of(Layout(plan), "internet") == []
    plan.add_link("internet", "r3")  # another way, by a router that sends nothing there by default
    assert routes_of(Layout(plan), "internet") == ["default via 10.0.0.14"]


def test_what_the_user_gave_stays() -> None:
    plan = outside()
    plan.add_route("r3", "10.0.0.0/30", via="box")
    plan.add_route("box", "default", via="r3")
    layout = Layout(plan)
    assert "10.0.0.0/30 via 10.0.0.10" in routes_of(layout, "r3")
    assert not [route for route in routes_of(layout, "r3") if route.startswith("10.0.0.0/30 via 10.0.0.5")]
    assert routes_of(layout, "box") == ["default via 10.0.0.9"]


def test_a_box_whose_gateway_is_no_router_still_reaches_the_networks_behind_one() -> None:
    plan = Topology(subnet="10.0.0.0/16")
    plan.add_bridge("lan", subnet="10.1.0.0/24")
    plan.add_router("r")
    for name in ("box", "other", "far"):
        plan.add_namespace(name)
    plan.add_link("r", "lan")
    plan.add_link("other", "lan")
    plan.add_link("box", "lan", default_route="other")
    plan.add_link("r", "far")
    assert routes_of(Layout(plan), "box") == ["default via 10.1.0.2", "10.0.0.0/30 via 10.1.0.1"]


def test_of_two_routers_the_default_route_is_by_the_one_that_leads_outside() -> None:
    plan = outside()
    plan.add_router("aside")
    plan.add_link("box", "aside")
    for number in range(9):
        plan.add_link("aside", plan.add_namespace(f"leaf{number}"))
    routes = routes_of(Layout(plan), "box")
    assert routes[0] == "default via 10.0.0.9"
    assert len(routes) > 1
    assert all("via 10.0.0.14" in route for route in routes[1:])


def test_else_by_the_one_that_leads_to_most() -> None:
    plan = Topology(subnet="10.0.0.0/16")
    plan.add_namespace("box")
    for name, leaves in (("small", 1), ("large", 3)):
        plan.add_router(name)
        plan.add_link("box", name)
        for number in range(leaves):
            plan.add_link(name, plan.add_namespace(f"{name}{number}"))
    assert routes_of(Layout(plan), "box") == ["10.0.0.4/30 via 10.0.0.2", "default via 10.0.0.10"]


def test_a_name_stands_for_its_address_of_the_family_that_is_meant() -> None:
    plan = Topology(subnet=["10.0.0.0/16", "fd00:7::/48"], routing=False)
    for name in ("a", "b", "c"):
        plan.add_namespace(name)
    plan.add_bridge("lan", "b", address="auto")
    plan.add_link("a", "b")
    plan.add_link("c", "lan")
    plan.add_route("a", "lan", via="b")
    plan.add_route("a", "2001:db8::/32", via="b")
    plan.add_route("a", "default", via="b", family=6)
    plan.add_route("a", "lan", via="fd00:7:0:1::2")
    assert routes_of(Layout(plan), "a") == [
        "10.0.0.0/24 via 10.0.1.2",
        "2001:db8::/32 via fd00:7:0:1::2",
        "default via fd00:7:0:1::2",
        "fd00:7::/64 via fd00:7:0:1::2",
    ]
    plan.masquerade("b", saddr="lan", daddr="2001:db8::/32")
    plan.snat("b", saddr="lan", to="fd00:7:0:1::2")
    plan.dnat("b", daddr="fd00:7:0:1::2", proto="tcp", dport=80, to="c:8080")
    for _, spec, _ in Layout(plan).nat:
        assert "fd00:7" in str(spec), spec


def test_routing_can_be_left_out() -> None:
    plan = Topology(routing=False)
    plan.add_router("r")
    for name in ("a", "b"):
        plan.add_namespace(name)
        plan.add_link(name, "r")
    layout = Layout(plan)
    assert not [route for each in interfaces(layout) for route in each.routes]
    assert ("net/ipv4/conf/all/forwarding", "1") in layout.early["r"]


def test_forwarding_is_for_the_families_that_a_router_has() -> None:
    for subnet, families in (("auto", "4"), ("auto6", "6"), (("auto", "auto6"), "46")):
        layout = Layout(Topology.line(3, subnet=subnet))
        paths = [path for path, _ in layout.early["box2"] if path.endswith("/forwarding")]
        assert paths == [f"net/ipv{family}/conf/all/forwarding" for family in families]


@given(version=st.sampled_from([4, 6]), start=st.integers(0, 2**32 - 1), size=st.integers(1, 2**16))
def test_a_range_is_covered_exactly(version: int, start: int, size: int) -> None:
    last = min(start + size, 2**32) - 1
    found = covering(version, start, last)
    assert [each.start for each in found] == sorted(each.start for each in found)
    assert found[0].start == start
    assert found[-1].last == last
    assert all(one.last + 1 == other.start for one, other in pairwise(found))
    assert all(str(ip_network(str(each))) == str(each) for each in found)  # aligned
    assert len(found) <= 2 * 32


def test_all_of_it_is_one() -> None:
    assert covering(4, 0, 2**32 - 1) == [Subnet(4, 0, 0)]
    assert str(ip_interface(str(covering(6, 0, 2**128 - 1)[0]))) == "::/0"
