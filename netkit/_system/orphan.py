"""A helper process that is no child of this one: the program's own ``os.wait()`` knows nothing of it.

A shell starts it in the background, says its number and ends, and is waited for here: a double fork. The
kernel gives the orphan to process 1, or to the next ancestor that asked for orphans. To fork twice in this
process would copy the page tables of a large one and run the at-fork handlers of other libraries.
"""

from __future__ import annotations

import os
import select
import sys
from errno import EAGAIN, EINVAL, EMFILE
from fcntl import F_DUPFD_CLOEXEC, fcntl

from netkit._system.signals import deferred_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

_signal: Any = sys.modules["_signal"]  # the signal module makes enums of its constants
_SHELL = "/bin/sh"
_FREE = 10  # above all numbers that are used below: a shell takes those of one digit only
# What is in the background reads nothing, if it is not told to; and a shell exports variables of its own.
_IN_BACKGROUND = 'unset PWD OLDPWD SHLVL; "$@" <&7 >&8 2>&9 7<&- 8>&- 9>&- & echo $!'
# A program that ignores SIGCHLD must not make its helpers ignore it. 9 and 19 cannot be set.
_TO_DEFAULT = {*range(1, 32)} - {9, 19}


class Orphan:
    """A running helper; who holds it has a descriptor that says when it ends."""

    __slots__ = ("__weakref__", "_ended", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._ended = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended = -1
        except OSError:
            os.kill(pid, _signal.SIGKILL)  # its number is a millisecond old
            raise

    @classmethod
    def held_by(cls, pidfd: int) -> Orphan:
        """A process that another one started, by a descriptor, which is this object's from now on."""
        self = cls.__new__(cls)
        self.pid, self._ended = 0, pidfd
        return self

    def lives(self) -> bool:
        """Whether it has not ended."""
        return not self.wait(0)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end; whether it has ended."""
        if self._ended < 0:
            return True
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def kill(self) -> None:
        """Send it SIGKILL."""
        try:
            if self._ended >= 0:
                _signal.pidfd_send_signal(self._ended, _signal.SIGKILL)
        except ProcessLookupError:
            return  # it has ended

    def end(self) -> int | None:
        """End it, return when it has ended, and let go of it; its status, where that is told."""
        self.kill()
        self.wait()
        try:
            return self._status()
        finally:
            self.forget()

    def _status(self) -> int | None:
        """A process 1, or who asked for orphans, is the parent in the end, and there was no shell perhaps."""
        if self._ended < 0:
            return None
        try:
            told = os.waitid(os.P_PIDFD, self._ended, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return None
        if told is None:
            return None
        return told.si_status if told.si_code == os.CLD_EXITED else -told.si_status

    def forget(self) -> None:
        """Let go of it: it goes on, as in a child after fork."""
        ended, self._ended = self._ended, -1
        if ended >= 0:
            os.close(ended)

    def __del__(self) -> None:
        if hasattr(self, "_ended"):
            self.forget()


def start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    standard: Sequence[int],
    passed: Sequence[int] = (),
    *,
    new_session: bool = False,
    blocked: Collection[int] = (),
) -> Orphan:
    """Start a program with these three standard descriptors, and four more at most, ``passed`` from 3 on.

    Others that are inheritable are inherited. It begins with these signals ``blocked``, the others as they
    are by default, but SIGINT and SIGQUIT ignored. Where there is no shell it is a child like any other.
    Raises OSError.
    """
    if not os.access(argv[0], os.X_OK):  # the shell could not tell
        os.stat(argv[0])
        raise PermissionError(13, os.strerror(13), argv[0])
    high: list[int] = []
    how: dict[str, Any] = {"setsigmask": blocked, "setsigdef": _TO_DEFAULT, "setsid": new_session}
    try:
        with deferred_signals():
            for fd in (*standard, *passed):
                high.append(_high(fd))
            places = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate(high[3:], 3)]
            try:
                return _by_shell(argv, environment, high[:3], places, how)
            except (FileNotFoundError, PermissionError):  # no shell, or none for us
                places += [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate(high[:3])]
                return Orphan(os.posix_spawn(argv[0], [*argv], environment, file_actions=places, **how))
    finally:
        for fd in high:
            os.close(fd)


def _by_shell(
    argv: Sequence[str],
    environment: Mapping[str, str],
    standard: Sequence[int],
    places: Sequence[tuple[int, int, int]],
    how: Mapping[str, Any],
) -> Orphan:
    heard, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        high = _high(told)
        os.close(told)
        told = high
        words = [_SHELL, "-c", _IN_BACKGROUND, "sh", *argv]
        three = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate(standard, 7)]
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 2)]
        actions = [*places, *three, *quiet, (os.POSIX_SPAWN_DUP2, told, 1)]
        shell = os.posix_spawn(_SHELL, words, environment, file_actions=actions, **how)
    except BaseException:
        os.close(heard)
        raise
    finally:
        os.close(told)
    try:
        _await(shell)
        number = os.read(heard, 20)  # not to its end: a child that was forked meanwhile may hold it open
    except BlockingIOError:
        number = b""
    finally:
        os.close(heard)
    if not number:
        raise OSError(EAGAIN, os.strerror(EAGAIN), argv[0])  # it could not fork
    return Orphan(int(number))


def _high(fd: int) -> int:
    try:
        return fcntl(fd, F_DUPFD_CLOEXEC, _FREE)
    except OSError as problem:
        if problem.errno != EINVAL:
            raise
        raise OSError(EMFILE, os.strerror(EMFILE)) from None  # RLIMIT_NOFILE is not above that number


def _await(shell: int) -> None:
    try:
        os.waitpid(shell, 0)
    except ChildProcessError:
        return  # the program ignores SIGCHLD, or waited for it on another thread
