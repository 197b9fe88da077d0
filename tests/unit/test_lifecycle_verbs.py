"""The lifecycle verbs, the same for every resource (docs/design.md, "Lifecycle verbs")."""

from __future__ import annotations

import copy
import errno
import pickle
from collections.abc import Callable

import pytest

from netkit import Bridge, Namespace, RouteTable, Scope, VethPair
from netkit._lifecycle import ROOT
from netkit.errors import KernelError, NotFoundError, StateError, UnsupportedError
from netkit.testing import FakeKernel
from tests.unit.fake_lab import EACH, Lab, Maker

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
