"""Names and indexes taken by others: only what is ours is deleted, and what is taken is named."""

from __future__ import annotations

import pytest

from netkit import Bridge, Namespace, VethPair
from netkit.errors import ExistsError
from tests.unit.fake_lab import MAKERS, Lab, stranger

# -- names and indexes are reused: only what is ours is deleted (decision 3) --------------


@pytest.mark.parametrize("kind", ["veth", "bridge"])
def test_a_stranger_with_our_name_is_left_alone(lab: Lab, kind: str) -> None:
    resource = MAKERS[kind](lab).create()
    mine = resource.link  # type: ignore[attr-defined]
    name = mine.name
    mine.delete()
    stranger = Bridge(lab.red, name, mac="02:00:00:00:00:77").create()
    resource.delete()
    assert stranger.exists
    assert lab.red.links[name].mac == "02:00:00:00:00:77"


@pytest.mark.parametrize("kind", ["veth", "bridge"])
def test_a_stranger_with_our_index_is_left_alone(lab: Lab, kind: str) -> None:
    resource = MAKERS[kind](lab).create()
    index = resource.link.ifindex  # type: ignore[attr-defined]
    resource.link.delete()  # type: ignore[attr-defined]
    stranger(lab, index)
    assert not resource.exists
    resource.delete()
    assert lab.red.links["stranger"].ifindex == index


def test_our_link_is_deleted_under_whatever_name_and_group_the_user_gave_it(lab: Lab) -> None:
    before = lab.kernel.state()
    with (
        VethPair(lab.red, lab.blue, name="a", peer_name="b") as veth,
        Bridge(lab.red, "br0") as bridge,
    ):
        veth.link.rename("uplink").set(group=7)
        veth.peer.rename("downlink")
        bridge.link.rename("switch").set(group=7)
    assert lab.kernel.state() == before


def test_our_index_taken_by_a_stranger_leaves_the_stranger_alone(lab: Lab) -> None:
    """Decision 13: the kernel goes on after a refused message, and what follows goes by index."""
    runtime = lab.red._live_runtime()
    expected = next(runtime._indexes) + 1
    stranger(lab, expected)
    before = lab.kernel.state()
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b", up=False)
    with pytest.raises(ExistsError):
        veth.create()
    assert lab.kernel.state() == before
    with veth:
        assert veth.link.ifindex != expected


def test_indexes_in_a_borrowed_namespace_are_high_and_random(lab: Lab) -> None:
    with VethPair(lab.red, lab.blue, name="a", peer_name="b") as veth, Namespace() as own:
        for link in veth:
            assert 2**30 <= link.ifindex < 2**31
        assert Bridge(own, "br0").create().link.ifindex < 2**30


# -- what is taken is named, and not looked for before (decision 17) ------------------------


@pytest.mark.parametrize(("name", "peer_name", "where"), [("x", "new", "red"), ("new", "x", "blue")])
def test_exists_error_names_the_name_and_the_namespace(
    lab: Lab, name: str, peer_name: str, where: str
) -> None:
    Bridge(lab.red, "x").create()
    Bridge(lab.blue, "x").create()
    before = lab.kernel.state()
    veth = VethPair(lab.red, lab.blue, name=name, peer_name=peer_name)
    with pytest.raises(ExistsError, match=f"'x' is taken in namespace '{where}'"):
        veth.create()
    assert lab.kernel.state() == before


def test_an_end_is_one_send(lab: Lab) -> None:
    """Near end with addresses and up in one send, the far end in another; nothing is read before."""
    for kind, sends in (("veth", 2), ("bridge", 1)):
        lab.kernel.forget_requests()
        resource = MAKERS[kind](lab).create()
        writes = lab.kernel.sent("RTM_NEWLINK", "RTM_NEWADDR", "RTM_NEWROUTE")
        assert len({request.send for request in writes}) == sends
        assert lab.kernel.requests[: len(writes)] == writes  # nothing is asked before all is made
        assert not lab.kernel.sent("RTM_GETLINK")
        resource.delete()


def test_a_taken_namespace_name_is_an_exists_error(lab: Lab) -> None:
    with Namespace("box"):
        state = lab.kernel.state()
        with pytest.raises(ExistsError, match="'box'"):
            Namespace("box").create()
        assert lab.kernel.state() == state
    with Namespace("box") as box:
        assert box.exists
