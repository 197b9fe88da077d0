"""What a bridge, a namespace and a route table hold, and give back at their end."""

from __future__ import annotations

import pytest

from netkit import Bridge, Namespace, RouteTable, VethPair
from netkit.errors import ExistsError, StateError
from tests.unit.fake_lab import Lab, stranger

# -- what a bridge and a namespace hold --------------------------------------------------


def test_what_a_bridge_connected_goes_with_it(lab: Lab) -> None:
    before = lab.kernel.state()
    with Bridge(lab.red, "br0", address="172.18.0.1/24") as bridge:
        pair = bridge.connect(lab.blue, name="p", peer_address="172.18.0.2/24", default_route=True)
        assert [port.name for port in bridge.ports] == ["p"]
        assert "default via 172.18.0.1 dev eth0 proto netkit" in [str(route) for route in lab.blue.routes]
    assert lab.kernel.state() == before
    with pytest.raises(StateError, match="deleted"):
        pair.delete()


def test_ports_that_are_not_ours_are_released_and_stay(lab: Lab) -> None:
    stranger(lab, 4000)
    with Bridge(lab.red, "br0") as bridge:
        bridge.add_port(lab.red.links["stranger"], hairpin=True)
        assert [port.name for port in bridge.ports] == ["stranger"]
    assert lab.red.links["stranger"].master is None


def test_what_a_namespace_connected_goes_with_it(lab: Lab) -> None:
    before = lab.kernel.state()
    with Namespace() as box:
        pair = box.connect(lab.red, name="eth0", peer_name="box0", peer_address="10.0.0.1/24")
        assert pair.peer == lab.red.links["box0"]
    assert lab.kernel.state() == before


def test_a_pair_can_be_deleted_before_its_bridge(lab: Lab) -> None:
    before = lab.kernel.state()
    with Bridge(lab.red, "br0") as bridge:
        bridge.connect(lab.blue, name="p").delete()
        assert bridge.ports == []
    assert lab.kernel.state() == before


# -- a route table is a scope of what was added through it ---------------------------------


def test_a_route_table_takes_back_what_it_added(lab: Lab) -> None:
    with VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.0.0.1/24"):
        before = lab.kernel.state()
        with RouteTable(lab.red, 100) as table:
            table.add("default", via="10.0.0.2")
            table.add("10.9.0.0/16", type="blackhole")
            table.add("10.8.0.0/16", dev="a", metric=50)
            assert len(table) == 3
        assert lab.kernel.state() == before


def test_a_route_table_gives_back_what_it_replaced(lab: Lab) -> None:
    with VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.0.0.1/24"):
        lab.red.routes.add("10.9.0.0/16", via="10.0.0.2")
        before = lab.kernel.state()
        with RouteTable(lab.red) as table:
            table.replace("10.9.0.0/16", via="10.0.0.3")
            table.replace("10.9.0.0/16", dev="a")
            assert next(r for r in table if str(r.dst) == "10.9.0.0/16").via is None
        assert lab.kernel.state() == before
        assert str(next(r for r in lab.red.routes if str(r.dst) == "10.9.0.0/16").via) == "10.0.0.2"


def test_what_ns_routes_adds_stays(lab: Lab) -> None:
    lab.red.routes.add("10.9.0.0/16", type="blackhole")
    assert [str(route.dst) for route in lab.red.routes.filter(type="blackhole")] == ["10.9.0.0/16"]


def test_a_closed_route_table_is_not_opened_again(lab: Lab) -> None:
    table = RouteTable(lab.red, 100)
    with table:
        table.add("10.9.0.0/16", type="blackhole")
    table.close()
    with pytest.raises(StateError, match="closed"):
        table.__enter__()
    with pytest.raises(StateError, match="closed"):
        table.add("10.9.0.0/16", type="blackhole")


def test_deleting_through_the_table_forgets_the_undo(lab: Lab) -> None:
    with RouteTable(lab.red, 100) as table:
        table.add("10.9.0.0/16", type="blackhole")
        table.delete("10.9.0.0/16", type="blackhole")
        lab.red.routes.add("10.9.0.0/16", type="blackhole")
    assert len(lab.red.routes) == 1


def test_a_refused_route_is_not_undone(lab: Lab) -> None:
    other = RouteTable(lab.red, 100)
    other.add("10.9.0.0/16", type="blackhole")
    with RouteTable(lab.red, 100) as table, pytest.raises(ExistsError):
        table.add("10.9.0.0/16", type="blackhole")
    assert len(RouteTable(lab.red, 100)) == 1
