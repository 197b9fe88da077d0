"""Ctrl-C and other signals at any moment: nothing left, nobody moved, all usable after."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from netkit import Bridge, Namespace, NatRule, RouteTable, Scope, Topology, VethPair
from netkit._lifecycle import ROOT, Owned, undo
from tests.harness import place
from tests.harness.here import HERE, identity
from tests.harness.interrupts import State, network, program, state
from tests.harness.oracle import ip, run_in, sorted_names
from tests.harness.packets import reached
from tests.harness.patience import LONG

__all__ = ["state"]  # the fixture


def together(host: Namespace) -> None:
    """What network() builds, created by one call."""
    boxes = [Namespace("inner"), Namespace(), Namespace()]
    bridge = Bridge(host, "br0", address=["10.0.0.1/24", "fd00::1/64"])
    pairs = [
        bridge.pair(box, name=f"v{n}", peer_address=[f"10.0.0.{n}/24", f"fd00::{n}/64"], default_route=True)
        for n, box in enumerate(boxes, 2)
    ]
    with Scope() as lab:
        lab.own(
            *boxes, bridge, *pairs, RouteTable(host, 100),
            host.sysctl.override("net.ipv4.ip_default_ttl", 99),
            NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"),
        )  # fmt: skip
        assert reached(boxes[0], "10.0.0.4")


def topology(host: Namespace) -> None:
    with Topology.star(3, named=True, forwarding=True, subnet=["10.1.0.0/24", "fd00:1::/64"]) as net:
        assert reached(net["box1"], net.address("box3"))


@contextmanager
def timer(handler: Callable[[int, FrameType | None], object]) -> Iterator[Callable[..., None]]:
    """SIGALRM is handled so; yields what sets the interval timer."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield lambda *seconds: signal.setitimer(signal.ITIMER_REAL, *seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def lost_interrupts() -> Iterator[None]:
    """Nothing is said of an interrupt in a finalizer or in the garbage collector's callbacks (hypothesis has
    one): there Python can raise no exception, but reports it and goes on, and pytest makes it a failure."""
    before = sys.unraisablehook

    def hook(report: sys.UnraisableHookArgs) -> None:
        if not isinstance(report.exc_value, KeyboardInterrupt):
            before(report)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def interrupted(
    after: Callable[..., None], seconds: float, work: Callable[[], object]
) -> KeyboardInterrupt | None:
    """The timer's KeyboardInterrupt that ended the work."""
    try:
        with lost_interrupts():
            try:
                after(seconds)
                work()
            finally:
                after(0)
    except KeyboardInterrupt as problem:
        return problem
    return None


def took(work: Callable[[], object]) -> float:
    """The seconds that it takes, which are other ones on each machine."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def undo_after(problem: KeyboardInterrupt | None, owned: set[Owned]) -> None:
    """Undo what is still owned, as at exit, if the interrupt came between the call of an __exit__ and its
    first line: there Python lets no program hold it back."""
    places = traceback.walk_tb(problem.__traceback__ if problem else None)
    if any(f.f_code.co_name == "__exit__" and line == f.f_code.co_firstlineno for f, line in places):
        assert undo([deep for each in set(ROOT._held) - owned for deep in each._members()]) == []


# -- Ctrl-C ------------------------------------------------------------------------

WORKS = {"alone": network, "together": together, "a topology": topology}


# A socket that is nobody's yet when the interrupt comes is closed at once, with a warning.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*<socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM])
@pytest.mark.parametrize("work", WORKS)
def test_F02_F03_F04_an_interrupt_at_a_random_moment(
    host: Namespace, state: State, work: str, number: int
) -> None:
    """F02, F03, F04. A handler of SIGALRM that raises is how timeouts are made; it also passes SIGINT on."""
    chance = random.Random(int.from_bytes(os.urandom(4), "little"))
    hits, owned = 0, set(ROOT._held)

    def handler(*_: object) -> None:
        if number == signal.SIGINT:
            signal.raise_signal(signal.SIGINT)
        raise KeyboardInterrupt

    longest = took(lambda: WORKS[work](host))
    with timer(handler) as after:
        for _ in range(60):
            begun = time.monotonic()
            problem = interrupted(after, chance.uniform(0.0001, longest), lambda: WORKS[work](host))
            hits += problem is not None
            if problem is None:  # it was quicker than was thought
                longest = time.monotonic() - begun
            undo_after(problem, owned)
            assert identity(HERE) == state.before["here"]
            left = [repr(each) for each in ROOT._held_members()]
            assert left == state.before["owned"]
    assert hits > 10
    state.check()
    WORKS[work](host)


@pytest.mark.parametrize("seed", range(3))
def test_F04_the_same_object_is_used_after_an_interrupt(host: Namespace, seed: int) -> None:
    """F04: answers that were not read are nobody's."""
    for number in range(30):
        run_in(host, *f"ip link add v{number} type veth peer name p{number}".split())
    expected = {item["ifname"]: item["ifindex"] for item in ip(host, "link", "show")}

    def read_often() -> None:
        for _ in range(20):
            assert {item.name: item.ifindex for item in host.links} == expected

    chance = random.Random(seed)
    with timer(signal.default_int_handler) as after:
        for turn in range(40):
            interrupted(after, chance.uniform(0.0001, 0.004), read_often)
            assert {item.name: item.ifindex for item in host.links} == expected
            assert host.links[f"v{turn % 30}"].ifindex == expected[f"v{turn % 30}"]


def test_an_interrupt_in_a_callback_of_the_collector() -> None:
    """What hypothesis' callback meets now and then, made certain: it is no failure of a test here."""

    def callback(phase: str, info: dict[str, int]) -> None:
        signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(callback)
    try:
        assert not interrupted(lambda *seconds: None, 1, gc.collect)
    finally:
        gc.callbacks.remove(callback)


def test_create_can_be_called_again_after_an_interrupt(host: Namespace) -> None:
    pair = VethPair(host, host, name="a", peer_name="b", address="10.0.0.1/24")
    chance = random.Random(1)
    with timer(signal.default_int_handler) as after:
        for _ in range(60):
            if not interrupted(after, chance.uniform(0.00005, 0.002), pair.create) or pair.exists:
                pair.delete()
            assert "a" not in host.links
    with pair:
        assert sorted_names(host) == ["a", "b", "lo"]


# -- other signals -----------------------------------------------------------------


def test_F05_signals_that_return_disturb_nothing(host: Namespace, state: State) -> None:
    """F05: EINTR everywhere, each millisecond."""
    seen: list[int] = []
    with timer(lambda number, frame: seen.append(number)) as after:
        after(0.001, 0.001)
        networks = 0
        while networks < 10 or len(seen) <= 50:
            network(host)
            networks += 1
            assert networks < 1000, f"only {len(seen)} signals in {networks} networks"
    state.check()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM])
def test_F03_a_signal_in_a_teardown_waits_for_its_end(host: Namespace, state: State, number: int) -> None:
    class Ended(BaseException):
        pass

    def handler(*_: object) -> None:
        order.append("signal")
        raise Ended

    order: list[str] = []
    before = signal.signal(number, handler)
    try:
        scope = Scope().__enter__()
        first = scope.own(VethPair(host, host, name="a", peer_name="b"))
        second = scope.own(host.sysctl.override("net.ipv4.ip_default_ttl", 99))
        real = second._remove

        def remove(teardown: object) -> None:
            signal.raise_signal(number)
            order.append("removed")
            real(teardown)  # type: ignore[arg-type]

        second._remove = remove  # type: ignore[method-assign]
        with pytest.raises(Ended):
            scope.__exit__(None, None, None)
    finally:
        signal.signal(number, before)
    assert order == ["removed", "signal"]
    assert not first.exists
    del second._remove
    state.check()


def test_a_handler_that_exits_undoes_everything(host: Namespace) -> None:
    code = """
import os, signal, sys
from netkit import *
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
heard, told = os.pipe()
os.set_blocking(told, False)
signal.set_wakeup_fd(told)  # for a signal that comes just before a wait does not end it
host = Namespace.current()
with Scope() as scope:
    scope.own(VethPair(host, scope.own(Namespace("ended")), name="v0", peer_name="eth0"))
    print("ready", flush=True)
    os.read(heard, 1)
"""
    with program(host, code) as child:
        place.send(child, signal.SIGTERM)
        assert child.wait(LONG) == 7
    assert sorted_names(host) == ["lo"]
    assert place.names() == []
