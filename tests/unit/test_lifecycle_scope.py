"""Scope: who owns what, in which order it is undone, and where a block can be (docs/design.md, "Scope")."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator

import pytest

from netkit import Bridge, Namespace, RouteTable, Scope, VethPair
from netkit._lifecycle import ROOT, undo_all
from netkit.errors import KernelError, SpecError, StateError, TeardownError
from tests.harness.calls import at_once, in_child
from tests.unit.fake_lab import MAKERS, Lab, Maker

EACH = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


# -- own() -----------------------------------------------------------------------------


@EACH
def test_own_creates_and_the_block_removes(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()
    with Scope() as scope:
        resource = make(lab)
        assert scope.own(resource) is resource
        assert resource.exists
    assert not resource.exists
    assert lab.kernel.state() == before


@EACH
def test_own_takes_over_what_was_created(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()
    with Scope() as scope:
        resource = make(lab).create()
        scope.own(resource)
        assert resource not in ROOT._held
    assert lab.kernel.state() == before


@EACH
def test_owning_twice_does_nothing(lab: Lab, make: Maker) -> None:
    with Scope() as scope:
        resource = scope.own(make(lab))
        sent = len(lab.kernel.requests)
        assert scope.own(resource) is resource
        assert len(lab.kernel.requests) == sent


def test_own_refuses_what_is_borrowed(lab: Lab) -> None:
    bridge = Bridge(lab.red, "br0").create().detach()
    with Scope() as scope:
        for resource in (lab.red, bridge):
            with pytest.raises(StateError, match=r"borrowed.*adopt"):
                scope.own(resource)
    assert bridge.exists


def test_own_refuses_what_is_no_resource(lab: Lab) -> None:
    with Scope() as scope:
        for other in (lab.red.links["lo"], "br0", None, scope, Scope()):
            with pytest.raises(SpecError, match="owns netkit's resources"):
                scope.own(other)  # type: ignore[type-var]


def test_own_outside_of_the_block_is_a_state_error(lab: Lab) -> None:
    scope = Scope()
    with pytest.raises(StateError, match="not entered yet"):
        scope.own(Bridge(lab.red, "br0"))
    with scope:
        pass
    with pytest.raises(StateError, match="closed"):
        scope.own(Bridge(lab.red, "br0"))
    assert "br0" not in lab.red.links


def test_a_scope_is_not_entered_twice_at_a_time(lab: Lab) -> None:
    with Scope() as scope, pytest.raises(StateError, match="entered already"):
        scope.__enter__()


def test_what_the_scope_could_not_create_is_not_owned(lab: Lab) -> None:
    with Scope() as scope:
        lab.kernel.refuse(1, errno.ENOMEM)
        bridge = Bridge(lab.red, "br0")
        with pytest.raises(KernelError):
            scope.own(bridge)
        assert not scope._held
        scope.own(bridge)
        assert bridge.exists


def test_own_moves_ownership(lab: Lab) -> None:
    with Bridge(lab.red, "br0") as bridge:
        with Scope() as scope:
            pair = scope.own(bridge.connect(lab.blue, name="p"))
        assert not pair.exists
        with Scope() as outer:
            with Scope() as inner:
                pair = inner.own(bridge.connect(lab.blue, name="p"))
                outer.own(pair)
            assert pair.exists
        assert not pair.exists


def test_delete_and_detach_leave_the_scope(lab: Lab) -> None:
    with Scope() as scope:
        gone = scope.own(Bridge(lab.red, "gone"))
        kept = scope.own(Bridge(lab.red, "kept"))
        gone.delete()
        kept.detach()
        assert not scope._held
    assert [link.name for link in lab.red.links] == ["lo", "kept"]


def test_links_of_a_scope_are_in_its_group(lab: Lab) -> None:
    with Scope() as scope:
        veth = scope.own(VethPair(lab.red, lab.blue, name="a", peer_name="b"))
        bridge = scope.own(Bridge(lab.red, "br0"))
        assert {veth.link.group, veth.peer.group, bridge.link.group} == {scope.group}
        assert bridge.connect(lab.blue, name="p").link.group == scope.group
        assert scope.group != 0


def test_scopes_nest(lab: Lab) -> None:
    before = lab.kernel.state()
    with Scope() as outer:
        bridge = outer.own(Bridge(lab.red, "br0"))
        with Scope() as inner:
            inner.own(VethPair(lab.red, lab.blue, name="a", peer_name="b"))
        assert [link.name for link in lab.red.links] == ["lo", "br0"]
        assert bridge.exists
    assert lab.kernel.state() == before


def test_undone_in_reverse_and_by_stages(lab: Lab) -> None:
    """Routes before links before namespaces, each last first."""
    with Scope() as scope:
        scope.own(Namespace("first"))
        first = scope.own(RouteTable(lab.red, 100))
        scope.own(VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.0.0.1/24"))
        second = scope.own(RouteTable(lab.red, 200))
        first.add("10.1.0.0/16", via="10.0.0.2")
        second.add("10.2.0.0/16", via="10.0.0.2")
        lab.kernel.forget_requests()
    types = [request.type for request in lab.kernel.sent("RTM_DELROUTE", "RTM_DELLINK")]
    assert types == ["RTM_DELROUTE", "RTM_DELROUTE", "RTM_DELLINK"]
    deleted = [request.body for request in lab.kernel.sent("RTM_DELROUTE")]
    assert b"\x0a\x02\x00\x00" in deleted[0]
    assert b"\x0a\x01\x00\x00" in deleted[1]


# -- where a block can be ------------------------------------------------------------------


@EACH
def test_async_with(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()

    async def work() -> None:
        async with make(lab) as resource, Scope() as scope:
            assert resource.exists
            scope.own(Bridge(lab.blue, "br9"))
            await asyncio.sleep(0)
            assert resource.exists

    asyncio.run(work())
    assert lab.kernel.state() == before


def test_a_cancelled_task_leaves_nothing(lab: Lab) -> None:
    before = lab.kernel.state()
    inside = threading.Event()

    async def work() -> None:
        async with Scope() as scope:
            scope.own(VethPair(lab.red, lab.blue, name="a", peer_name="b"))
            inside.set()
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        assert inside.is_set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert lab.kernel.state() == before


def networks(lab: Lab) -> Iterator[VethPair]:
    with VethPair(lab.red, lab.blue, name="a", peer_name="b") as veth:
        yield veth


def test_a_generator_suspended_in_a_block(lab: Lab) -> None:
    """A pytest fixture is one. Closed or collected, GeneratorExit ends the block."""
    before = lab.kernel.state()
    generator = networks(lab)
    assert next(generator).exists
    generator.close()  # type: ignore[attr-defined]
    assert lab.kernel.state() == before
    generator = networks(lab)
    next(generator)
    del generator
    assert lab.kernel.state() == before


def test_a_generator_that_is_never_ended_is_undone_at_exit(lab: Lab) -> None:
    before = lab.kernel.state()
    generator = networks(lab)
    next(generator)
    with pytest.warns(ResourceWarning, match="VethPair"):
        undo_all()
    assert lab.kernel.state() == before
    generator.close()  # type: ignore[attr-defined]


def test_what_is_owned_at_exit_is_undone_in_reverse_with_a_warning(lab: Lab) -> None:
    before = lab.kernel.state()
    Bridge(lab.red, "br0", address="10.0.0.1/24").create().connect(lab.blue, name="p")
    Namespace("box").create()
    scope = Scope().__enter__()
    scope.own(RouteTable(lab.red, 100)).add("10.9.0.0/16", type="blackhole")
    with pytest.warns(ResourceWarning) as warned:
        undo_all()
    assert len(warned) >= 4
    assert any("'br0'" in str(each.message) for each in warned)
    assert lab.kernel.state() == before
    undo_all()  # nothing is left, and nothing is said


def test_the_undo_at_exit_goes_on_past_errors(lab: Lab) -> None:
    Bridge(lab.red, "one").create()
    Bridge(lab.blue, "two").create()
    lab.kernel.refuse(3, errno.EBUSY)  # two looks, and the first deletion
    with pytest.warns(ResourceWarning), pytest.raises(TeardownError) as caught:
        undo_all()
    assert len(caught.value.exceptions) == 1
    left = [link.name for netns in (lab.red, lab.blue) for link in netns.links]
    assert len(left) == 3


# -- fork (F07, F11) ----------------------------------------------------------------------------


@EACH
def test_a_child_cannot_use_its_parents_objects(lab: Lab, make: Maker) -> None:
    with make(lab) as resource:

        def child() -> None:
            for verb in (resource.delete, resource.detach, resource.create, lambda: resource.exists):
                with pytest.raises(StateError, match=r"child|fork"):
                    verb()
            with pytest.raises(StateError):
                Scope().__enter__().own(resource)

        in_child(child)
        assert resource.exists


def test_the_end_of_a_child_leaves_the_parents_things_alone(lab: Lab) -> None:
    state = {}

    def child() -> None:
        undo_all()  # what atexit would call

    with Scope() as scope:
        scope.own(Bridge(lab.red, "br0"))
        scope.own(Namespace("box"))
        with VethPair(lab.red, lab.blue, name="a", peer_name="b"):
            state = lab.kernel.state()
            sent = len(lab.kernel.requests)
            in_child(child)
            assert lab.kernel.state() == state
            assert len(lab.kernel.requests) == sent


def test_leaving_the_parents_block_in_a_child_does_nothing(lab: Lab) -> None:
    """A child that returns out of the parent's `with`, as a forked pytest would."""
    scope = Scope().__enter__()
    bridge = scope.own(Bridge(lab.red, "br0"))
    table = RouteTable(lab.red, 100).__enter__()

    def child() -> None:
        sent = len(lab.kernel.requests)
        bridge.__exit__(None, None, None)
        scope.__exit__(None, None, None)
        table.__exit__(None, None, None)
        with pytest.raises(StateError):
            scope.own(Bridge(lab.red, "br1"))
        assert len(lab.kernel.requests) == sent

    in_child(child)
    assert bridge.exists
    table.close()
    scope.__exit__(None, None, None)


# -- threads -----------------------------------------------------------------------------------


def test_threads_build_and_undo_in_the_same_namespaces(lab: Lab) -> None:
    before = lab.kernel.state()

    def work(number: int) -> None:
        for _ in range(5):
            with Scope() as scope:
                box = scope.own(Namespace(f"box{number}"))
                veth = scope.own(
                    VethPair(lab.red, box, name=f"a{number}", peer_name="eth0", address=f"10.0.{number}.1/24")
                )
                scope.own(RouteTable(lab.red, 100 + number)).add("10.9.0.0/16", via=f"10.0.{number}.2")
                assert veth.peer.peer == veth.link

    assert at_once(8, work) == []
    assert lab.kernel.state() == before


def test_of_two_threads_that_create_or_delete_the_same_one_wins(lab: Lab) -> None:
    before = lab.kernel.state()
    for verb in ("create", "delete"):
        for _ in range(5):
            veth = VethPair(lab.red, lab.blue, name="a", peer_name="b")
            if verb == "delete":
                veth.create()
            act = veth.create if verb == "create" else veth.delete
            problems = at_once(4, lambda number, act=act: act())
            assert len(problems) == 3
            assert all(isinstance(problem, StateError) for problem in problems)
            if verb == "create":
                veth.delete()
            assert lab.kernel.state() == before


def test_a_resource_made_on_one_thread_is_deleted_on_another(lab: Lab) -> None:
    before = lab.kernel.state()
    resources = [make(lab) for name, make in MAKERS.items() if name != "persistent namespace"]
    made = [resource.create() for resource in resources if resource is not None]
    assert at_once(len(made), lambda number: made[number].delete()) == []
    assert lab.kernel.state() == before
