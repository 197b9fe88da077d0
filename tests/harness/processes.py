"""Which processes came out of this one, and waiting for those that are ending."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import NoReturn

from netkit._system import broker
from tests.harness import isolation
from tests.harness.patience import LONG

_PR_SET_CHILD_SUBREAPER = 36
_HEARD = LONG / 10  # seconds in which a process has ended if it has heard of a signal


def leftovers(mark: str, *, except_for: set[int], grace: float) -> list[str]:
    """Processes that descend from this one or carry `mark` in their environment and go on living."""
    ignored = except_for | {os.getpid()}
    deadline = time.monotonic() + grace
    return [line for pid in sorted(family(mark) - ignored) if (line := wait(pid, deadline))]


def family(mark: str) -> set[int]:
    """Descendants by parent, and orphans (a daemon's parent is init) by environment."""
    living = [pid for pid in _pids() if parent_of(pid) is not None]
    return {pid for pid in living if _has_mark(pid, mark)} | descendants(os.getpid()) | _of_this_place()


def descendants(*ancestors: int) -> set[int]:
    """Their living children, theirs, and so on."""
    parents = {pid: parent for pid in _pids() if (parent := parent_of(pid)) is not None}
    found: set[int] = set()
    wanted = {*ancestors}
    while wanted:
        wanted = {pid for pid, parent in parents.items() if parent in wanted}
        found |= wanted
    return found


def end_with_starter() -> None:
    """The caller goes on as a child of this process, which watches it and ends as it does.

    When who has started it closes the other end of standard input, or ends, all that came out of it is
    killed. That takes no signal: Python looks for signals before a wait and not in it, so one may come too
    late; and who has started it may end before it could ask for one.
    """
    be_subreaper()
    pid = os.fork()
    if pid:
        _watch(pid)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)


def _watch(pid: int) -> NoReturn:
    status = 1
    try:
        pidfd = os.pidfd_open(pid)
        if pidfd in select.select([pidfd, 0], [], [])[0]:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF
        else:
            _end_descendants()
    finally:
        os._exit(status)


def _end_descendants() -> None:
    """Of a subreaper: those whose parent is killed become its children, so in the end it has none."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def interrupt(process: subprocess.Popen[str] | subprocess.Popen[bytes], number: int = signal.SIGINT) -> None:
    """Send a signal by which a handler of Python ends the process, and again if it goes on: one that comes
    just before a wait is seen when that ends."""
    until = time.monotonic() + LONG
    while process.poll() is None and time.monotonic() < until:
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_HEARD)
    process.wait(0)


def be_subreaper() -> None:
    """Orphans become our children, so that none is out of sight."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(parent: int) -> set[int]:
    """The living children of a process."""
    return {pid for pid in _pids() if parent_of(pid) == parent}


def children() -> dict[int, str]:
    """The living children of this process and of its broker, and its helpers, with their command lines."""
    running = broker.running()
    parents = {os.getpid(), running.pid} if running else {os.getpid()}
    born = {pid for pid in _pids() if parent_of(pid) in parents}
    return {pid: command(pid) for pid in born | _of_this_place() | {*broker.processes()}}


def _of_this_place() -> set[int]:
    """The others in this process's mount namespace, if it has its own, and their descendants: helpers are
    nobody's children."""
    if not isolation.isolated:
        return set()
    own = _place("self")
    here = {pid for pid in _pids() if parent_of(pid) is not None and _is_at(pid, own)}
    return (here | descendants(*here)) - {os.getpid()}


def _is_at(pid: int, own: tuple[int, int]) -> bool:
    try:
        return _place(pid) == own
    except OSError:
        return False


def _place(pid: int | str) -> tuple[int, int]:
    found = os.stat(f"/proc/{pid}/ns/mnt")
    return found.st_dev, found.st_ino


def unique_sleep() -> str:
    """A command that no other session runs: one may see the processes of another, which has its own pids."""
    return f"sleep {10**6 + int.from_bytes(os.urandom(5), 'little')}"


def running(text: str) -> set[int]:
    """Processes whose command line has this in it."""
    return {pid for pid in _pids() if text in command(pid)}


def command(pid: int) -> str:
    """The command line, empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent_of(pid: int) -> int | None:
    """Its pid; None for one that is gone or a zombie, which holds nothing any more."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(parent)


def _has_mark(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def wait(pid: int, deadline: float) -> str:
    """Empty if the process ends before the deadline, else what it is."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return ""
    try:
        ended, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
    finally:
        os.close(fd)
    return "" if ended else f"{pid} {command(pid)}"
