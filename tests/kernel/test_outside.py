"""A namespace's way outside, by both programs: traffic, published ports, and what is left afterwards.

The outside is the session's own namespace: traffic ends at its loopback.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netkit import (
    BackendError,
    CommandError,
    ExistsError,
    KernelError,
    Namespace,
    NotFoundError,
    Outside,
    PublishedPort,
    Scope,
    SpecError,
    StateError,
    VethPair,
    WaitTimeout,
)
from netkit._outside import outside as module
from netkit._outside.redirects import redirects
from netkit._system import broker_frames as frames
from netkit._system import outside_programs
from tests.harness import processes
from tests.harness.oracle import addresses, ip, link, nft
from tests.harness.outside import PROGRAMS, echoed, lacks, server
from tests.harness.patience import LONG

# Else the outside would be the machine's own network; tests/rootless has an ordinary user's.
pytestmark = pytest.mark.capable

UDP = socket.SOCK_DGRAM


@pytest.fixture(params=PROGRAMS)
def backend(request: pytest.FixtureRequest) -> str:
    program: str = request.param
    if reason := lacks(program):
        pytest.skip(reason)
    return program


@pytest.fixture
def any_backend() -> None:
    if all(lacks(program) for program in PROGRAMS):
        pytest.skip("neither pasta nor slirp4netns")


@pytest.fixture
def box() -> Iterator[Namespace]:
    with Namespace() as ns:
        yield ns


@pytest.fixture
def v6_outside() -> Iterator[None]:
    """A device with a link-local address, without which pasta has no IPv6."""
    with Scope() as lab, Namespace.current() as here:
        for which in ("all", "default"):  # it would take two seconds
            lab.own(here.sysctl.override(f"net.ipv6.conf.{which}.accept_dad", 0))
        pair = lab.own(VethPair(here, here, name="v6a", peer_name="v6b"))
        deadline = time.monotonic() + LONG
        while not [a for a in pair.link.addresses if a.version == 6 and "tentative" not in a.flags]:
            assert time.monotonic() < deadline
            os.sched_yield()
        yield


def helpers() -> dict[int, str]:
    """Keepers, and the programs they keep, of this process."""
    found = processes.family("no such mark") - {os.getpid()}
    lines = {pid: processes.command(pid) for pid in found}
    return {
        pid: line
        for pid, line in lines.items()
        if "keeper_server" in line or line.split(" ")[0].endswith(("pasta", "slirp4netns"))
    }


def program_of(outside: Outside) -> int:
    (found,) = [pid for pid, line in helpers().items() if line.split(" ")[0].endswith(str(outside.backend))]
    return found


def gone(pids: set[int]) -> list[str]:
    deadline = time.monotonic() + LONG
    return [line for pid in pids if (line := processes.wait(pid, deadline))]


# -- ready when it is there -----------------------------------------------------------------------


def test_it_is_ready(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend)
    assert outside.exists
    assert outside.backend == backend
    assert outside.netns is box
    assert addresses(box, "tap0") == ["10.0.2.100/24"]
    shown = link(box, "tap0")
    assert {"UP", "LOWER_UP"} <= set(shown["flags"])
    assert (shown["mtu"], shown["linkinfo"]["info_kind"]) == (65520, "tun")
    (default,) = ip(box, "route", "show", "default")
    assert (default["gateway"], default["dev"]) == ("10.0.2.2", "tap0")
    assert (str(outside.gateway), str(outside.dns)) == ("10.0.2.2", "10.0.2.3")
    assert outside.link.ifindex == shown["ifindex"]
    assert repr(outside) == f"<Outside of an anonymous namespace by {backend}>"


def test_what_it_is_given(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(
        backend=backend, name="wan", address="172.30.7.9/20", mtu=1400, dns=False, default_route=False
    )
    assert addresses(box, "wan") == ["172.30.7.9/20"]
    assert link(box, "wan")["mtu"] == 1400
    assert ip(box, "route", "show", "default") == []
    assert (str(outside.gateway), outside.dns) == ("172.30.0.2", None)


# -- traffic out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_the_loopback_outside_is_the_gateway(box: Namespace, backend: str, kind: int) -> None:
    box.connect_outside(backend=backend, host_loopback=True)
    with server(kind=kind) as port:
        assert echoed(box, "10.0.2.2", port, kind)


def test_the_loopback_outside_is_not_for_all(box: Namespace, backend: str) -> None:
    box.connect_outside(backend=backend)
    with server() as port:
        assert not echoed(box, "10.0.2.2", port, wait=1)
        assert not echoed(box, "127.0.0.1", port, wait=1)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_an_address_outside(box: Namespace, backend: str, kind: int) -> None:
    with Namespace.current() as here:
        here.links["lo"].addresses.add("192.0.2.1/32")
        try:
            box.connect_outside(backend=backend)
            with server("192.0.2.1", kind=kind) as port:
                assert echoed(box, "192.0.2.1", port, kind)
        finally:
            here.links["lo"].addresses.remove("192.0.2.1/32")


def test_ipv6(box: Namespace, backend: str, v6_outside: None) -> None:
    box.connect_outside(backend=backend, ipv6=True, host_loopback=True)
    assert addresses(box, "tap0") == ["10.0.2.100/24", "fd00::100/64"]
    (default,) = ip(box, "-6", "route", "show", "default")
    assert (default["gateway"], default["dev"]) == ("fd00::2", "tap0")
    with server("::1") as port:  # by UDP pasta of 2023 answers from another address
        assert echoed(box, "fd00::2", port)
    with server() as port:
        assert echoed(box, "10.0.2.2", port)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_an_ipv6_address_outside(box: Namespace, backend: str, kind: int, v6_outside: None) -> None:
    with Namespace.current() as here:
        here.links["lo"].addresses.add("2001:db8::1/128")
        try:
            box.connect_outside(backend=backend, ipv6=True)
            with server("2001:db8::1", kind=kind) as port:
                assert echoed(box, "2001:db8::1", port, kind)
        finally:
            here.links["lo"].addresses.remove("2001:db8::1/128")


def test_pasta_needs_a_link_local_address(box: Namespace) -> None:
    if reason := lacks("pasta"):
        pytest.skip(reason)
    with pytest.raises(BackendError, match='take backend="slirp4netns"'):
        box.connect_outside(backend="pasta", ipv6=True)
    assert helpers() == {}


def test_ipv6_is_there_if_it_is_outside(box: Namespace, backend: str, v6_outside: None) -> None:
    with Namespace.current() as here:
        box.connect_outside(backend=backend).delete()
        assert addresses(box, "lo") == ["127.0.0.1/8", "::1/128"]
        here.routes.add("default", dev="v6a", family=6)
        box.connect_outside(backend=backend)
        assert addresses(box, "tap0") == ["10.0.2.100/24", "fd00::100/64"]


def test_names_are_resolved_outside(box: Namespace, backend: str, tmp_path: Path) -> None:
    """The query goes to the resolver of the outside's resolv.conf; an echo is answer enough."""
    if os.path.islink("/etc/resolv.conf") or os.geteuid() != 0:
        pytest.skip("nothing can be mounted over /etc/resolv.conf")
    own = tmp_path / "resolv.conf"
    own.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", own, "/etc/resolv.conf"], check=True)
    try:
        outside = box.connect_outside(backend=backend)
        with server("127.0.0.1", 53, UDP):
            assert echoed(box, str(outside.dns), 53, UDP)
    finally:
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)


# -- published ports ------------------------------------------------------------------------------


def test_a_published_port(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend, publish={8080: 80})
    assert [str(each) for each in outside.published] == ["127.0.0.1:8080->80/tcp"]
    with server("0.0.0.0", 80, ns=box):
        assert echoed(None, "127.0.0.1", 8080)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_a_free_port(box: Namespace, backend: str, kind: int) -> None:
    proto = "tcp" if kind == socket.SOCK_STREAM else "udp"
    outside = box.connect_outside(backend=backend, publish=[f"65000/{proto}"], host_loopback=True)
    (published,) = outside.published
    assert published.host_port > 0
    with server("0.0.0.0", 65000, kind, box):
        assert echoed(None, "127.0.0.1", published.host_port, kind)


def test_several_at_once(box: Namespace, backend: str) -> None:
    box.connect_outside(
        backend=backend,
        publish=["8000-8001:80-81", "7000:7001/udp", "127.0.0.2:8002:82"],
        host_ip="127.0.0.1",
        host_loopback=True,
    )
    for outer, inner in ((8000, 80), (8001, 81)):
        with server("0.0.0.0", inner, ns=box):
            assert echoed(None, "127.0.0.1", outer)
    with server("0.0.0.0", 82, ns=box):
        assert echoed(None, "127.0.0.2", 8002)
        assert not echoed(None, "127.0.0.1", 8002, wait=1)
    with server("0.0.0.0", 7001, UDP, box):
        assert echoed(None, "127.0.0.1", 7000, UDP)


def test_udp_to_a_lower_port(box: Namespace, backend: str) -> None:
    """An old pasta would lose the answers, so a rule inside changes the number."""
    outside = box.connect_outside(backend=backend, publish=["0.0.0.0:5353:53/udp"], host_loopback=True)
    with server("0.0.0.0", 53, UDP, box):
        assert echoed(None, "127.0.0.1", 5353, UDP)
        assert echoed(None, "127.0.0.1", 5353, UDP)
    outside.delete()
    assert nft(box) == []


def test_udp_to_a_lower_port_from_another_address(box: Namespace, host: Namespace, backend: str) -> None:
    """A client that is not on the outside's loopback: what it sends comes by the device."""
    with (
        Namespace.current() as here,
        VethPair(
            here, host, name="lan", peer_name="lan", address="192.0.2.1/24", peer_address="192.0.2.2/24"
        ),
    ):
        box.connect_outside(backend=backend, publish=["192.0.2.1:5353:53/udp"])
        with server("0.0.0.0", 53, UDP, box):
            assert echoed(host, "192.0.2.1", 5353, UDP)


@pytest.mark.parametrize(("said", "rules"), [("--mtu", 2), ("--map-host-loopback ADDR", 0)])
def test_how_old_a_pasta_is(
    box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, rules: int
) -> None:
    """By an option that came later: some builds do not know their version."""
    pasta = shutil.which("pasta")
    if pasta is None:
        pytest.skip(str(lacks("pasta")))
    fake(tmp_path, monkeypatch, "pasta", f"[ $1 = --help ] && echo '  {said}' && exit 0; exec {pasta} $*")
    outside = box.connect_outside(publish=["5353:53/udp", "5354:5354/udp", "5355:55/tcp"])
    assert len(outside._redirects) == rules
    assert all(rule.exists for rule in outside._redirects)


def test_udp_on_the_loopback_by_slirp4netns(box: Namespace) -> None:
    with pytest.raises(SpecError, match="host_loopback=True"):
        box.connect_outside(backend="slirp4netns", publish=["53/udp"])


def test_a_published_ipv6_address(box: Namespace, v6_outside: None) -> None:
    if reason := lacks("pasta"):
        pytest.skip(reason)
    box.connect_outside(backend="pasta", ipv6=True, publish=["[::1]:8080:80"])
    with server("::", 80, ns=box):
        assert echoed(None, "::1", 8080)


def test_ipv6_ports_are_not_for_slirp4netns(
    box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake(tmp_path, monkeypatch, "slirp4netns", "exit 7")
    with pytest.raises(BackendError, match="Debian package passt"):
        box.connect_outside(publish=["[::1]:8080:80"])


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_a_port_that_is_taken(box: Namespace, backend: str, kind: int) -> None:
    proto = "tcp" if kind == socket.SOCK_STREAM else "udp"
    with server(kind=kind) as port:
        with pytest.raises(ExistsError) as caught:
            box.connect_outside(backend=backend, publish=[f"{port}:80/{proto}"], host_loopback=True)
        assert caught.value.operation == f"publish 127.0.0.1:{port}->80/{proto}"
        assert f"127.0.0.1:{port} is held by this process (" in str(caught.value)
        assert "tap0" not in box.links
        assert helpers() == {}
        elsewhere = f"127.0.0.2:{port}:{port}/{proto}"
        box.connect_outside(backend=backend, publish=[elsewhere], host_loopback=True)


def test_an_address_that_the_machine_has_not(box: Namespace, any_backend: None) -> None:
    with pytest.raises(NotFoundError, match="is no address of this machine"):
        box.connect_outside(publish=["192.0.2.77:8080:80"])


def test_a_port_taken_at_the_last_moment(
    box: Namespace, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the program's start: the program says so itself."""
    monkeypatch.setattr(module, "choose_ports", lambda published: published)
    with server() as port, pytest.raises((CommandError, BackendError), match=str(port)):
        box.connect_outside(backend=backend, publish={port: 80})
    assert helpers() == {}
    assert "tap0" not in box.links


# -- its end --------------------------------------------------------------------------------------


def test_deleting_frees_all(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend, publish={8080: 80})
    assert len(helpers()) == 3  # the keeper, process 1 of its pid namespace, the program
    outside.delete()
    assert helpers() == {}
    assert "tap0" not in box.links
    assert not outside.exists
    with pytest.raises(StateError):
        outside.delete()
    with pytest.raises(StateError):
        _ = outside.link
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 8080))
    outside.create()
    assert outside.exists


@pytest.mark.parametrize("wait", [True, False])
def test_it_ends_with_the_namespace(backend: str, wait: bool) -> None:
    box = Namespace().create()
    outside = box.connect_outside(backend=backend, publish={8080: 80})
    box.delete(wait=wait)
    assert helpers() == {}
    assert not outside.exists
    with pytest.raises(StateError):
        outside.delete()


@pytest.mark.parametrize("wait", [True, False])
def test_it_ends_with_a_namespace_that_does_not_hold_it(backend: str, wait: bool) -> None:
    box = Namespace().create()
    with Scope(wait=wait) as lab:
        outside = lab.own(Outside(box, backend=backend))  # type: ignore[arg-type]
        box.delete(wait=wait)
        assert helpers() == {}
        assert not outside.exists


def test_a_scope_takes_it_over(box: Namespace, backend: str) -> None:
    with Scope() as lab:
        outside = lab.own(box.connect_outside(backend=backend))
        assert outside.exists
    assert helpers() == {}
    assert not outside.exists


def test_created_together_with_others(backend: str) -> None:
    with Scope() as lab:
        box = Namespace()
        other = Outside(box, backend=backend, publish=[80])  # type: ignore[arg-type]
        lab.own(box, other)
        assert other.exists
    assert helpers() == {}


@pytest.mark.slow
def test_thirty_times(box: Namespace, backend: str) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with Outside(box, backend=backend, publish=["80"]):  # type: ignore[arg-type]
        inside = descriptors()
    before = descriptors()
    for _ in range(30):
        with Outside(box, backend=backend, publish=["80"]):  # type: ignore[arg-type]
            assert descriptors() == inside
    assert descriptors() == before
    assert helpers() == {}


def test_the_program_is_killed(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend)
    all_of_it = set(helpers())
    os.kill(program_of(outside), signal.SIGKILL)
    assert gone(all_of_it) == []
    assert not outside.exists
    outside.delete()


def test_its_keeper_is_killed(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend, publish={8080: 80})
    program = program_of(outside)
    keepers = sorted(set(helpers()) - {program})
    os.kill(keepers[0], signal.SIGKILL)
    outside.delete()
    assert gone({*keepers, program}) == []
    assert "tap0" not in box.links


@pytest.mark.parametrize("which", [0, 1])
def test_no_keeper_no_program(backend: str, which: int, box: Namespace) -> None:
    """The kernel ends a pid namespace with its process 1; the keeper above that only waits."""
    outside = box.connect_outside(backend=backend)
    program = program_of(outside)
    supervisor, init = sorted(set(helpers()) - {program})
    os.kill(init, signal.SIGKILL)
    assert gone({supervisor, init, program}) == []
    outside.delete()


HOLDS = """
import os, sys
from netkit import *
box = Namespace().create()
outside = box.connect_outside(backend=sys.argv[1], publish=[80])
print(outside.published[0].host_port, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None])
def test_it_ends_with_the_process(backend: str, number: int | None) -> None:
    argv = [sys.executable, "-W", "ignore", "-c", HOLDS, backend]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        pids = set(helpers())
        assert len(pids) == 3
        if number is None:
            process.communicate()
        else:
            processes.interrupt(process, number)
    assert gone(pids) == []
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))


BUSY = """
import sys
print("ready", flush=True)
from netkit import *
with Namespace() as box:
    while True:
        with Outside(box, backend=sys.argv[1], publish=["80"]):
            pass
"""
# Orphans become its children (PR_SET_CHILD_SUBREAPER): when it has none any more, nothing is left.
KILLER = """
import ctypes, os, select, signal, subprocess, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
for moment in range(20):
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", *sys.argv[1:]], stdout=-1) as process:
        assert process.stdout.readline() == b"ready\\n"
        select.select([], [], [], 0.1 + moment * 0.017)
        assert process.poll() is None
        process.kill()
signal.alarm(300)
try:
    while True:
        os.waitpid(-1, 0)
except ChildProcessError:
    print("nothing is left")
"""


@pytest.mark.slow
def test_killed_at_many_moments_nothing_is_left(backend: str) -> None:
    """While it is made, while it is there, while it ends."""
    argv = [sys.executable, "-c", KILLER, BUSY, backend]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=5 * LONG)
    assert (done.stdout, done.stderr, done.returncode) == ("nothing is left\n", "", 0)


@pytest.mark.parametrize("moment", range(0, 60, 4))
def test_an_interrupt_leaves_nothing(
    box: Namespace, any_backend: None, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """At any moment of the creation; what it takes is some 40 ms."""

    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    # Where one comes in a finalizer, Python reports it and goes on.
    monkeypatch.setattr(sys, "unraisablehook", lambda what: None)
    outside = Outside(box, publish=["80"])
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + moment / 1000)
        outside.create()
        while not came:  # it was faster
            os.sched_yield()
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if outside.exists:
        outside.delete()
    assert helpers() == {}
    assert "tap0" not in box.links
    outside.create()
    assert outside.exists


def test_a_forked_child_changes_nothing(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend)
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(heard, 1)  # it lives on, with copies of all descriptors
        os._exit(0)
    try:
        assert outside.exists
        outside.delete()
        assert helpers() == {}
    finally:
        os.write(told, b"x")
        os.waitpid(child, 0)
        os.close(heard)
        os.close(told)


DETACHES = """
import sys
from netkit import *
box = Namespace.open(sys.argv[2])
outside = box.connect_outside(backend=sys.argv[1], publish={8080: 80}).detach()
print(outside.exists, flush=True)
"""


def test_detached_it_outlives_the_process(backend: str) -> None:
    with Namespace("long-lived") as box:
        argv = [sys.executable, "-c", DETACHES, backend, "long-lived"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LONG)
        assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
        with server("0.0.0.0", 80, ns=box):
            assert echoed(None, "127.0.0.1", 8080)
        assert addresses(box, "tap0") == ["10.0.2.100/24"]
        (program,) = [pid for pid, line in helpers().items() if line.split(" ")[0].endswith(backend)]
        os.kill(program, signal.SIGKILL)
        assert gone({program}) == []


def test_adopted_again_it_ends_with_its_block(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend).detach()
    assert outside.exists
    with pytest.raises(StateError):
        outside.delete()
    outside.adopt()
    outside.delete()
    assert helpers() == {}


ADOPTS = """
import os, signal, sys
from netkit import *
box = Namespace.open(sys.argv[1])
outside = Outside(box).adopt()
print(outside.backend, *outside.published, next(iter(outside.link.addresses)), outside.gateway, outside.dns)
if sys.argv[2] == "delete":
    outside.delete()
elif sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif sys.argv[2] == "detach":
    outside.detach()
"""


@pytest.mark.parametrize("end", ["delete", "exit", "kill"])
def test_another_process_adopts_it(backend: str, end: str) -> None:
    """By the namespace and the device; from hand to hand, and with the last one it ends."""
    with Namespace("long-lived") as box:
        script = DETACHES.replace("publish=", "address='10.7.0.9/24', dns=False, publish=")
        subprocess.run([sys.executable, "-c", script, backend, "long-lived"], check=True, timeout=LONG)
        told = f"{backend} 127.0.0.1:8080->80/tcp 10.7.0.9/24 10.7.0.2 None\n"
        for verb in ("detach", end):
            assert addresses(box, "tap0") == ["10.7.0.9/24"]
            argv = [sys.executable, "-u", "-c", ADOPTS, "long-lived", verb]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=LONG)
            killed = verb == "kill"
            assert (done.stdout, done.returncode) == (told, -signal.SIGKILL if killed else 0), done.stderr
            assert ("still owned at exit" in done.stderr) <= (verb == "exit")
        assert gone({*helpers()}) == []
        assert "tap0" not in box.links
        with pytest.raises(NotFoundError, match="detach"):
            Outside(box).adopt()


def test_rules_of_its_ports_are_adopted_with_it(box: Namespace) -> None:
    if reason := lacks("pasta"):
        pytest.skip(reason)
    lost = [PublishedPort("udp", "127.0.0.1", 5353, 53)]
    outside = box.connect_outside(backend="pasta", publish=["127.0.0.1:5353:53/udp"])
    if not outside._lost:  # a newer pasta; what this one makes good is made here
        outside._lost = lost
        outside._redirects = [rule.create() for rule in redirects(box, lost, "10.0.2.100")]
        for rule in outside._redirects:
            outside._hold(rule)
    rules = box.snapshot().nat
    assert len(rules) == 2
    outside.detach()
    other = Outside(box).adopt()
    assert [str(each) for each in other.published] == ["127.0.0.1:5353->53/udp"]
    other.delete()
    assert box.snapshot().nat == ()
    with pytest.raises(StateError, match=r"another process has adopted it|has ended"):
        outside.adopt()


def test_what_is_owned_cannot_be_adopted(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend)
    with pytest.raises(NotFoundError, match="owns it, and has to detach"):
        Outside(box).adopt()
    assert outside.exists
    outside.delete()


@pytest.mark.parametrize("says", [b"", b"x", "detach", "adopt"])
def test_who_knocks_and_says_something_else(box: Namespace, backend: str, says: bytes | str) -> None:
    """The keeper hangs up, and goes on for who knows what to say."""
    outside = box.connect_outside(backend=backend).detach()
    with box.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
        visitor.settimeout(LONG)
        visitor.connect(b"\0netkit-outside-tap0")
        if isinstance(says, str):
            frames.send(visitor, frames.REQUEST, 0, {"request": says}, [0] if says == "detach" else [])
        elif says:
            visitor.send(says)
        if says:
            assert visitor.recv(100) == b""
    assert outside.exists
    Outside(box).adopt().delete()
    assert gone({*helpers()}) == []  # the keeper above, which only waited


# -- where it cannot be ---------------------------------------------------------------------------


def test_the_current_namespace_is_outside(any_backend: None) -> None:
    with Namespace.current() as here, pytest.raises(SpecError, match="is the outside"):
        here.connect_outside()


def test_a_borrowed_namespace(box: Namespace, backend: str) -> None:
    with Namespace.from_fd(box.fileno()) as borrowed:
        outside = borrowed.connect_outside(backend=backend)
        assert outside.exists
    assert outside.exists  # owned, so it keeps what it needs
    outside.delete()
    assert helpers() == {}


def test_outside_is_where_the_thread_is(box: Namespace, host: Namespace, backend: str) -> None:
    with host.entered():
        box.connect_outside(backend=backend, publish=["8080:80"])
    assert not echoed(None, "127.0.0.1", 8080, wait=1)
    with server("0.0.0.0", 80, ns=box):
        assert echoed(host, "127.0.0.1", 8080)


def test_a_second_one(box: Namespace, backend: str) -> None:
    box.connect_outside(backend=backend, host_loopback=True)
    with pytest.raises(ExistsError, match="'tap0' is taken"):
        box.connect_outside(backend=backend)
    with pytest.raises(ExistsError, match="default_route=False"):
        box.connect_outside(backend=backend, name="tap1", address="10.0.3.100/24")
    assert len(helpers()) == 3
    assert [each.name for each in box.links] == ["lo", "tap0"]
    box.connect_outside(
        backend=backend, name="tap1", address="10.0.3.100/24", default_route=False, host_loopback=True
    )
    with server() as port:
        assert echoed(box, "10.0.2.2", port)
        assert echoed(box, "10.0.3.2", port)


def test_a_name_that_is_taken(box: Namespace, any_backend: None) -> None:
    with VethPair(box, box, name="tap0", peer_name="other"):
        with pytest.raises(ExistsError, match="'tap0' is taken"):
            box.connect_outside()
        assert link(box, "tap0")["linkinfo"]["info_kind"] == "veth"


# -- programs that are not there, or fail ---------------------------------------------------------


def fake(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """The only program in PATH."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))


@pytest.mark.parametrize("path", ["", "/nonexistent", "."])
def test_no_program(box: Namespace, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("PATH", path)
    with pytest.raises(BackendError, match=r"`pasta` \(Debian package passt\) nor `slirp4netns` \(Debian"):
        box.connect_outside()
    with pytest.raises(BackendError, match=r'Debian package passt.*backend="slirp4netns"'):
        box.connect_outside(backend="pasta")
    assert helpers() == {}


@pytest.mark.parametrize("device", [None, "/dev/null"])
def test_no_tun_device(
    box: Namespace, monkeypatch: pytest.MonkeyPatch, any_backend: None, tmp_path: Path, device: str | None
) -> None:
    """As in containers, where it is not there, or something else is."""
    monkeypatch.setattr(outside_programs, "TUN", device or str(tmp_path / "tun"))
    with pytest.raises(BackendError, match="in a container `--device"):
        box.connect_outside()
    assert helpers() == {}


def test_its_own_words(box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(
        tmp_path,
        monkeypatch,
        "pasta",
        "echo 'Failed to send 5 bytes to syslog' >&2; echo it rains >&2; exit 3",
    )
    with pytest.raises(CommandError, match=r"exit status 3.*it rains") as caught:
        box.connect_outside()
    assert caught.value.cmd[0] == str(tmp_path / "pasta")
    assert caught.value.returncode == 3
    assert b"syslog" not in caught.value.stderr
    assert helpers() == {}


def test_words_without_end(box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = (
        "i=0; while [ $i -lt 9000 ]; do echo all work and no play >&2; i=$((i+1)); done; echo end >&2; exit 1"
    )
    fake(tmp_path, monkeypatch, "pasta", script)
    with pytest.raises(CommandError, match="play\nend"):
        box.connect_outside()


def test_it_never_becomes_ready(box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sleep = processes.unique_sleep()
    fake(tmp_path, monkeypatch, "pasta", f"exec /bin/{sleep}")
    monkeypatch.setattr(module, "_PATIENCE", 0.3)
    with pytest.raises(WaitTimeout, match=r"was not ready within 0\.3 s"):
        box.connect_outside()
    assert helpers() == {}
    assert processes.running(sleep) == set()


def test_it_is_no_program(box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(tmp_path, monkeypatch, "pasta", "")
    (tmp_path / "pasta").write_bytes(b"\x7fELF, but nothing follows")
    with pytest.raises(KernelError, match=r"start `.*pasta`"):
        box.connect_outside()
    assert helpers() == {}


def test_a_real_failure(box: Namespace, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that the program itself refuses."""
    order = module.Errand.order

    def wrong(self: Any, program: str, path: str, template: str) -> dict[str, Any]:
        made = order(self, program, path, template)
        made["argv"] = [path, "--no-such-option"]
        return made

    monkeypatch.setattr(module.Errand, "order", wrong)
    with pytest.raises(CommandError, match="no-such-option"):
        box.connect_outside(backend=backend)
    assert helpers() == {}


@pytest.mark.slow
def test_descriptors_run_out(box: Namespace, any_backend: None) -> None:
    """At each place where one is missing, nothing is left."""
    refused = 0
    for room in range(16):
        with few_descriptors(room):
            try:
                Outside(box).create().delete()
            except (KernelError, OSError):
                refused += 1
        assert helpers() == {}
        assert "tap0" not in box.links
    assert 3 < refused < 16


@contextmanager
def few_descriptors(room: int) -> Iterator[None]:
    """So many are free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + room, hard))
    taken: list[int] = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for _ in range(room):
            os.close(taken.pop())
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
