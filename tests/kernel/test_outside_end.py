"""The end of a way outside, by its own or another's: programs and ports are gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from netkit import Namespace, Outside, Scope, StateError
from tests.harness import processes
from tests.harness.outside import BUSY, any_backend, backend, gone, helpers, program_of
from tests.harness.patience import LONG
from tests.harness.tools import needs_tun

__all__ = ["any_backend", "backend"]  # the fixtures

# Else the outside would be the machine's own network; tests/rootless has an ordinary user's.
pytestmark = [pytest.mark.capable, needs_tun]


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
