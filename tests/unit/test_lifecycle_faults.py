"""Whatever fails at whatever request, nothing is left and the object can be used again (F02, F03, F04)."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from netkit import Bridge, Namespace, RouteTable, Scope, VethPair
from netkit._lifecycle import ROOT, Resource
from netkit.errors import (
    BusyError,
    KernelError,
    NetkitError,
    NotFoundError,
    ProtocolError,
    StateError,
    TeardownError,
)
from netkit.testing import FakeKernel
from tests.unit.fake_lab import MAKERS, Lab, Maker, connected, outcome

EACH = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
ERRNOS = [errno.ENOMEM, errno.EPERM, errno.EBUSY, errno.ENOBUFS, errno.EEXIST, errno.ENODEV]
INTERRUPTS = [KeyboardInterrupt, MemoryError, GeneratorExit, SystemExit]
MOST = 200  # requests that any of the work here needs; a loop that goes on is a bug of the test


@pytest.fixture
def lab() -> Iterator[Lab]:
    with FakeKernel() as kernel:
        yield Lab(kernel, kernel.namespace("red"), kernel.namespace("blue"))


def scope_of_many(lab: Lab) -> None:
    """A namespace, two veths, a bridge with a port and a default route, a table: all in one block."""
    with Scope() as scope:
        box = scope.own(Namespace("box"))
        scope.own(VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.1.0.1/24"))
        bridge = scope.own(Bridge(lab.red, "br0", address="172.18.0.1/24"))
        bridge.connect(box, name="p0", peer_address="172.18.0.2/24", default_route=True, isolated=True)
        scope.own(box.connect(lab.blue, name="up0", peer_name="down0"))
        table = scope.own(RouteTable(lab.red, 100))
        table.add("10.9.0.0/16", via="10.1.0.2")
        table.replace("10.9.0.0/16", type="blackhole")


def several_together(lab: Lab) -> None:
    """Namespaces, a bridge and its ports, a veth between the new ones and a table: by one call."""
    with Scope() as scope:
        box, other, bridge = Namespace("box"), Namespace(), Bridge(lab.red, "br0", address="172.18.0.1/24")
        ports = [
            VethPair(
                lab.red, each, name=f"p{n}", peer_name="eth0", peer_address=f"172.18.0.{n}/24", master=bridge
            )
            for n, each in enumerate((box, other), 2)
        ]
        cable = VethPair(box, other, name="up0", peer_name="down0", address=["10.0.0.1/30", "fd00::1/64"])
        scope.own(bridge, *ports, cable, RouteTable(lab.red, 100), box, other)


WORK: dict[str, Callable[[Lab], object]] = {
    "bridge with ports": connected,
    "scope": scope_of_many,
    "several together": several_together,
}
BLOCKS = pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())


# -- a refusal at every request of create() ------------------------------------------------


@EACH
@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
def test_a_refusal_at_any_request_is_undone(lab: Lab, make: Maker, number: int) -> None:
    before, owned = lab.kernel.state(), set(ROOT._held)
    refused = 0
    for n in range(1, MOST):
        resource = make(lab)
        lab.kernel.refuse(n, number, "as the test wants")
        problem = outcome(resource.create)
        if problem is None:
            lab.kernel.heal()
            resource.delete()
            break
        refused += 1
        assert isinstance(problem, KernelError)
        assert "as the test wants" in str(problem) or "is taken" in str(problem)
        assert lab.kernel.state() == before
        assert not resource.exists
        assert set(ROOT._held) == owned
        with resource:  # it can be created again
            assert resource.exists
        lab.kernel.heal()
        assert lab.kernel.state() == before
    else:
        pytest.fail(f"it still fails at request {MOST}")
    assert refused >= 1


@EACH
@pytest.mark.parametrize("where", ["send", "receive"])
@pytest.mark.parametrize("exception", INTERRUPTS)
def test_an_interrupt_at_any_request_is_undone(
    lab: Lab, make: Maker, exception: type[BaseException], where: str
) -> None:
    before, owned = lab.kernel.state(), set(ROOT._held)
    interrupted = 0
    for n in range(1, MOST):
        resource = make(lab)
        lab.kernel.interrupt(n, exception("the test"), where)  # type: ignore[arg-type]
        problem = outcome(resource.create)
        if problem is None:
            lab.kernel.heal()
            resource.delete()
            break
        interrupted += 1
        assert type(problem) is exception
        assert str(problem) == "the test"
        assert not getattr(problem, "__notes__", [])
        assert lab.kernel.state() == before
        assert set(ROOT._held) == owned
        with resource:
            assert resource.exists
        assert lab.kernel.state() == before
    else:
        pytest.fail(f"it still fails at request {MOST}")
    assert interrupted >= 1


@EACH
def test_an_outcome_that_was_lost_is_undone(lab: Lab, make: Maker) -> None:
    """ENOBUFS after the kernel did it: what was asked for may exist, so it is taken back."""
    before = lab.kernel.state()
    lost = 0
    for n in range(1, MOST):
        resource = make(lab)
        lab.kernel.lose(n)
        problem = outcome(resource.create)
        lab.kernel.heal()
        if problem is None:
            resource.delete()
            break
        lost += 1
        assert isinstance(problem, ProtocolError | KernelError)
        assert lab.kernel.state() == before
    assert lost >= 1
    assert lab.kernel.state() == before


# -- whole blocks ------------------------------------------------------------------------------


@BLOCKS
@pytest.mark.parametrize("number", ERRNOS[:-1], ids=errno.errorcode.get)  # ENODEV means "gone already"
def test_F02_a_block_that_fails_anywhere_leaves_nothing(
    lab: Lab, work: Callable[[Lab], object], number: int
) -> None:
    """A refused request of the teardown may leave its object, but then it is said so."""
    before = lab.kernel.state()
    for n in range(1, MOST):
        lab.kernel.refuse(n, number)
        problem = outcome(lambda: work(lab))
        if problem is not None:
            assert isinstance(problem, NetkitError)
            notes = [note for each in _leaves(problem) for note in getattr(each, "__notes__", [])]
            if lab.kernel.state() != before:
                assert any("may still be there" in note for note in notes), (n, problem, notes)
            _clean(lab)
        if not lab.kernel.pending_faults:
            assert lab.kernel.state() == before, n
            continue
        lab.kernel.heal()
        return
    pytest.fail(f"it still fails at request {MOST}")


@BLOCKS
@pytest.mark.parametrize("where", ["send", "receive"])
def test_F02_F03_an_interrupt_anywhere_in_a_block_leaves_nothing(
    lab: Lab, work: Callable[[Lab], object], where: str
) -> None:
    """In the teardown too: the step is done again, the rest goes on, and then the interrupt takes effect."""
    before, owned = lab.kernel.state(), set(ROOT._held)
    for n in range(1, MOST):
        lab.kernel.interrupt(n, KeyboardInterrupt("the test"), where)  # type: ignore[arg-type]
        problem = outcome(lambda: work(lab))
        if problem is None:
            lab.kernel.heal()
            return
        assert isinstance(problem, KeyboardInterrupt)
        assert str(problem) == "the test"
        assert lab.kernel.state() == before, n
        assert set(ROOT._held) == owned
    pytest.fail(f"it still fails at request {MOST}")


def _leaves(group: BaseException) -> list[BaseException]:
    if isinstance(group, BaseExceptionGroup):
        own = [group] if isinstance(group, TeardownError) else []
        return own + [leaf for each in group.exceptions for leaf in _leaves(each)]
    return [group]


def _clean(lab: Lab) -> None:
    """Delete what a refused teardown left: it is still owned, as at the end of the program."""
    from netkit._lifecycle import undo

    lab.kernel.heal()
    assert undo(ROOT._held_members()) == []


# -- which exception comes out ---------------------------------------------------------------


@EACH
def test_the_bodys_exception_is_kept(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()
    cause = ValueError("the body's own")
    with pytest.raises(ValueError, match="the body's own") as caught, make(lab):
        raise cause
    assert caught.value is cause
    assert not getattr(cause, "__notes__", [])
    assert lab.kernel.state() == before


def a_block_that_cannot_be_left(lab: Lab, problem: Exception | None) -> None:
    """All that the teardown asks is refused."""
    with Scope() as scope:
        scope.own(VethPair(lab.red, lab.blue, name="a", peer_name="b"))
        scope.own(Bridge(lab.blue, "br0"))
        for n in range(1, 20):
            lab.kernel.refuse(n, errno.EBUSY, "not now")
        if problem is not None:
            raise problem


def test_the_bodys_exception_gets_a_note_per_leftover(lab: Lab) -> None:
    with pytest.raises(ValueError, match="body") as caught:
        a_block_that_cannot_be_left(lab, ValueError("body"))
    notes = "\n".join(caught.value.__notes__)
    assert notes.count("not now") >= 2
    assert "'br0' in namespace 'blue'" in notes
    assert "'a' in namespace 'red'" in notes
    assert "may still be there" in notes
    _clean(lab)


def test_leftovers_of_a_quiet_body_are_a_teardown_error(lab: Lab) -> None:
    with pytest.raises(TeardownError) as caught:
        a_block_that_cannot_be_left(lab, None)
    assert len(caught.value.exceptions) == 2
    assert all(isinstance(each, BusyError) for each in caught.value.exceptions)
    assert all("may still be there" in each.__notes__[0] for each in caught.value.exceptions)
    _clean(lab)


def test_teardown_goes_on_past_errors(lab: Lab) -> None:
    before = lab.kernel.state()
    scope = Scope().__enter__()
    scope.own(Bridge(lab.red, "br0"))
    scope.own(VethPair(lab.red, lab.blue, name="a", peer_name="b"))
    table = scope.own(RouteTable(lab.blue, 100))
    table.add("10.9.0.0/16", type="blackhole")
    table.add("10.8.0.0/16", type="blackhole")
    scope.own(Namespace("box"))
    lab.kernel.refuse(1, errno.EBUSY)  # the first route
    with pytest.raises(TeardownError):
        scope.__exit__(None, None, None)
    left = lab.kernel.state()
    assert [line for line in left["blue"] if line not in before["blue"]] == [
        line for line in left["blue"] if line.startswith("route (2, 100")
    ]
    assert len([line for line in left["blue"] if line not in before["blue"]]) == 1
    assert left["red"] == before["red"]
    assert left["names"] == []


def test_what_could_not_be_removed_can_be_deleted_later(lab: Lab) -> None:
    before = lab.kernel.state()
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    lab.kernel.refuse(2, errno.EBUSY)  # a look first, then the deletion
    with pytest.raises(BusyError):
        veth.delete()
    assert veth.exists
    veth.delete()
    assert lab.kernel.state() == before


def test_what_a_failed_create_could_not_take_back_is_noted(lab: Lab) -> None:
    lab.kernel.refuse(3, errno.ENOMEM)  # an address of the near end
    lab.kernel.refuse(4, errno.EBUSY)  # and the deletion
    with pytest.raises(KernelError, match="ENOMEM") as caught:
        VethPair(lab.red, lab.blue, name="a", peer_name="b", address=["10.0.0.1/24", "10.0.1.1/24"]).create()
    assert any("could not take back" in note and "EBUSY" in note for note in caught.value.__notes__)
    assert "a" in lab.red.links
    lab.red.links["a"].delete()


@pytest.mark.parametrize("port_before", [True, False])
def test_a_refused_option_of_a_port_leaves_it_as_it_was(lab: Lab, port_before: bool) -> None:
    """A link that was a port already stays one; a link that was none is released."""
    link = VethPair(lab.red, lab.blue, name="a", peer_name="b").create().link
    bridge = Bridge(lab.red, "br0").create()
    if port_before:
        bridge.add_port(link, cost=7)
    ports, before = bridge.ports, link.port
    lab.kernel.refuse(3, errno.EINVAL)  # a look at its master, the master, the options
    with pytest.raises(KernelError, match="EINVAL"):
        bridge.add_port(link, cost=9)
    assert (bridge.ports, link.port) == (ports, before)
    assert len(ports) == port_before


def test_gone_while_it_is_taken_back_is_no_note(lab: Lab) -> None:
    lab.kernel.refuse(2, errno.ENOMEM)
    lab.kernel.before(
        3, lambda: lab.kernel._fake(lab.red).links.remove(lab.kernel._fake(lab.red).links.named("a"))
    )  # type: ignore[arg-type]
    with pytest.raises(KernelError, match="ENOMEM") as caught:
        VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.0.0.1/24").create()
    assert not getattr(caught.value, "__notes__", [])


def test_a_batch_that_fails_leaves_no_route_or_address(lab: Lab) -> None:
    bridge = Bridge(lab.red, "br0", address="172.18.0.1/24").create()
    before = lab.kernel.state()
    for n in range(1, 6):
        lab.kernel.refuse(n, errno.ENOMEM)
        with pytest.raises(KernelError, match="ENOMEM"):
            bridge.connect(lab.blue, name="p", peer_address="172.18.0.2/24", default_route=True, hairpin=True)
        assert lab.kernel.state() == before
        assert [member for member in bridge._members() if member is not bridge] == []
    bridge.connect(lab.blue, name="p", peer_address="172.18.0.2/24", default_route=True, hairpin=True)
    bridge.delete()


def test_add_port_that_fails_releases_the_port(lab: Lab) -> None:
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    bridge = Bridge(lab.red, "br0").create()
    lab.kernel.refuse(2, errno.EINVAL)
    with pytest.raises(KernelError, match="EINVAL"):
        bridge.add_port(veth.link, cost=5)
    assert veth.link.master is None
    veth.delete()
    bridge.delete()


# -- how much teardown costs (decision 14) --------------------------------------------------------


def test_links_of_one_scope_go_in_one_message(lab: Lab) -> None:
    before = lab.kernel.state()
    with Scope() as scope:
        for n in range(10):
            scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}"))
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 1
    assert lab.kernel.state() == before


def test_a_stranger_in_the_group_makes_them_go_singly(lab: Lab) -> None:
    with Scope() as scope:
        for n in range(3):
            scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}"))
        stranger = Bridge(lab.red, "stranger").create()
        stranger.link.set(group=scope.group)
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 3
    assert [link.name for link in lab.red.links] == ["lo", "stranger"]
    stranger.delete()


def test_lo_in_the_group_makes_them_go_singly(lab: Lab) -> None:
    with Scope() as scope:
        for n in range(3):
            scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}"))
        lab.red.links["lo"].set(group=scope.group)
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 3
    assert [link.name for link in lab.red.links] == ["lo"]


def test_all_of_a_group_gone_after_the_look_is_success(lab: Lab) -> None:
    with Scope() as scope:
        veths = [scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}")) for n in range(2)]
        fake = lab.kernel._fake(lab.red).links
        for veth in veths:
            device = fake.by_index[veth.link.ifindex]
            lab.kernel.before(2, lambda device=device: fake.remove(device))  # a dump, the deletion
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 1
    assert lab.kernel.pending_faults == 0


def test_one_of_them_gone_already_does_not_stop_the_others(lab: Lab) -> None:
    before = lab.kernel.state()
    with Scope() as scope:
        veths = [scope.own(VethPair(lab.red, lab.blue, name=f"a{n}", peer_name=f"b{n}")) for n in range(3)]
        veths[1].link.delete()
    assert lab.kernel.state() == before


def test_what_lives_only_in_a_dropped_namespace_is_not_deleted_singly(lab: Lab) -> None:
    before = lab.kernel.state()
    with Scope() as scope:
        one, two = scope.own(Namespace()), scope.own(Namespace())
        scope.own(VethPair(one, two, name="a", peer_name="b"))
        bridge = scope.own(Bridge(one, "br0", address="10.0.0.1/24"))
        bridge.connect(two, name="p", peer_address="10.0.0.2/24", default_route=True)
        scope.own(RouteTable(two, 100)).add("10.9.0.0/16", via="10.0.0.1")
        lab.kernel.forget_requests()
    assert lab.kernel.sent("RTM_DELLINK", "RTM_DELROUTE") == []
    assert lab.kernel.state() == before


def test_what_has_a_name_in_a_surviving_namespace_is_gone_when_the_block_ends(lab: Lab) -> None:
    with Scope() as scope:
        box = scope.own(Namespace())
        scope.own(VethPair(box, lab.red, name="a", peer_name="b"))
        lab.kernel.forget_requests()
    assert len(lab.kernel.sent("RTM_DELLINK")) == 1
    with VethPair(lab.red, lab.blue, name="b", peer_name="c"):
        assert "b" in lab.red.links


# -- signals (F03) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM])
def test_signals_wait_for_the_end_of_a_teardown(lab: Lab, number: int) -> None:
    before = lab.kernel.state()
    done: list[bool] = []

    def handler(number: int, frame: FrameType | None) -> None:
        done.append([link.name for link in lab.red.links] == ["lo"])
        raise InterruptedError("the signal")

    old = signal.signal(number, handler)
    try:
        for n in range(1, 12):
            done.clear()
            scope = Scope().__enter__()
            for k in range(3):
                scope.own(VethPair(lab.red, lab.blue, name=f"a{k}", peer_name=f"b{k}"))
            Bridge(lab.blue, f"stranger{n}").create().link.set(group=scope.group)
            lab.kernel.before(min(n, 2), lambda: signal.raise_signal(number))
            with pytest.raises(InterruptedError, match="the signal"):
                scope.__exit__(None, None, None)
            assert done == [True], n
            lab.blue.links[f"stranger{n}"].delete()
            assert lab.kernel.state() == before
    finally:
        signal.signal(number, old)


def test_a_signal_during_rollback_waits_too(lab: Lab) -> None:
    before = lab.kernel.state()
    lab.kernel.refuse(2, errno.ENOMEM)
    lab.kernel.before(3, lambda: signal.raise_signal(signal.SIGINT))
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.0.0.1/24")
    with pytest.raises(KeyboardInterrupt):
        veth.create()
    assert lab.kernel.state() == before


def test_handlers_are_given_back(lab: Lab) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Bridge(lab.red, "br0"):
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


# -- states after failure -----------------------------------------------------------------------------


def test_a_failed_adopt_leaves_it_borrowed(lab: Lab) -> None:
    for n in range(1, 5):  # a look and a change per end
        veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create().detach()
        lab.kernel.refuse(n, errno.EBUSY)
        with pytest.raises(BusyError):
            veth.adopt()
        with pytest.raises(StateError, match="borrowed"):
            veth.delete()
        veth.adopt().delete()


def test_a_failed_detach_leaves_it_owned(lab: Lab) -> None:
    before = lab.kernel.state()
    for n in range(1, 5):
        veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
        lab.kernel.refuse(n, errno.EBUSY)
        with pytest.raises(BusyError):
            veth.detach()
        veth.delete()
        assert lab.kernel.state() == before


def test_adopting_what_is_gone_is_not_found(lab: Lab) -> None:
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create().detach()
    veth.link.delete()
    with pytest.raises(NotFoundError):
        veth.adopt()
    assert not veth.exists


def test_every_resource_here_is_a_resource(lab: Lab) -> None:
    assert all(isinstance(make(lab), Resource) for make in MAKERS.values())
