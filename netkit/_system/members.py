"""Ending processes: those we started, and all that run in a namespace of ours. No sleeps: pidfds."""

from __future__ import annotations

import errno
import os
import select
import sys
import time

from netkit._system import namespace_files as nsfs
from netkit._system.privilege import missing_capability
from netkit.errors import StateError, WaitTimeout, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    class Waitable(Protocol):
        """What subprocess.Popen has."""

        pid: int

        def kill(self) -> None: ...
        def wait(self, timeout: float | None = None) -> int: ...


_c_signal: Any = sys.modules["_signal"]  # the signal module makes enums of its constants


def await_ends(processes: Sequence[Waitable], timeout: float) -> None:
    """Reap children that were sent SIGKILL; WaitTimeout if one does not end in time."""
    from subprocess import TimeoutExpired

    deadline = time.monotonic() + timeout
    late: list[int] = []
    for process in processes:
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            process.wait()  # somebody else has reaped it
            continue
        except OSError:
            try:  # no descriptor is free, and what was killed ends soon
                process.wait(max(0.0, deadline - time.monotonic()))
            except TimeoutExpired:
                late.append(process.pid)
            continue
        try:
            if _ended(pidfd, deadline):
                process.wait()
            else:
                late.append(process.pid)
        finally:
            os.close(pidfd)
    if late:
        raise _too_late(late, timeout)


def kill_members(identity: tuple[int, int], timeout: float = 10.0) -> set[int]:
    """SIGKILL to every process in the network namespace, until none is left; their pids.

    ``identity`` is the namespace's (device, inode). Only for a namespace that netkit made:
    StateError if it is this process's own or that of process 1. A process whose main thread is
    elsewhere does not count, and this process is never a member. WaitTimeout if one does not end.
    """
    for pid in ("self", "1"):
        if nsfs.path_identity(f"/proc/{pid}/ns/net") == identity:
            raise StateError(f"the namespace is that of process {pid}: netkit does not end its processes")
    deadline = time.monotonic() + timeout
    killed: set[int] = set()
    while members := members_of(identity):
        if time.monotonic() > deadline:
            raise _too_late(members, timeout)
        killed.update(_kill(members, identity, deadline))
    return killed


def members_of(identity: tuple[int, int]) -> list[int]:
    """The processes in a network namespace, by their main threads; never this one."""
    spared = {os.readlink("/proc/self"), _guard()}
    return [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and entry not in spared and _is_member(int(entry), identity)
    ]


def _guard() -> str:
    """Our guard: for a moment it is where the thread was that started it."""
    loaded = sys.modules.get("netkit._system.journal")
    return "" if loaded is None else str(loaded.journal.guard_pid)


def _is_member(pid: int, identity: tuple[int, int]) -> bool:
    return nsfs.path_identity(f"/proc/{pid}/ns/net") == identity


def _kill(members: Sequence[int], identity: tuple[int, int], deadline: float) -> list[int]:
    """Kill members, then wait for their ends; those that had not ended before."""
    pidfds: dict[int, int] = {}
    try:
        for number in members:
            pidfd = _signalled(number, identity)
            if pidfd is not None:
                pidfds[number] = pidfd
        for pidfd in pidfds.values():
            _ended(pidfd, deadline)
    finally:
        for pidfd in pidfds.values():
            os.close(pidfd)
    return list(pidfds)


def _signalled(number: int, identity: tuple[int, int]) -> int | None:
    """Send SIGKILL to a member and return its pidfd, or None if it is a member no longer."""
    try:
        pidfd = os.pidfd_open(number)
    except ProcessLookupError:
        return None
    except OSError as error:
        raise kernel_error(f"end process {number}", error.errno or 0) from None
    try:
        if _is_member(number, identity):  # the number was not reused before the pidfd was open
            _c_signal.pidfd_send_signal(pidfd, _c_signal.SIGKILL)
            return pidfd
    except ProcessLookupError:
        pass  # it ended by itself
    except PermissionError:
        os.close(pidfd)
        missing = missing_capability("CAP_KILL")
        raise kernel_error(f"end process {number}", errno.EPERM, missing_capability=missing) from None
    os.close(pidfd)
    return None


def _ended(pidfd: int, deadline: float) -> bool:
    """Whether the process ends before the deadline: then its pidfd is readable."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _too_late(pids: Sequence[int], timeout: float) -> WaitTimeout:
    numbers = ", ".join(map(str, pids))
    return WaitTimeout(f"process {numbers} did not end within {timeout:g} s of SIGKILL")
