"""Many network namespaces at once, on as many threads as there are processors.

Making one is nearly all kernel time, and two processors make two in the time of one
(net/core/net_namespace.c takes its lock for reading). Each thread ends when its share is done,
so none has to find its way home.
"""

from __future__ import annotations

import os
from _thread import start_new_thread

from netkit._system.limits import make_room
from netkit._system.signals import blocked_signals
from netkit._system.worker import Job, make_namespace, prepare_descriptor_table, shutting_down, there_and_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_MOST_THREADS = 8
_FEW = 100  # as many as fit beside anything else
_EACH = 2  # descriptors: the namespace and its netlink socket


def create_namespaces(
    count: int, setup: Callable[[], T], discard: Callable[[T], object], progress: Callable[[int], object]
) -> list[tuple[int, T]]:
    """Make ``count`` namespaces and run ``setup`` inside each: descriptors and what setup returned.

    If one can't be made, or the wait is interrupted, none is left. ``progress`` is told, from any of
    the threads, that one more is there. Needs CAP_SYS_ADMIN.
    """
    if count > _FEW:
        prepare_descriptor_table(make_room(_EACH * count), alone=False)
    makers = max(1, min(count, len(os.sched_getaffinity(0)), _MOST_THREADS))
    stop: list[BaseException] = []
    jobs = [
        _job(count // makers + (n < count % makers), setup, discard, progress, stop) for n in range(makers)
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


def _job(
    count: int,
    setup: Callable[[], T],
    discard: Callable[[T], object],
    progress: Callable[[int], object],
    stop: list[BaseException],
) -> Job:
    def make_share() -> list[tuple[int, T]]:
        made: list[tuple[int, T]] = []
        try:
            while len(made) < count and not stop:
                made.append(make_namespace(setup))
                progress(1)
        except BaseException as problem:
            stop.append(problem)  # the other threads need not go on
            dispose(made)
            raise
        return made

    def dispose(made: list[tuple[int, T]]) -> None:
        for fd, result in made:
            os.close(fd)
            discard(result)
        made.clear()

    return Job(make_share, dispose)


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
