"""The lifecycle verbs, the same for every resource (docs/design.md, "Lifecycle verbs")."""

from __future__ import annotations

import copy
import errno
import pickle
from collections.abc import Callable, Iterator

import pytest

from netkit import Bridge, Namespace, RouteTable, Scope, VethPair
from netkit._lifecycle import ROOT
from netkit.errors import (
    ExistsError,
    KernelError,
    NotFoundError,
    SpecError,
    StateError,
    UnsupportedError,
)
from netkit.testing import FakeKernel
from tests.unit.fake_lab import MAKERS, Lab, Maker

EACH = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@pytest.fixture
def lab() -> Iterator[Lab]:
    with FakeKernel() as kernel:
        yield Lab(kernel, kernel.namespace("red"), kernel.namespace("blue"))


# -- the verbs ------------------------------------------------------------------------


@EACH
def test_making_the_object_touches_nothing(lab: Lab, make: Maker) -> None:
    before, sent = lab.kernel.state(), len(lab.kernel.requests)
    resource = make(lab)
    assert not resource.exists
    assert lab.kernel.state() == before
    assert len(lab.kernel.requests) == sent


@EACH
def test_create_and_delete_end_where_they_began(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()
    resource = make(lab)
    assert resource.create() is resource
    assert resource.exists
    assert lab.kernel.state() != before
    resource.delete()
    assert not resource.exists
    assert lab.kernel.state() == before


@EACH
def test_it_is_shown_with_what_has_become_of_it(lab: Lab, make: Maker) -> None:
    resource = make(lab)
    assert repr(resource).endswith(" (new)>")
    resource.create()
    assert not repr(resource).endswith(")>")
    resource.delete()
    assert repr(resource).endswith(" (deleted)>")


@EACH
def test_with_pairs_the_two(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()
    with make(lab) as resource:
        assert resource.exists
    assert not resource.exists
    assert lab.kernel.state() == before


@EACH
def test_with_takes_what_was_created(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()
    resource = make(lab).create()
    with resource as entered:
        assert entered is resource
    assert lab.kernel.state() == before


@EACH
def test_a_second_create_is_a_state_error(lab: Lab, make: Maker) -> None:
    with make(lab) as resource:
        state = lab.kernel.state()
        with pytest.raises(StateError, match="created already"):
            resource.create()
        assert lab.kernel.state() == state


@EACH
def test_a_second_delete_is_a_state_error(lab: Lab, make: Maker) -> None:
    resource = make(lab).create()
    resource.delete()
    with pytest.raises(StateError, match="deleted"):
        resource.delete()


@EACH
def test_verbs_before_create_are_state_errors(lab: Lab, make: Maker) -> None:
    resource = make(lab)
    for verb in (resource.delete, resource.detach):
        with pytest.raises(StateError, match="not created yet"):
            verb()


@EACH
def test_adopting_what_is_not_there_changes_nothing(lab: Lab, make: Maker) -> None:
    resource, before = make(lab), lab.kernel.state()
    with pytest.raises((NotFoundError, StateError)):
        resource.adopt()
    assert lab.kernel.state() == before
    resource.create().delete()
    with pytest.raises((NotFoundError, StateError)):
        resource.adopt()
    assert lab.kernel.state() == before


@EACH
def test_it_can_be_created_again_after_delete(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()
    resource = make(lab)
    for _ in range(3):
        resource.create()
        assert resource.exists
        resource.delete()
    with resource:
        assert resource.exists
    assert lab.kernel.state() == before


@EACH
def test_it_can_be_created_again_after_a_failed_create(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()
    resource = make(lab)
    lab.kernel.refuse(1, errno.ENOMEM)
    with pytest.raises(KernelError, match="ENOMEM"):
        resource.create()
    assert lab.kernel.state() == before
    assert not resource.exists
    with resource:
        assert resource.exists
    assert lab.kernel.state() == before


@pytest.mark.parametrize("use", [lambda v: v.link, lambda v: v.peer, lambda v: list(v)])
def test_a_veth_is_not_used_before_create_or_after_delete(lab: Lab, use: object) -> None:
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b")
    with pytest.raises(StateError, match="not created yet"):
        use(veth)  # type: ignore[operator]
    veth.create().delete()
    with pytest.raises(StateError, match="deleted"):
        use(veth)  # type: ignore[operator]


@pytest.mark.parametrize(
    "use",
    [
        lambda ns: ns.links["lo"],
        lambda ns: list(ns.links),
        lambda ns: ns.routes,
        lambda ns: list(ns.rules),
        lambda ns: list(ns.neighbours),
        lambda ns: ns.fileno(),
        lambda ns: ns.path,
        lambda ns: ns.snapshot(),
        lambda ns: VethPair(ns, ns, name="a", peer_name="b").create(),
        lambda ns: Bridge(ns, "br0").create(),
    ],
)
def test_a_namespace_is_not_used_before_create_or_after_delete(lab: Lab, use: object) -> None:
    netns = Namespace("box")
    with pytest.raises(StateError, match="not created yet"):
        use(netns)  # type: ignore[operator]
    netns.create().delete()
    with pytest.raises(StateError, match="deleted"):
        use(netns)  # type: ignore[operator]


def test_gone_already_is_success(lab: Lab) -> None:
    before = lab.kernel.state()
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    veth.link.delete()
    assert not veth.exists
    veth.delete()
    with Bridge(lab.red, "br0") as bridge:
        bridge.link.delete()
    assert lab.kernel.state() == before


def test_gone_between_the_look_and_the_delete_is_success(lab: Lab) -> None:
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    link = veth.link
    lab.kernel.before(2, lambda: lab.kernel._fake(lab.red).links.remove(_device(lab, link.ifindex)))
    veth.delete()
    assert "a" not in lab.red.links


def _device(lab: Lab, index: int):  # type: ignore[no-untyped-def]
    return lab.kernel._fake(lab.red).links.by_index[index]


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
    _stranger(lab, index)
    assert not resource.exists
    resource.delete()
    assert lab.red.links["stranger"].ifindex == index


def _stranger(lab: Lab, index: int) -> None:
    from netkit._netlink.link import new_link

    lab.red._live_runtime().route.request(new_link("stranger", "dummy", index=index))


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
    _stranger(lab, expected)
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
    _stranger(lab, 4000)
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


# -- the simulated kernel keeps to itself -----------------------------------------------------


def test_nothing_real_is_entered(lab: Lab) -> None:
    with pytest.raises(UnsupportedError):
        lab.red.socket()
    with pytest.raises(UnsupportedError):
        lab.red.call(print)


def test_nothing_is_owned_after_the_fake_kernel() -> None:
    before = set(ROOT._held)
    with FakeKernel() as kernel:
        Bridge(kernel.namespace(), "br0").create()
        Namespace("left").create()
    assert set(ROOT._held) == before


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_what_is_owned_has_no_copies(lab: Lab, how: Callable[[object], object]) -> None:
    """Two objects would undo the same thing, each knowing half of what happened to it."""
    with Scope() as scope, lab.red.rules as rules:
        pair = scope.own(VethPair(lab.red, lab.blue, name="a", peer_name="b"))
        for each in (
            lab.red,
            pair,
            scope.own(Bridge(lab.red, "br0")),
            scope.own(RouteTable(lab.red, 9)),
            scope,
            rules,
        ):
            with pytest.raises(TypeError, match="has no copies"):
                how(each)
        with pytest.raises(TypeError, match="cannot be pickled: it stands for the one thing in the kernel"):
            pickle.dumps(pair)
        with pytest.raises(TypeError, match="has no copies"):
            copy.deepcopy(pair.link)
        assert copy.copy(pair.link) == pair.link, "a handle"


def test_a_helper_of_a_namespace_may_ask_for_another_as_it_is_made(lab: Lab) -> None:
    class Helper:
        def close(self) -> None:
            """Nothing to release."""

    def make() -> Helper:
        runtime.once("inner", Helper)
        return Helper()

    with Namespace() as red:
        runtime = red._live_runtime()
        made = runtime.once("outer", make)
        assert runtime.once("outer", make) is made is runtime.kept("outer")
        assert runtime.kept("inner") is not None
