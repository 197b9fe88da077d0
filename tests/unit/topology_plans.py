"""Plans for the property tests of `Topology`, and what the tests ask of a layout."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from netkit import Topology
from netkit._topology.interfaces import Interface
from netkit._topology.layout import Layout

POOLS = st.sampled_from(
    ["auto", "auto6", ("auto", "auto6"), "10.0.0.0/8", "fd00:1::/48", ("10.0.0.0/12", "auto6")]
)


@st.composite
def connected_plans(draw: st.DrawFn) -> Topology:
    """Routers and boxes that are joined, directly or by bridges, with some ways round."""
    plan = Topology(subnet=draw(POOLS))
    routers = [plan.add_router(f"r{number}") for number in range(draw(st.integers(1, 6)))]
    for number, router in enumerate(routers[1:], 1):
        plan.add_link(router, routers[draw(st.integers(0, number - 1))])
    for _ in range(draw(st.integers(0, 3)) if len(routers) > 1 else 0):
        one, other = draw(st.lists(st.sampled_from(routers), min_size=2, max_size=2, unique=True))
        plan.add_link(one, other)
    for number in range(draw(st.integers(0, 3))):
        home = draw(st.sampled_from([None, *routers]))  # in a router, the bridge is its way to the others
        address = "auto" if home else draw(st.sampled_from([None, "auto"]))
        lan = plan.add_bridge(f"lan{number}", home, address=address)
        others = [router for router in routers if router != home]
        least = 0 if home else 1
        for router in draw(
            st.lists(st.sampled_from(others), min_size=least, max_size=3, unique=True)
            if others
            else st.just([])
        ):
            plan.add_link(router, lan)
    places = [*routers, *plan.bridges]
    for number in range(draw(st.integers(1, 5))):
        box = plan.add_namespace(f"box{number}")
        for place in draw(st.lists(st.sampled_from(places), min_size=1, max_size=2, unique=True)):
            plan.add_link(box, place)
    return plan


def interfaces(layout: Layout) -> list[Interface]:
    """All that can have addresses."""
    return list(layout.wiring.interfaces())


def devices(layout: Layout) -> list[Interface]:
    """All devices: the ports of bridges too."""
    ends = [end for cable in layout.wiring.cables for end in (cable.near, cable.far)]
    return [*layout.wiring.bridges.values(), *ends]


def one_of(draw: st.DrawFn, *values: Any) -> Any:
    """One of these values."""
    return draw(st.sampled_from(values))


@st.composite
def rich_plans(draw: st.DrawFn) -> Topology:
    """Connected ones with something of everything that a plan can say."""
    plan = draw(connected_plans())
    for add in (_a_pair, _a_spare_bridge, _routes, _rules):
        if draw(st.booleans()):
            add(plan, draw)
    plan._routing = draw(st.booleans())
    return plan


def _a_pair(plan: Topology, draw: st.DrawFn) -> None:
    plan.add_namespace("a.b-c", named=one_of(draw, True, "other-name"))
    plan.add_namespace("é", sysctls={"net.ipv4.ip_default_ttl": 99, "net.core.somaxconn": "010"})
    plan.add_link(
        "a.b-c",
        "é",
        name=one_of(draw, None, "wan0"),
        mac=one_of(draw, None, "02:00:00:00:00:07"),
        address=one_of(draw, "auto", None, "192.0.2.1/30", ["192.0.2.1/30", "2001:db8::1/64"]),
        peer_address=one_of(draw, "auto", None),
        mtu=one_of(draw, None, 1400),
        queues=one_of(draw, 1, 4),
    )


def _a_spare_bridge(plan: Topology, draw: st.DrawFn) -> None:
    subnet = one_of(draw, None, "203.0.113.0/24", ["203.0.113.0/24", "auto6"])
    plan.add_bridge(
        "spare",
        device=one_of(draw, None, "br0"),
        address=one_of(draw, None, "auto", "203.0.113.1/24"),
        subnet=subnet,
        mac=one_of(draw, None, "02-00-00-00-00-09"),
        stp=one_of(draw, True, False),
        forward_delay=one_of(draw, None, 4.5),
        ageing_time=one_of(draw, None, 60),
        mcast_snooping=one_of(draw, None, True, False),
    )
    plan.add_namespace("at-spare")
    gateway = one_of(draw, False, "203.0.113.9") if subnet else False
    plan.add_link("spare", "at-spare", peer_default_route=gateway)


def _routes(plan: Topology, draw: st.DrawFn) -> None:
    kind, metric = one_of(draw, "blackhole", "unreachable"), one_of(draw, None, 7)
    plan.add_route("r0", "198.18.0.0/15", type=kind, metric=metric)
    plan.add_route("r0", "2001:db8::/32", type="prohibit")


def _rules(plan: Topology, draw: st.DrawFn) -> None:
    source = one_of(draw, None, "10.0.0.0/8", "!= 10.0.0.0/8")
    plan.masquerade("r0", oif=one_of(draw, "lo", "!= lo"), saddr=source)
    ports, local = one_of(draw, 80, "8000-8010", (8000, 8010)), one_of(draw, True, False)
    plan.dnat("r0", proto="tcp", dport=ports, to="box0", local=local)
    plan.redirect("r0", proto=17, to=5353, family=one_of(draw, None, 4, 6), backend="nftables")
    plan.snat("r0", to="192.0.2.9", saddr="192.0.2.0/24")
