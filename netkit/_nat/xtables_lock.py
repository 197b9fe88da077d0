"""The lock that every iptables-legacy command takes, with a deadline and its holder's name.

python-iptables does not take it, and each of its commits replaces the whole table: without the
lock a rule added by somebody else in between is lost. It is a flock on one file per mount
namespace, whatever the network namespace (iptables/xshared.c). For a worker program with one
thread: the deadline is a SIGALRM.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

_TICK = 0.05  # the alarm rings again: the first ring may come just before flock() is entered


class LockHeld(Exception):
    """The deadline passed while somebody else had the lock; the text names the holder."""


class _Alarm(Exception):
    pass


def lock_path() -> str:
    """The file iptables-legacy itself would lock."""
    return os.environ.get("XTABLES_LOCKFILE") or "/run/xtables.lock"


@contextmanager
def xtables_lock(deadline: float) -> Generator[None]:
    """Hold the lock for the block; LockHeld after ``deadline`` seconds, OSError if it can't be opened."""
    path = lock_path()
    file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _locked(file, deadline):
            raise LockHeld(f"{path} was held for {deadline:g} s by {holder(file)}")
        yield
    finally:
        os.close(file)


def _locked(file: int, deadline: float) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return deadline > 0 and _wait(file, deadline)


def _wait(file: int, deadline: float) -> bool:
    armed = True

    def ring(number: int, frame: object) -> None:
        nonlocal armed
        if armed:  # once: a second ring must not raise outside the try below
            armed = False
            raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, deadline, _TICK)
        fcntl.flock(file, fcntl.LOCK_EX)
        armed = False
        return True
    except _Alarm:
        return False
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def holder(file: int) -> str:
    """Who has the lock on the open file, in words, from /proc/locks."""
    pids = _holder_pids(os.fstat(file))
    if not pids:
        return "a process that this one cannot see (another pid namespace?)"
    return " and ".join(f"process {pid} ({_command(pid)})" for pid in pids)


def _holder_pids(status: os.stat_result) -> list[int]:
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    wanted = f"{device}:{status.st_ino}"
    pids: list[int] = []
    with open("/proc/locks") as locks:
        for line in locks:  # 1: FLOCK  ADVISORY  WRITE 1234 00:1a:567 0 EOF
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == wanted and int(fields[4]) > 0:
                pids.append(int(fields[4]))
    return pids


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(400).replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError as error:
        return "ended" if error.errno in (errno.ENOENT, errno.ESRCH) else "unreadable"
    return words or "a kernel thread"
