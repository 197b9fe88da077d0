"""Stop a program and all its threads and children at each system call that changes kernel state.

`watched(function)` forks a child behind a seccomp filter whose calls come to us (seccomp_unotify(2)), one at
a time and in the order in which the kernel took them, whichever thread or child made them. The filter looks
at numbers and flags only; what it lets by (reads, memory, clocks, locks of threads) we do not see.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import select
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl
from typing import NamedTuple

from tests.harness.patience import LONG

# arch/x86/entry/syscalls/syscall_64.tbl. What changes the network, files that others see, locks, who lives.
_ALWAYS = {
    1: "write", 3: "close", 18: "pwrite64", 44: "sendto", 46: "sendmsg", 56: "clone", 57: "fork", 58: "vfork",
    62: "kill", 73: "flock", 77: "ftruncate", 82: "rename", 83: "mkdir", 84: "rmdir", 85: "creat", 86: "link",
    87: "unlink", 88: "symlink", 90: "chmod", 91: "fchmod", 155: "pivot_root", 165: "mount", 166: "umount2",
    258: "mkdirat", 263: "unlinkat", 264: "renameat", 265: "linkat", 266: "symlinkat", 272: "unshare",
    307: "sendmmsg", 308: "setns", 316: "renameat2", 424: "pidfd_send_signal", 429: "move_mount",
    435: "clone3",
}  # fmt: skip
_OPEN, _OPENAT, _IOCTL, _SETSOCKOPT = 2, 257, 16, 54
_NAMES = _ALWAYS | {_OPEN: "open", _OPENAT: "openat", _IOCTL: "ioctl", _SETSOCKOPT: "setsockopt"}
_CREATES = os.O_CREAT | os.O_TRUNC
_SOCKET_IOCTLS = 0x8900  # SIOC...: linux/sockios.h
_LEVELS_OF_TABLES = (0, 41)  # SOL_IP, SOL_IPV6: xtables' rule sets are written with setsockopt

_BY_DESCRIPTOR = ("write", "close", "pwrite64", "ftruncate")
# An open socket owns tables, one of a namespace keeps it alive, one below /run may hold a lock.
_CLOSED = ("socket:", "net:", "/run/")
_WRITTEN = ("socket:", "/proc/", "/run/", "/memfd:")

_ARCHITECTURE = 0xC000003E  # AUDIT_ARCH_X86_64
_LOAD, _EQUAL, _SET, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06  # linux/bpf_common.h
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # struct seccomp_data

_SECCOMP, _SET_MODE_FILTER = 317, 1
# Once we know of a call, only SIGKILL ends its wait (Linux 5.19): a close(2) is no call to end with EINTR.
_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_PR_SET_NO_NEW_PRIVS = 38
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_PIDFD_GETFD = 438

_libc = ctypes.CDLL(None, use_errno=True)


class Stop(NamedTuple):
    """One system call that is about to be made: which thread, and what."""

    thread: int
    name: str
    arguments: tuple[int, ...]

    def changes_state(self) -> bool:
        """Writes and closes count by what the descriptor is: not those of ordinary files and pipes."""
        if self.name not in _BY_DESCRIPTOR:
            return True
        try:
            target = os.readlink(f"/proc/{self.thread}/fd/{self.arguments[0]}")
        except OSError:
            return False  # no such descriptor: the call will fail
        return target.startswith(_CLOSED if self.name == "close" else _WRITTEN)


def cannot_stop() -> str | None:
    """Why this machine cannot do it; None if it can."""
    if platform.machine() != "x86_64":
        return f"the numbers of system calls are those of x86_64, not of {platform.machine()}"
    if "user_notif" not in _actions():
        return "this kernel has no seccomp user notification"
    return None


def _actions() -> str:
    try:
        with open("/proc/sys/kernel/seccomp/actions_avail") as file:
            return file.read()
    except OSError:
        return ""


class Watched:
    """A child whose calls stop: iterate over `stops()`, look, perhaps `kill()`; it goes on at the next."""

    def __init__(self, pid: int, listener: int, problems: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.status: int | None = None
        self.killed_at = 0.0
        self._listener = listener
        self._problems = problems

    def stops(self, timeout: float, patience: float) -> Iterator[Stop]:
        """Every call of every process behind the filter, until the last one has ended.

        TimeoutError after `timeout` seconds without a call, or if one lives `patience` after the kill.
        """
        last: dict[int, tuple[int, ...]] = {}
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            left = self.killed_at + patience - time.monotonic() if self.killed_at else timeout
            events = poll.poll(1000 * max(0.0, left))
            if not events:
                raise TimeoutError(f"no system call and no end within {timeout} s")
            if not events[0][1] & select.POLLIN:
                return  # POLLHUP: nobody is behind the filter any more
            buffer = bytearray(_NOTIFICATION.size)
            try:
                ioctl(self._listener, _RECEIVE, buffer)
            except OSError as problem:
                if problem.errno == errno.ENOENT:
                    continue  # killed meanwhile
                raise
            number, thread, _, call, _, pointer, *arguments = _NOTIFICATION.unpack(buffer)
            stop = Stop(thread, _NAMES[call], tuple(arguments))
            # A write to forwarding is made again and again while another holds rtnl (restart_syscall).
            again = last.get(thread) == (call, pointer, *arguments)
            last[thread] = (call, pointer, *arguments)
            try:
                if not again and stop.changes_state():
                    yield stop
            finally:
                self._go_on(number)

    def _go_on(self, number: int) -> None:
        try:
            ioctl(self._listener, _SEND, bytearray(_ANSWER.pack(number, 0, 0, _CONTINUE)))
        except OSError as problem:
            if problem.errno != errno.ENOENT:  # it was killed
                raise

    def kill(self) -> None:
        """SIGKILL to the child alone, and wait for its end; its children live on.

        Only then may the call at which it stopped be answered: answered earlier, it would still be made.
        """
        self.killed_at = time.monotonic()
        os.kill(self.pid, 9)
        select.select([self.pidfd], [], [], LONG)

    def is_dead(self) -> bool:
        """Whether the child has ended, or is about to."""
        return bool(select.select([self.pidfd], [], [], 0)[0])

    def ended(self) -> str:
        """Wait for the child's end; what it said of an exception, or an empty text."""
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]
        said = b""
        while part := os.read(self._problems, 1 << 16):
            said += part
        return said.decode()

    def close(self) -> None:
        """End it if it lives, and close everything."""
        if self.status is None:
            self.kill()
            self.status = os.waitpid(self.pid, 0)[1]
        for fd in (self.pidfd, self._listener, self._problems):
            os.close(fd)


@contextmanager
def watched(function: Callable[[], object]) -> Iterator[Watched]:
    """Fork a child that calls the function behind the filter; an exception of it is its `ended()`."""
    there, here = os.pipe(), os.pipe()
    problems = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(problems[0])
            _child(function, there[0], here[1], problems[1])
        finally:
            os._exit(99)
    for fd in (there[0], here[1], problems[1]):
        os.close(fd)
    try:
        child = Watched(pid, _taken_over(pid, here[0]), problems[0])
    finally:
        os.close(here[0])
    try:
        os.write(there[1], b"g")
        os.close(there[1])
        yield child
    finally:
        child.close()


def _child(function: Callable[[], object], go: int, ready: int, problems: int) -> None:
    listener = install()
    # The filter is in force: writev is a call it does not stop.
    os.writev(ready, [struct.pack("=i", listener)])
    os.read(go, 1)
    os.close(listener)  # only who watches has it: when he is gone, nobody waits for him
    status = 0
    try:
        function()
    except BaseException:
        os.writev(problems, [traceback.format_exc().encode()[-60000:]])
        status = 1
    os._exit(status)


def _taken_over(pid: int, ready: int) -> int:
    (number,) = struct.unpack("=i", os.read(ready, 4))
    pidfd = os.pidfd_open(pid)
    try:
        listener = _libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
        if listener < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return listener
    finally:
        os.close(pidfd)


def install() -> int:
    """Put this thread, and all it will start, behind the filter; the descriptor to listen at."""
    program = _program()
    code = ctypes.create_string_buffer(b"".join(program), 8 * len(program))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    filter_ = Filter(len(program), ctypes.addressof(code))
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = _libc.syscall(
        _SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE, ctypes.byref(filter_)
    )
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp(SECCOMP_SET_MODE_FILTER)")
    return listener


def _program() -> list[bytes]:
    """A classic BPF program: NOTIFY for what is in the tables above, ALLOW for the rest."""

    def one(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    def argument(n: int) -> bytes:
        return one(_LOAD, _ARGUMENTS + 8 * n)  # its low half

    end = [one(_RETURN, _ALLOW), one(_RETURN, _NOTIFY)]

    def only(call: int, test: list[bytes]) -> list[bytes]:
        """For this call decide by the test, whose jumps lead to the two returns behind it."""
        part = [*test, *end]
        return [one(_EQUAL, call, 0, len(part)), *part]

    program = [one(_LOAD, _ARCH), one(_EQUAL, _ARCHITECTURE, 1, 0), end[0], one(_LOAD, _NUMBER)]
    for call in sorted(_ALWAYS):
        program += [one(_EQUAL, call, 0, 1), end[1]]
    program += only(_OPEN, [argument(1), one(_SET, _CREATES, 1, 0)])
    program += only(_OPENAT, [argument(2), one(_SET, _CREATES, 1, 0)])
    program += only(_IOCTL, [argument(1), one(_AND, 0xFF00), one(_EQUAL, _SOCKET_IOCTLS, 1, 0)])
    program += only(
        _SETSOCKOPT,
        [argument(1), one(_EQUAL, _LEVELS_OF_TABLES[0], 2, 0), one(_EQUAL, _LEVELS_OF_TABLES[1], 1, 0)],
    )
    return [*program, end[0]]
