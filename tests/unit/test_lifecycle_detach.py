"""Detached and adopted, and borrowed: what outlives its block, and what is never deleted."""

from __future__ import annotations

import pytest

from netkit import Bridge, Namespace, VethPair
from netkit.errors import NotFoundError, SpecError, StateError
from tests.unit.fake_lab import MAKERS, Lab

# -- detach and adopt -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["veth", "veth in one namespace", "bridge", "persistent namespace"])
def test_detach_leaves_it_and_adopt_takes_it_back(lab: Lab, kind: str) -> None:
    before = lab.kernel.state()
    with MAKERS[kind](lab) as resource:
        assert resource.detach() is resource
    assert kind.endswith("namespace") or resource.exists
    if kind == "persistent namespace":
        return  # its block closed the handle: see the namespaces' own test below
    for verb in (resource.delete, resource.detach, resource.create):
        with pytest.raises(StateError, match="borrowed"):
            verb()
    assert resource.adopt() is resource
    with pytest.raises(StateError, match="created already"):
        resource.adopt()
    resource.delete()
    assert lab.kernel.state() == before


def test_a_named_namespace_outlives_its_block_once_detached(lab: Lab) -> None:
    with Namespace("box") as box:
        box.detach()
        assert box.exists
    assert lab.kernel.state()["names"] == ["box"]
    assert len(lab.kernel.state()) == 4


def test_a_detached_namespace_can_be_adopted_and_deleted(lab: Lab) -> None:
    before = lab.kernel.state()
    box = Namespace("box").create().detach()
    with pytest.raises(StateError, match="borrowed"):
        box.delete()
    box.adopt().delete()
    assert lab.kernel.state() == before


def test_an_anonymous_namespace_cannot_be_detached_or_adopted(lab: Lab) -> None:
    with Namespace() as box:
        with pytest.raises(StateError, match="name"):
            box.detach()
        assert box.exists
    with pytest.raises(StateError, match="no name"):
        Namespace._borrow(lab.kernel._opener.make("other"), "other").adopt()


def test_detach_leaves_our_group_and_adopt_makes_a_new_one(lab: Lab) -> None:
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    ours = veth.link.group
    assert ours == veth.peer.group != 0
    veth.detach()
    assert veth.link.group == veth.peer.group == 0
    veth.adopt()
    assert veth.link.group == veth.peer.group
    assert veth.link.group not in (0, ours)
    veth.delete()


def test_a_group_the_user_set_is_respected_by_detach(lab: Lab) -> None:
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    bridge = Bridge(lab.red, "br0").create()
    veth.link.set(group=7)
    bridge.link.set(group=8)
    veth.detach()
    bridge.detach()
    assert (veth.link.group, veth.peer.group, bridge.link.group) == (7, 0, 8)


def test_a_detached_veth_is_a_borrowed_handle(lab: Lab) -> None:
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create().detach()
    assert [link.name for link in veth] == ["a", "b"]
    assert veth.exists
    veth.link.delete()
    assert not veth.exists


def test_a_bridge_detaches_what_it_connected(lab: Lab) -> None:
    bridge = Bridge(lab.red, "br0").create()
    pair = bridge.connect(lab.blue, name="port")
    bridge.detach()
    assert pair.exists
    with pytest.raises(StateError, match="borrowed"):
        pair.delete()
    pair.adopt().delete()
    bridge.adopt().delete()


# -- borrowing ----------------------------------------------------------------------------


def test_a_borrowed_bridge_is_not_deleted(lab: Lab) -> None:
    Bridge(lab.red, "br0").create().detach()
    bridge = Bridge.open(lab.red, "br0")
    for verb in (bridge.create, bridge.delete, bridge.detach):
        with pytest.raises(StateError, match="borrowed"):
            verb()
    assert bridge.exists
    bridge.adopt().delete()
    assert "br0" not in lab.red.links


def test_what_is_no_bridge_is_not_opened_as_one(lab: Lab) -> None:
    with pytest.raises(SpecError, match="not a bridge"):
        Bridge.open(lab.red, "lo")
    with pytest.raises(NotFoundError, match="'br9'"):
        Bridge.open(lab.red, "br9")


def test_a_borrowed_namespace_is_closed_and_not_ended(lab: Lab) -> None:
    other = Namespace._borrow(_duplicate(lab.red), "the same")
    assert other._live_runtime() is lab.red._live_runtime()
    other.close()
    other.close()
    assert lab.red.exists
    with pytest.raises(StateError, match="closed"):
        list(other.links)
    for verb in (other.create, other.adopt, other.detach, other.delete, other.__enter__):
        with pytest.raises(StateError, match="closed"):
            verb()  # above all, no other namespace is made in its place
    assert not other.exists
    with lab.red:
        assert "lo" in lab.red.links
    with pytest.raises(StateError):
        list(lab.red.links)


def _duplicate(netns: Namespace) -> int:
    import fcntl

    return fcntl.fcntl(netns.fileno(), fcntl.F_DUPFD_CLOEXEC, 0)


def test_an_owned_namespace_is_not_closed(lab: Lab) -> None:
    with Namespace() as box, pytest.raises(StateError, match="owned"):
        box.close()
