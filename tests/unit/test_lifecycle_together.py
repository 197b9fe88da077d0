"""Several resources created by one call: in few sends, all or none, and by the state of each."""

from __future__ import annotations

import errno

import pytest

from netkit import Bridge, Namespace, RouteTable, Scope, VethPair
from netkit._lifecycle import ROOT
from netkit.errors import ExistsError, KernelError, SpecError, StateError
from tests.unit.fake_lab import Lab


def ports(hub: Namespace, bridge: Bridge, boxes: list[Namespace]) -> list[VethPair]:
    return [
        VethPair(hub, box, name=f"v{n}", peer_name="eth0", peer_address=f"10.0.0.{n}/24", master=bridge)
        for n, box in enumerate(boxes, 2)
    ]


@pytest.mark.parametrize("size", [5, 20])
def test_a_star_takes_one_send_to_each_box_and_one_or_two_to_the_hub(lab: Lab, size: int) -> None:
    hub, boxes = Namespace("hub"), [Namespace() for _ in range(size)]
    bridge = Bridge(hub, "br0", address="10.0.0.1/24")
    with Scope() as scope:
        lab.kernel.forget_requests()
        scope.own(bridge, hub, *boxes, *ports(hub, bridge, boxes))
        sends: dict[int, list[str]] = {}
        for request in lab.kernel.requests:
            sends.setdefault(request.send, []).append(request.type)
        last = [("RTM_NEWLINK", "RTM_NEWLINK")]  # the bridge, up and snooping when all ports are there
        assert sorted(map(tuple, sends.values())) == sorted(
            [("RTM_NEWLINK", "RTM_NEWLINK", "RTM_NEWADDR", *["RTM_NEWLINK"] * size)]  # lo, bridge, ports
            + [("RTM_NEWLINK", "RTM_NEWLINK", "RTM_NEWADDR")] * size  # lo, the far end
            + (last if size > 16 else [])
        )
        assert [port.name for port in bridge.ports] == [f"v{n}" for n in range(2, 2 + size)]
        assert bridge.link.is_up
        assert all(box.links["lo"].is_up and box.links["eth0"].is_up for box in boxes)


def test_they_come_back_in_order_and_twice_is_nothing(lab: Lab) -> None:
    with Scope() as scope:
        made = scope.own(Namespace(), VethPair(lab.red, lab.blue, name="a", peer_name="b"))
        netns, pair = made
        assert scope.own(netns, pair) == made
        assert scope.own(netns, netns, Namespace())[0] is netns
        assert scope.own() == ()
        assert len(scope._held) == 3


def test_what_was_created_is_taken_over(lab: Lab) -> None:
    pair = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    with Scope() as scope:
        scope.own(pair, Namespace())
        assert pair._holder is scope
    assert not pair.exists


def test_a_refusal_names_its_object_and_leaves_the_others_new(lab: Lab) -> None:
    before = lab.kernel.state()
    box = Namespace()
    pairs = [VethPair(lab.red, box, name=name, peer_name=f"to-{name}") for name in ("a", "taken", "b")]
    with VethPair(lab.red, lab.blue, name="taken", peer_name="x"), Scope() as scope:
        with pytest.raises(ExistsError, match="The name 'taken' is taken in namespace 'red'"):
            scope.own(box, *pairs)
        assert [pair._state for pair in pairs] == ["new"] * 3
        assert box._state == "new"
        assert not scope._held
        assert not ROOT._held.keys() & {box, *pairs}
    with Scope() as scope:  # each can be used again
        scope.own(box, *pairs)
    assert lab.kernel.state() == before


def test_what_was_there_before_a_failure_stays(lab: Lab) -> None:
    pair = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    lab.kernel.refuse(1, errno.ENOMEM)
    with Scope() as scope, pytest.raises(KernelError):
        scope.own(pair, Bridge(lab.red, "br0"))
    assert pair.exists
    assert pair._holder is ROOT
    pair.delete()


@pytest.mark.parametrize("wrong", ["veth", None, 3])
def test_what_is_no_resource_is_refused_before_anything_is_made(lab: Lab, wrong: object) -> None:
    before = lab.kernel.state()
    with Scope() as scope, pytest.raises(SpecError, match="owns netkit's resources"):
        scope.own(Namespace(), wrong)  # type: ignore[type-var]
    assert lab.kernel.state() == before


def test_what_is_borrowed_is_refused_before_anything_is_made(lab: Lab) -> None:
    lab.kernel.forget_requests()
    with Scope() as scope, pytest.raises(StateError, match="borrowed"):
        scope.own(Namespace(), lab.red)
    assert not lab.kernel.requests


def test_a_bridge_that_is_not_created_with_it_is_no_master(lab: Lab) -> None:
    bridge = Bridge(lab.red, "br0")
    pair = VethPair(lab.red, lab.blue, name="a", peer_name="b", master=bridge)
    with pytest.raises(StateError, match="not created yet"):
        pair.create()
    with bridge, pair:
        assert pair.link.master == bridge.link


@pytest.mark.parametrize("master", ["br0", 3])
def test_a_master_is_a_bridge_or_a_link(lab: Lab, master: object) -> None:
    with pytest.raises(SpecError, match="master takes a Bridge or a Link"):
        VethPair(lab.red, lab.blue, name="a", peer_name="b", master=master)  # type: ignore[arg-type]


def test_a_master_is_in_the_same_namespace(lab: Lab) -> None:
    with pytest.raises(SpecError, match="another namespace"):
        VethPair(lab.red, lab.blue, name="a", peer_name="b", master=Bridge(lab.blue, "br0"))


def test_a_table_stays_in_its_place(lab: Lab) -> None:
    with Scope() as scope:
        table = RouteTable(lab.red, 100)
        pair = VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.0.0.1/24")
        scope.own(table, pair)
        table.add("10.1.0.0/16", via="10.0.0.2")
        assert len(table) == 1


def test_without_waiting_what_joins_a_doomed_namespace_is_left_to_the_kernel(lab: Lab) -> None:
    before = lab.kernel.state()
    with Scope(wait=False) as scope:
        box = Namespace()
        scope.own(box, VethPair(lab.red, box, name="a", peer_name="eth0"), Bridge(lab.red, "br0"))
        scope.own(VethPair(lab.red, lab.blue, name="b", peer_name="b"))
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 2  # the bridge, and the pair whose namespaces stay
    assert lab.kernel.state() == before  # a simulated namespace ends at once


def test_a_namespace_is_deleted_without_waiting_for_its_links(lab: Lab) -> None:
    box = Namespace().create()
    pair = VethPair(lab.red, box, name="a", peer_name="eth0").create()
    lab.kernel.forget_requests()
    box.delete(wait=False)
    assert not lab.kernel.sent("RTM_DELLINK")
    assert not pair.exists
    pair.delete()


def test_wait_is_a_bool() -> None:
    with pytest.raises(SpecError, match="wait"):
        Scope(wait=1)  # type: ignore[arg-type]


def test_what_was_held_but_never_created_is_forgotten(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt between the two in bridge.connect(): nobody owns the pair for ever after."""
    before = ROOT._held_members()

    def interrupted(pair: VethPair) -> VethPair:
        raise KeyboardInterrupt

    with Scope() as scope:
        bridge = scope.own(Bridge(lab.red, "br0"))
        monkeypatch.setattr(VethPair, "create", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bridge.connect(lab.blue, name="v0")
    assert ROOT._held_members() == before


@pytest.mark.parametrize(("size", "expected"), [(63, ["RTM_DELLINK"]), (64, ["RTM_NEWLINK", "RTM_DELLINK"])])
def test_a_large_bridge_is_set_down_in_the_send_that_deletes_it(
    lab: Lab, size: int, expected: list[str]
) -> None:
    boxes = [lab.kernel.namespace(f"box{number}") for number in range(size)]
    before = lab.kernel.state()
    with Scope() as scope:
        bridge = Bridge(lab.red, "br0", address="10.0.0.1/24")
        scope.own(bridge, *ports(lab.red, bridge, boxes))
        lab.kernel.forget_requests()
    sent = lab.kernel.sent("RTM_NEWLINK", "RTM_DELLINK")
    assert [request.type for request in sent] == expected
    assert len({request.send for request in sent}) == 1
    assert lab.kernel.state() == before
