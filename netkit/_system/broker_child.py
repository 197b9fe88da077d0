"""What the broker starts: programs, and functions that were sent to it.

The broker has one thread, so it may fork and work in the child before the program begins. The child
gets the caller's directory, umask, signal mask and descriptors, under the numbers they are to have.
"""

from __future__ import annotations

import os
import sys
from errno import EINVAL, ENOENT, ENOTDIR
from fcntl import F_DUPFD_CLOEXEC, fcntl

from netkit._system.signals import restore_ignored
from netkit._system.worker import enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_signal: Any = sys.modules["_signal"]


class Order:
    """How a child is to be: the fields of a request, checked by the broker."""

    directory: bytes
    umask: int
    new_session: bool
    process_group: int
    user: int
    group: int
    groups: list[int] | None
    blocked: list[int]
    ignored: list[int]
    restore: bool
    priority: int
    processors: list[int]
    limits: list[str]
    targets: list[int]

    def __init__(self, fields: dict[str, Any]) -> None:
        for name in Order.__annotations__:
            setattr(self, name, fields[name])


class Refused(Exception):
    """The child could not begin: the stage (`directory`, `user`, `program`) and the OSError's number."""

    def __init__(self, stage: str, number: int) -> None:
        super().__init__(stage, number)
        self.stage = stage
        self.number = number


def start(order: Order, namespace: int, directory: int, fds: Sequence[int], main: Callable[[], None]) -> int:
    """Fork a child that becomes what the order says and runs ``main``, which never returns; its pid."""
    heard, told = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(order, namespace, directory, fds, told, main)
    os.close(told)
    try:
        answer = os.read(heard, 64)
    finally:
        os.close(heard)
    if answer:
        os.waitpid(pid, 0)
        stage, _, number = answer.decode().partition(" ")
        raise Refused(stage, int(number))
    return pid


def _become(
    order: Order, namespace: int, directory: int, fds: Sequence[int], told: int, main: Callable[[], None]
) -> None:
    stage = "namespace"
    try:
        enter(namespace)
        stage = "directory"
        _go_to(order.directory, directory)
        stage = "descriptors"
        told = _place(fds, order.targets, told)
        os.umask(order.umask)
        stage = "session"
        if order.new_session:
            os.setsid()
        if order.process_group >= 0:
            os.setpgid(0, order.process_group)
        stage = "user"
        _change_user(order)
        stage = "program"
        _set_signals(order)
        _set_share(order)
        main()
    except Exception as problem:  # of a number that is none of a signal, say: ValueError
        os.write(told, f"{stage} {getattr(problem, 'errno', None) or EINVAL}".encode())
    finally:
        os._exit(255)


def _go_to(path: bytes, directory: int) -> None:
    """By its path, so that getcwd(2) has a name for it; by descriptor where the path is another one here."""
    try:
        found, wanted = os.stat(path), os.fstat(directory)
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            os.chdir(path)
            return
    except OSError:
        pass  # hidden by the private /run, say
    os.fchdir(directory)


def _place(fds: Sequence[int], targets: Sequence[int], told: int) -> int:
    """Give each descriptor its number; the others of the standard three are closed."""
    free = max([2, *targets]) + 1
    told = fcntl(told, F_DUPFD_CLOEXEC, free)
    high = [fcntl(fd, F_DUPFD_CLOEXEC, free) for fd in fds]
    for fd, target in zip(high, targets, strict=True):
        os.dup2(fd, target, inheritable=True)
        os.close(fd)
    for standard in {0, 1, 2}.difference(targets):
        os.close(standard)
    return told


def _change_user(order: Order) -> None:
    if order.groups is not None:
        os.setgroups(order.groups)
    if order.group >= 0:
        os.setregid(order.group, order.group)
    if order.user >= 0:
        os.setreuid(order.user, order.user)


def _set_signals(order: Order) -> None:
    for number in order.ignored:
        _signal.signal(number, _signal.SIG_IGN)
    _signal.set_wakeup_fd(-1)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    if order.restore:
        restore_ignored()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, order.blocked)


def _set_share(order: Order) -> None:
    """The caller's share of the machine; this process may have less of it than he, but not more."""
    import resource

    _if_allowed(os.setpriority, os.PRIO_PROCESS, 0, order.priority - 20)
    _if_allowed(os.sched_setaffinity, 0, order.processors)
    for limit in order.limits:
        number, soft, hard = map(int, limit.split())
        if resource.getrlimit(number) != (soft, hard):
            _if_allowed(resource.setrlimit, number, (soft, hard))


def _if_allowed(change: Callable[..., object], *values: object) -> None:
    try:
        change(*values)
    except (OSError, ValueError, OverflowError):
        pass  # more than the broker's own, or a processor that is gone: its own it is


def execute(
    programs: Sequence[bytes], argv: Sequence[bytes], environment: Sequence[bytes]
) -> Callable[[], None]:
    """A ``main`` that becomes the first of the programs that is there, as subprocess looks for it."""
    pairs = [each.partition(b"=") for each in environment]
    variables = {name: value for name, _, value in pairs}

    def main() -> None:
        saved: OSError | None = None
        for program in programs:
            try:
                os.execve(program, [*argv], variables)
            except OSError as problem:
                if saved is None or saved.errno in (ENOENT, ENOTDIR):
                    saved = problem
        raise saved or FileNotFoundError(ENOENT, "no program")

    return main
