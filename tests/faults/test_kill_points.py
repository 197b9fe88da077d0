"""SIGKILL at every system call that changes kernel state: within two seconds the host is what it was (F01).

The host is compared as a whole: links, addresses, routes, rules, both firewalls, sysctls, namespace
directory, journal, mounts, and no process is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.faults.conftest import SOAK
from tests.harness import processes
from tests.harness.patience import LONG
from tests.harness.sweep import Sweep, sweep
from tests.harness.syscall_stops import cannot_stop
from tests.harness.tools import needs

pytestmark = [
    pytest.mark.kernel,
    needs("ip", "nft", "iptables-legacy"),
    pytest.mark.skipif(bool(cannot_stop()), reason=cannot_stop() or ""),
]

# The others are done by a soak: `by_the_kernel` is what needs no guard, `without_root` the broker's.
OTHERS = [
    "by_the_kernel",
    "in_the_host",
    "together",
    "star",
    "published",
    "published_by_iptables",
    "proxied",
    "opened",
    "without_root",
]
SOAKED = pytest.mark.skipif(not SOAK, reason="make soak")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["whole", *(pytest.param(each, marks=SOAKED) for each in OTHERS)])
def test_F01_killed_at_every_call_nothing_is_left(
    scenario: str, seed: int, soak: bool, count: Callable[..., None]
) -> None:
    check(f"Every kill point: {scenario.replace('_', ' ')}", sweep(scenario, seed), soak, count)


@pytest.mark.slow
def test_F01_killed_with_its_guard_gc_removes_the_rest(
    seed: int, soak: bool, count: Callable[..., None]
) -> None:
    """As with a whole cgroup; of the points every n-th in the suite, all in a soak."""
    found = sweep("whole", seed, most=None if soak else 24, everybody=True)
    check("Killed with all its helpers, then netkit gc", found, soak, count)
    assert soak or found.points >= 20


def test_a_sweep_that_is_killed_leaves_no_program() -> None:
    """What kills runs as a program of its own, which waits for the next call of its child."""
    code = "from tests.harness.sweep import sweep; sweep('whole', 1)"
    left: list[int] = []
    # In a session of its own, or the kernel would let those go on that are stopped here (_exit(2)).
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as sweeping:
        try:
            until = time.monotonic() + LONG
            while len(left) < 6 and time.monotonic() < until:
                left = sorted(processes.descendants(sweeping.pid))
            assert len(left) >= 6  # two that watch a program that has a child
            watching = processes.children_of(sweeping.pid)
            programs = {pid for each in watching for pid in processes.children_of(each)}
            for pid in set(left) - watching - programs:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)  # no call comes
        finally:
            sweeping.kill()
    assert _living(left) == []


# It hears no signal but SIGKILL, as if each came just before a wait; it has a stopped child, and another
# that is an orphan.
DEAF = """
import ctypes, os, signal
from tests.harness import processes
processes.end_with_starter()
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
if not os.fork():
    if not os.fork():
        os.fork() or signal.pause()
        os._exit(0)
    os.wait()
    os.kill(os.getpid(), signal.SIGSTOP)
os.waitid(os.P_ALL, 0, os.WSTOPPED)
print("deaf", flush=True)
lock = ctypes.create_string_buffer(64)
while True:
    ctypes.CDLL(None).pthread_mutex_lock(lock)
"""


@pytest.mark.parametrize("begun", [True, False])
def test_a_program_of_the_harness_ends_with_its_starter(begun: bool) -> None:
    """Even if that has ended before it begins. Each of its processes holds standard output."""
    command = [sys.executable, "-c", DEAF]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert not begun or program.stdout.readline() == "deaf\n"
            said, _ = program.communicate(timeout=LONG)
            assert ("deaf\n".startswith(said), program.returncode) == (True, 1), said
        finally:
            for pid in {program.pid, *processes.descendants(program.pid)}:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


WATCHER = """
import os
from tests.harness.syscall_stops import watched
with watched(lambda: os.mkdir("/proc/none")) as child:
    for stop in child.stops(30, 1):
        print(child.pid, flush=True)
        os.kill(os.getpid(), 9)
"""


def test_what_is_stopped_ends_with_who_watches() -> None:
    with subprocess.Popen([sys.executable, "-c", WATCHER], stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        child = int(watching.stdout.readline())
    assert _living([child]) == []


def _living(pids: list[int]) -> list[str]:
    """Which of them do not end, and are ended here."""
    until = time.monotonic() + LONG
    lines = [line for pid in pids if (line := processes.wait(pid, until))]
    for pid in pids if lines else []:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return lines


def check(item: str, found: Sweep, soak: bool, count: Callable[..., None]) -> None:
    """Nothing is left, in time, and no point was left out."""
    count(item, points=found.points, differences=len(found.left), late=found.late, slowest=found.slowest)
    assert found.left == []
    assert found.points * found.step > 60
    assert found.late == 0 or not soak or _is_busy()


def _is_busy() -> bool:
    """Whether others have the processors, so that nobody can promise two seconds."""
    return os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
