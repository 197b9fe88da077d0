"""Plans for the property tests of `Topology`, and what the tests ask of a layout."""

from __future__ import annotations

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
