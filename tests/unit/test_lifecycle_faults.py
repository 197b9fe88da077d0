"""Whatever fails at whatever request, nothing is left and the object can be used again (F02, F03, F04)."""

from __future__ import annotations

import errno
from collections.abc import Callable

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
from tests.harness.calls import outcome
from tests.unit.fake_lab import EACH, MAKERS, Lab, Maker, clean, connected

ERRNOS = [errno.ENOMEM, errno.EPERM, errno.EBUSY, errno.ENOBUFS, errno.EEXIST, errno.ENODEV]
INTERRUPTS = [KeyboardInterrupt, MemoryError, GeneratorExit, SystemExit]
MOST = 200  # requests that any of the work here needs; a loop that goes on is a bug of the test


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
            clean(lab)
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
