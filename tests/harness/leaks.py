"""What a test may not leave: open files, threads, children and registered namespaces.

Compared as they are before and after; what the process keeps for its lifetime (the shared worker, the
guard, their sockets) is made before the first test by the `netkit_is_warm` fixture.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.harness import place, processes
from tests.harness.patience import LONG


@dataclass(frozen=True)
class Held:
    """What this process holds at one moment."""

    files: dict[int, str]
    threads: frozenset[threading.Thread]
    tasks: int
    children: dict[int, str]
    registered: frozenset[str]

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        return cls(
            files=_files(),
            threads=frozenset(threading.enumerate()),
            tasks=_tasks(),
            children=_children(),
            registered=frozenset(_entries(place.path())),
        )


def leaks(before: Held, grace: float = LONG) -> list[str]:
    """A line per leak; threads and children that are ending get `grace` seconds."""
    deadline = time.monotonic() + grace
    found = _living_threads(before, deadline) + _living_children(before, deadline)
    if not found:
        tasks_in_time(before.tasks, deadline)
    after = Held.now()
    if after.tasks > before.tasks and not found:
        found.append(f"threads unknown to Python: {after.tasks - before.tasks}")
    found += _open_files(before.files, after.files)
    found += [f"registered namespace: /run/netns/{name}" for name in after.registered - before.registered]
    found += [f"registration gone: /run/netns/{name}" for name in before.registered - after.registered]
    return found


def _files() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of this very listing
            continue
        if int(name) not in _kept():
            found[int(name)] = target
    return found


def _children() -> dict[int, str]:
    """All but the one guard, which a test may end and start anew."""
    return {pid: line for pid, line in processes.children().items() if pid != _guard()}


def _guard() -> int | None:
    loaded = sys.modules.get("netkit._system.journal")
    return None if loaded is None else loaded.journal.guard_pid


def _kept() -> set[int]:
    """What a process opens once and keeps, and opens anew after its broker or guard has ended."""
    journal, sysctls = (sys.modules.get(f"netkit._system.{name}") for name in ("journal", "sysctl_lock"))
    guard = None if journal is None else journal.journal._guard
    return {
        -1 if journal is None else journal.journal._file,
        -1 if guard is None else guard._ended,
        -1 if sysctls is None else sysctls._directory,
        *([] if journal is None else journal.journal._held.descriptors()),
    }


def _entries(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def tasks_in_time(most: int, deadline: float | None = None) -> int:
    """How many threads this process has, when those that end have ended: one that Python has done with
    lives on in the kernel for a moment, which is long on a busy machine."""
    until = time.monotonic() + LONG if deadline is None else deadline
    while (found := _tasks()) > most and time.monotonic() < until:
        os.sched_yield()
    return found


def _tasks() -> int:
    return len(os.listdir("/proc/self/task"))


def _living_threads(before: Held, deadline: float) -> list[str]:
    found = []
    for thread in set(threading.enumerate()) - before.threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            found.append(f"thread: {thread.name}")
    return found[len(before.threads) - _alive(before) :]  # one that replaces an ended one is no leak


def _alive(before: Held) -> int:
    return sum(thread.is_alive() for thread in before.threads)


def _living_children(before: Held, deadline: float) -> list[str]:
    new = _children().keys() - before.children.keys()
    return [f"child: {line}" for pid in sorted(new) if (line := processes.wait(pid, deadline))]


def _open_files(before: dict[int, str], after: dict[int, str]) -> list[str]:
    """By kind of target: a socket that was closed and opened again has another inode, and is no leak."""
    grown = Counter(map(_kind, after.values())) - Counter(map(_kind, before.values()))
    return [
        f"open file: {fd} -> {target}"
        for fd, target in after.items()
        if _kind(target) in grown and before.get(fd) != target
    ]


def _kind(target: str) -> str:
    return target.partition(":[")[0]
