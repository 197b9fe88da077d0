"""Ctrl-C, signals, limits, exits and SIGKILL at any moment: nothing left, nobody moved, all usable after."""

from __future__ import annotations

import errno
import gc
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

import netkit
from netkit import Bridge, KernelError, Namespace, NatRule, RouteTable, Scope, Topology, VethPair
from netkit._lifecycle import ROOT, Owned, undo
from tests.harness import place
from tests.harness.here import HERE, descriptors, identity
from tests.harness.oracle import Events, ip, nft, run_in
from tests.harness.packets import reached
from tests.harness.patience import LONG
from tests.harness.tools import needs


def names(ns: Namespace) -> list[str]:
    return sorted(item["ifname"] for item in ip(ns, "link", "show"))


def network(host: Namespace) -> None:
    """What a test builds: a bit of everything, and packets."""
    with Scope() as lab:
        box = lab.own(Namespace("inner"))
        bridge = lab.own(Bridge(host, "br0", address="10.0.0.1/24"))
        bridge.connect(box, name="v0", peer_name="eth0", peer_address="10.0.0.2/24", default_route=True)
        lab.own(VethPair(host, box, name="v1", peer_name="eth1", address="10.1.0.1/24"))
        lab.own(RouteTable(host, 100)).add("10.9.0.0/16", via="10.0.0.2")
        lab.own(host.sysctl.override("net.ipv4.ip_default_ttl", 99))
        lab.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"))
        assert reached(box, "10.0.0.1")


def together(host: Namespace) -> None:
    """The same, created by one call."""
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


class State:
    """What there is in the host, in /run/netns and in this process."""

    def __init__(self, host: Namespace) -> None:
        self.host = host
        self.before = self.read()

    def read(self) -> dict[str, object]:
        return {
            "links": names(self.host),
            "routes": ip(self.host, "route", "show", "table", "all"),
            "nft": nft(self.host),
            "ttl": run_in(self.host, "sysctl", "-n", "net.ipv4.ip_default_ttl"),
            "names": place.names(),
            "here": identity(HERE),
            "owned": [repr(each) for each in ROOT._held_members()],
            "descriptors": len(descriptors()),
        }

    def check(self) -> None:
        assert self.read() == self.before


@pytest.fixture
def state(host: Namespace) -> State:
    network(host)  # what is kept for good is there before
    return State(host)


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

    WORKS[work](host)
    with timer(handler) as after:
        for _ in range(60):
            problem = interrupted(after, chance.uniform(0.0001, 0.03), lambda: WORKS[work](host))
            hits += problem is not None
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
        assert names(host) == ["a", "b", "lo"]


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
    assert names(host) == ["lo"]
    assert place.names() == []


# -- limits ------------------------------------------------------------------------


def test_F37_without_descriptors_half_way(host: Namespace, state: State) -> None:
    """F37: an error that names the limit, nothing left, and a teardown that needs no new one."""

    def several() -> None:
        with Namespace() as box, Namespace() as other:
            with VethPair(host, box, name="v0", peer_name="eth0"), Bridge(other, "br0"), box.socket():
                list(box.links)
            NatRule.masquerade(box, saddr="10.0.0.0/24", oif="eth0").create().delete()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    refusals: list[OSError] = []
    for free in range(14):
        highest = max(map(int, descriptors()))
        holes = [os.open("/dev/null", os.O_RDONLY) for _ in range(highest - len(descriptors()))]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 1 + free, hard))
            try:
                several()
            except OSError as error:
                refusals.append(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in holes:
                os.close(fd)
        assert [repr(each) for each in ROOT._held_members()] == state.before["owned"]
    assert len(refusals) >= 3
    for error in refusals:
        assert error.errno == errno.EMFILE
        assert "RLIMIT_NOFILE" in str(error) or not isinstance(error, KernelError)
    state.check()


def test_F37_a_teardown_needs_no_new_descriptor(host: Namespace, state: State) -> None:
    _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    scope = Scope().__enter__()
    box = scope.own(Namespace("inner"))
    scope.own(VethPair(host, box, name="v0", peer_name="eth0"))
    scope.own(Bridge(host, "br0", address="10.0.0.1/24")).connect(box, name="v1", peer_name="eth1")
    scope.own(RouteTable(host, 100)).add("10.9.0.0/16", via="10.0.0.2")
    scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        scope.__exit__(None, None, None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    state.check()


# -- exits without __exit__ --------------------------------------------------------

BUILD = """
import gc, os, signal, sys, threading
from netkit import *
host = Namespace.current()
def build(scope):
    box = scope.own(Namespace("left"))
    bridge = scope.own(Bridge(host, "br0", address="10.0.0.1/24"))
    bridge.connect(box, name="v0", peer_name="eth0", peer_address="10.0.0.2/24", default_route=True)
    scope.own(VethPair(host, box, name="v1", peer_name="eth1"))
    scope.own(host.sysctl.override("net.ipv4.ip_default_ttl", 99))
    scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v0"))
    return box
"""
EXITS = {
    "a global": "scope = Scope().__enter__(); build(scope)",
    "created only": "pair = VethPair(host, Namespace('left').create(), name='v0', peer_name='e').create()",
    "nobody's": "VethPair(host, Namespace('left').create(), name='v0', peer_name='e').create(); gc.collect()",
    "a generator": """
def network():
    with Scope() as scope:
        yield build(scope)
suspended = network()
next(suspended)
""",
    "a daemon thread": """
ready = threading.Event()
def work():
    with Scope() as scope:
        build(scope)
        ready.set()
        threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
ready.wait()
""",
    "sys.exit in a thread": """
def work():
    scope = Scope().__enter__()
    build(scope)
    sys.exit(3)
thread = threading.Thread(target=work)
thread.start()
thread.join()
""",
    "an exception": "scope = Scope().__enter__(); build(scope); sys.excepthook = lambda *_: None; 1 / 0",
    "sys.exit": "scope = Scope().__enter__(); build(scope); sys.exit(5)",
    "shutdown": "import netkit; scope = Scope().__enter__(); build(scope); netkit.shutdown(); os._exit(0)",
    "a process inside": "box = build(Scope().__enter__()); box.popen(['sleep', '100'])",
    "warnings are errors": "import warnings; warnings.simplefilter('error'); build(Scope().__enter__())",
}


@pytest.mark.parametrize("how", EXITS)
def test_F06_an_exit_undoes_what_is_still_owned(host: Namespace, how: str) -> None:
    """F06"""
    command = place.inside(host, sys.executable, "-c", BUILD + EXITS[how])
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    assert names(host) == ["lo"], done.stderr
    assert nft(host) == []
    assert run_in(host, "sysctl", "-n", "net.ipv4.ip_default_ttl") == "64\n"
    assert place.names() == []


def test_F06_what_was_forgotten_is_named(host: Namespace) -> None:
    code = BUILD + "scope = Scope().__enter__(); build(scope)"
    command = place.inside(host, sys.executable, "-W", "always", "-c", code)
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    assert "ResourceWarning" in done.stderr
    assert "'left'" in done.stderr
    assert done.returncode == 0


def test_shutdown_undoes_and_netkit_goes_on(host: Namespace) -> None:
    code = BUILD + (
        "build(Scope().__enter__()); import netkit; netkit.shutdown(); netkit.shutdown()\n"
        "assert [link.name for link in host.links] == ['lo']\n"
        "with Scope() as scope: build(scope)\n"
        "assert [link.name for link in host.links] == ['lo']\n"
        "print('whole')"
    )
    assert run_in(host, sys.executable, "-W", "ignore", "-c", code) == "whole\n"
    assert callable(netkit.shutdown)


# -- SIGKILL -----------------------------------------------------------------------


@contextmanager
def program(host: Namespace, code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program in the namespace, once it has said that it is ready."""
    command = place.inside(host, sys.executable, "-c", code)
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        place.send(child, signal.SIGKILL)
        child.wait()
        child.stdout.close()


@needs("nft")
@pytest.mark.parametrize("name", [None, "killed"])
def test_F01_killed_its_links_and_rules_are_gone(host: Namespace, name: str | None) -> None:
    """F01: without a clean-up pass."""
    code = f"""
import signal
from netkit import *
host = Namespace.current()
box = Namespace({name!r}).create()
pairs = [VethPair(host, box, name=f"v{{n}}", peer_name=f"eth{{n}}").create() for n in range(5)]
rule = NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v0").create()
print("ready", flush=True)
signal.pause()
"""
    with Events(host) as events, program(host, code) as child:
        assert names(host) == ["lo", "v0", "v1", "v2", "v3", "v4"]
        assert "masquerade" in str(nft(host))
        place.send(child, signal.SIGKILL)
        child.wait()
        events.wait_until(lambda: names(host) == ["lo"])
        assert nft(host) == []
    if name is not None:  # the next run is not in the way of this one's leftovers
        with Namespace(name) as again:
            assert identity(str(place.path(f"/run/netns/{name}"))) == identity(again.fileno())
    assert place.names() == []


def test_killed_at_a_random_moment(host: Namespace) -> None:
    """Whatever it was doing: what hangs on its namespaces and sockets goes with it."""
    code = """
import signal
from netkit import *
host = Namespace.current()
print("ready", flush=True)
while True:
    with Scope() as scope:
        box = scope.own(Namespace())
        scope.own(VethPair(host, box, name="v0", peer_name="eth0", address="10.0.0.1/24"))
        scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v0"))
"""
    chance = random.Random(2)
    for _ in range(8):
        with Events(host) as events, program(host, code) as child:
            ended = threading.Timer(chance.uniform(0.001, 0.05), place.send, (child, signal.SIGKILL))
            ended.start()
            child.wait(LONG)
            ended.join()
            events.wait_until(lambda: names(host) == ["lo"])
            assert nft(host) == []
