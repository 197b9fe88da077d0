"""A program's children are its own: netkit's helpers are none, and hold nothing that is theirs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from netkit import Namespace, NotFoundError
from netkit._system import orphan
from tests.harness import place
from tests.harness.outside import PROGRAMS
from tests.harness.patience import LONG
from tests.harness.tools import IPTABLES, MISSING

# What starts helpers: the guard, or without root the broker; the worker of iptables; the keeper.
BUILD = """
import os, signal, sys, threading
from contextlib import ExitStack
from netkit import *
stack = ExitStack()
def build():
    box = stack.enter_context(Namespace("box"))
    if IPTABLES:
        stack.enter_context(NatRule.masquerade(box, oif="eth0", backend="iptables"))
    if OUTSIDE:
        stack.enter_context(box.connect_outside(ipv6=False))
    return box
def start(*argv):
    return os.posix_spawn("/bin/sh", ["sh", "-c", *argv], {})
def no_children():
    try:
        assert not os.waitpid(-1, os.WNOHANG), "a child"
    except ChildProcessError:
        return True
"""
ARE_CHILDREN = """
build()
assert os.waitpid(-1, os.WNOHANG) == (0, 0)
stack.close()
shutdown()
assert no_children()
print("done")
"""
HAS = {
    "IPTABLES": IPTABLES,
    # Without root it would be a way to the machine's own network.
    "OUTSIDE": not place.ROOTLESS and not {*PROGRAMS} <= {*MISSING},
}


def said_by(program: str) -> str:
    """What the program prints, which is run with all helpers that can be run here; it must end well."""
    known = "".join([f"{name} = {value}\n" for name, value in HAS.items()])
    argv = [sys.executable, "-W", "error", "-c", known + BUILD + program]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_wait_returns_the_programs_own_children_only() -> None:
    """It neither gets a helper's end nor waits for it."""
    program = """
build()
mine = start("exit 3")
assert os.wait() == (mine, 3 << 8)
try:
    os.wait()
except ChildProcessError:
    print("no more")
stack.close()
assert no_children()
shutdown()
assert no_children()
"""
    assert said_by(program) == "no more\n"


def test_a_thread_that_waits_for_all_children_disturbs_nothing() -> None:
    """It may get the shell that started a helper, which is there for a millisecond."""
    program = """
seen, mine, last = {}, start("exit 7"), start("exec sleep 99")
def reap():
    while last not in seen:
        pid, status = os.wait()
        seen[pid] = os.waitstatus_to_exitcode(status)
thread = threading.Thread(target=reap)
thread.start()
for _ in range(5):
    build()
    stack.close()
    shutdown()
os.kill(last, signal.SIGKILL)
thread.join()
assert (seen.pop(mine), seen.pop(last)) == (7, -9)
assert set(seen.values()) <= {0}, seen
print("done")
"""
    assert said_by(program) == "done\n"


def test_a_handler_that_reaps_everything_disturbs_nothing() -> None:
    program = """
seen = []
def reap(number, frame):
    try:
        while (told := os.waitpid(-1, os.WNOHANG))[0]:
            seen.append(told[1])
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, reap)
for _ in range(5):
    build()
    stack.close()
    shutdown()
assert set(seen) <= {0}, seen
print("done")
"""
    assert said_by(program) == "done\n"


def test_with_sigchld_ignored_everything_works() -> None:
    """Then no status of a child is told to anybody, helpers' own children included, if they inherit it."""
    program = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
box = build()
print([link.name for link in box.links][0], box.call(os.getpid) > 0)
stack.close()
assert no_children()
"""
    assert said_by(program) == "lo True\n"


def test_asyncio_gets_the_ends_of_its_own_children() -> None:
    program = """
import asyncio
async def one(number):
    process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number}")
    return await process.wait()
async def main():
    build()
    found = await asyncio.gather(*[one(number) for number in range(1, 9)])
    stack.close()
    return found
print(asyncio.run(main()))
"""
    assert said_by(program) == "[1, 2, 3, 4, 5, 6, 7, 8]\n"


def test_who_is_given_orphans_has_the_helpers_until_it_ends_them() -> None:
    """A process 1 or a subreaper: after shutdown() nothing of them is left, no zombie either."""
    program = """
import ctypes
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
"""
    assert said_by(program + ARE_CHILDREN) == "done\n"


def test_helpers_hold_nothing_open_that_is_inheritable() -> None:
    """It is so for a child of the program's own: whoever reads from it would wait for the helper's end."""
    program = """
heard, told = os.pipe()
os.set_inheritable(told, True)
build()
os.close(told)
os.set_blocking(heard, False)
print(os.read(heard, 1))
stack.close()
"""
    assert said_by(program) == "b''\n"


def test_without_a_shell_they_are_children() -> None:
    program = """
from netkit._system import orphan
orphan._SHELL = "/nowhere/sh"
"""
    assert said_by(program + ARE_CHILDREN) == "done\n"


def test_without_its_interpreter_a_helper_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the virtual environment was deleted: before anything is made that it is to guard."""
    import netkit

    netkit.shutdown()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    refusal = r"cannot start the helper process of .*/nowhere/python"
    with pytest.raises(NotFoundError, match=refusal), Namespace("box"):
        pass
    assert not os.path.lexists("/run/netns/box")


def test_a_shell_that_cannot_fork_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphan, "_IN_BACKGROUND", "exit 2")
    null = os.open(os.devnull, os.O_RDWR)
    try:
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            orphan.start(["/bin/true"], {}, [null] * 3)
    finally:
        os.close(null)
