"""Many network namespaces at once, on several threads.

Making one is nearly all kernel time, and two processors make two in little more than the time of one
(net/core/net_namespace.c takes its lock for reading). Each thread ends when its share is done,
so none has to find its way home.
"""

from __future__ import annotations

import os
from _thread import start_new_thread

from netkit._system.fresh_proc import FreshProc
from netkit._system.limits import make_room
from netkit._system.namespace_files import open_of_socket
from netkit._system.signals import blocked_signals
from netkit._system.worker import Job, enter_new, prepare_descriptor_table, shutting_down, there_and_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeVar

    class _Socket(Protocol):
        def fileno(self) -> int: ...

    S = TypeVar("S", bound=_Socket | int)

_MOST_THREADS = 8
_SMALL = 32  # a network that is made while somebody waits: up to here only the clock counts
_SHARE = 128  # namespaces of a thread at least, beyond that: see _threads
_FEW = 100  # as many as fit beside anything else
_EACH = 2  # descriptors: the namespace and its netlink socket


def create_namespaces(
    count: int,
    setup: Callable[[], S],
    discard: Callable[[S], object],
    progress: Callable[[int], object],
    before: int = 0,
) -> list[tuple[int, S]]:
    """Make ``count`` namespaces and run ``setup`` inside each: descriptors and the sockets that it opened.

    If one can't be made, or the wait is interrupted, none is left. ``progress`` is told, from any of
    the threads, that one more is there; ``before`` is how many the caller has made already. Needs
    CAP_SYS_ADMIN. What can be done to the sockets later is better left to the caller: between two
    namespaces, each of which empties the processor's caches, it takes three times as long as in a loop of
    its own.
    """
    if count > _FEW:
        prepare_descriptor_table(make_room(_EACH * count, f"create {count} network namespaces"), alone=False)
    makers = _threads(count)
    stop: list[BaseException] = []
    jobs = [
        _job(count // makers + (n < count % makers), setup, discard, progress, stop, before)
        for n in range(makers)
    ]
    try:
        with blocked_signals():  # they are for the program's own threads
            for job in jobs:
                _start(job)
        for job in jobs:
            job.done.acquire()
        return [made for job in jobs for made in job.outcome()]
    except BaseException as problem:
        stop.append(problem)
        for job in jobs:
            job.abandon()
        raise


def _threads(count: int) -> int:
    """How many threads make them.

    Two save a seventh of the time by the clock, and take a twelfth more processor time, for which they
    spin for the kernel's lock of all sysctl tables: worth it for few namespaces, and for so many that it is
    some tenths of a second.
    """
    wanted = count if count <= _SMALL else -(-count // _SHARE)
    return max(1, min(wanted, len(os.sched_getaffinity(0)), _MOST_THREADS))


def _job(
    count: int,
    setup: Callable[[], S],
    discard: Callable[[S], object],
    progress: Callable[[int], object],
    stop: list[BaseException],
    before: int,
) -> Job:
    def make_share() -> list[tuple[int, S]]:
        made: list[tuple[int, S]] = []
        try:
            with FreshProc(before + count):
                while len(made) < count and not stop:
                    made.append(_make(setup, discard))
                    progress(1)
        except BaseException as problem:
            stop.append(problem)  # the other threads need not go on
            dispose(made)
            raise
        return made

    def dispose(made: list[tuple[int, S]]) -> None:
        for fd, result in made:
            os.close(fd)
            discard(result)
        made.clear()

    return Job(make_share, dispose)


def _make(setup: Callable[[], S], discard: Callable[[S], object]) -> tuple[int, S]:
    """Move the calling thread into a new namespace: its descriptor, and the socket opened there."""
    enter_new()
    opened = setup()
    try:
        return open_of_socket(opened), opened
    except BaseException:
        discard(opened)
        raise


def _start(job: Job) -> None:
    def serve() -> None:
        job.perform()
        job.finish()

    try:
        start_new_thread(serve, ())
    except RuntimeError as error:
        if not shutting_down(error):
            raise
        there_and_back(serve)  # at exit Python starts no thread any more
