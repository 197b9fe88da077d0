"""The end of a VethPair, with others at work: renamed, moved, deleted, replaced (F42, F43, F44)."""

from __future__ import annotations

import pytest

from netkit import Bridge, ExistsError, Namespace, Scope, VethPair
from tests.harness.oracle import link, names, run_in
from tests.harness.pairs import the_pair


def test_deleted_by_others_is_no_error(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box) as veth:
        run_in(box, "ip", "link", "del", "eth0")
        assert not veth.exists
        assert names(host) == ["lo"]
    with the_pair(host, box):
        run_in(host, "ip", "link", "del", "eth0")


def test_F43_name_and_index_reused_by_a_stranger_are_left_alone(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box) as veth:
        index, far = veth.link.ifindex, veth.peer.ifindex
        run_in(host, "ip", "link", "del", "eth0")
        run_in(
            host, "ip", "link", "add", "eth0", "index", str(index), "type", "veth",
            "peer", "name", "eth1",
        )  # fmt: skip
        run_in(box, "ip", "link", "add", "eth0", "index", str(far), "type", "bridge")
        before = link(host, "eth0"), link(box, "eth0")
        assert not veth.exists
    assert (link(host, "eth0"), link(box, "eth0")) == before


def test_F42_renamed_by_others_still_goes(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box) as veth:
        run_in(host, "ip", "link", "set", "eth0", "down")  # what is up has no other name before Linux 6.2
        run_in(host, "ip", "link", "set", "eth0", "name", "lan0")
        assert veth.link.name == "lan0"
        assert veth.exists
    assert names(host) == names(box) == ["lo"]


def test_F42_an_end_moved_away_by_others_still_goes(host: Namespace, box: Namespace) -> None:
    with Namespace("third") as third:
        with the_pair(host, box) as veth:
            run_in(host, "ip", "link", "set", "eth0", "netns", "third")
            assert not veth.link.exists
        assert names(third) == names(host) == names(box) == ["lo"]


@pytest.mark.parametrize("ends", [(0,), (1,), (0, 1), (1, 0)])
@pytest.mark.parametrize("owner", ["with", "scope", "delete"])
def test_F44_the_pair_goes_wherever_its_ends_were_moved(
    host: Namespace, box: Namespace, ends: tuple[int, ...], owner: str
) -> None:
    """The third namespace lives on: what was moved there is as much ours as before."""
    with Namespace() as third, Scope() as lab:
        veth = VethPair(host, box, name="near0", peer_name="far0")
        lab.own(veth) if owner == "scope" else veth.create()
        # An index that is taken there: the links get others.
        run_in(third, "ip", "link", "add", "x", "index", str(veth.link.ifindex), "type", "bridge")
        for end in ends:
            (veth.link, veth.peer)[end].move(third)
        places = [third if end in ends else before for end, before in enumerate((host, box))]
        assert [veth.link.netns, veth.peer.netns] == places
        assert [veth.link.name, veth.peer.name, veth.link.peer] == ["near0", "far0", veth.peer]
        assert veth.exists
        if owner == "scope":
            lab.__exit__(None, None, None)
        elif owner == "delete":
            veth.delete()
        else:
            with veth:
                pass
        assert names(third) == ["lo", "x"]
        assert names(host) == names(box) == ["lo"]


def test_F44_in_a_borrowed_namespace_too_whose_handle_is_closed(host: Namespace, box: Namespace) -> None:
    veth = VethPair(host, box, name="near0", peer_name="far0").create()
    with Namespace() as third:
        with Namespace.from_fd(third.fileno()) as handle:
            veth.link.move(handle)
            veth.peer.move(handle)
        assert sorted(names(third)) == ["far0", "lo", "near0"]
        veth.delete()
        assert names(third) == ["lo"]


def test_an_adopted_link_is_undone_where_it_was_moved(host: Namespace, box: Namespace) -> None:
    run_in(host, *"ip link add vx0 type vxlan id 7 dstport 4789".split())
    with host.links["vx0"].adopt() as owned:
        host.links["vx0"].move(box)
        assert owned.link.netns is box
        assert owned.exists
    assert names(host) == names(box) == ["lo"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_group_and_macs_of_the_users_own_do_not_make_it_a_strangers(
    host: Namespace, box: Namespace, at_once: bool
) -> None:
    """Both marks by which it was known are gone then, but netkit has set the new ones itself."""
    run_in(host, *"ip link add vx0 type vxlan id 7 dstport 4789".split())
    with the_pair(host, box) as veth, Bridge(host, "br0") as bridge, host.links["vx0"].adopt() as adopted:
        for n, each in enumerate((veth.link, veth.peer, bridge.link, adopted.link), 1):
            if at_once:
                each.set(group=5, mac=f"02:00:00:00:00:{n:02}")
            else:
                each.set(mac=f"02:00:00:00:00:{n:02}").set(group=5)
        assert (veth.exists, bridge.exists, adopted.exists) == (True, True, True)
    assert names(host) == names(box) == ["lo"]


def test_a_refused_move_leaves_it_where_it_is(host: Namespace, box: Namespace) -> None:
    run_in(box, *"ip link add near0 type bridge".split())
    with VethPair(host, box, name="near0", peer_name="far0") as veth:
        with pytest.raises(ExistsError, match="near0"):
            veth.link.move(box)
        assert veth.link.netns is host
        assert veth.exists
    assert (names(host), names(box)) == (["lo"], ["lo", "near0"])


def test_names_are_free_when_the_block_ends(host: Namespace) -> None:
    for _ in range(5):  # F35: an end whose namespace was dropped lingers for milliseconds
        with Namespace() as box, the_pair(host, box):
            assert "eth0" in host.links
        assert names(host) == ["lo"]


def test_F35_names_are_free_when_only_the_other_namespace_goes(host: Namespace) -> None:
    for _ in range(3):
        with Scope() as lab:
            lab.own(the_pair(host, lab.own(Namespace())))
        assert names(host) == ["lo"]
