"""A program: build and tear down a network, killed at the n-th system call that changes kernel state.

    python -m tests.harness.killing SCENARIO --points 1,2,3      (or from:FIRST:STEP) [--all]

Prints one JSON object a line: first what the whole run takes, then one per point with what is not as before
after the kill, and when it was. It ends after a point that left something; the caller goes on behind it.
It ends with its standard input, too.
With --all the guard and all other processes are killed at the same moment, and `netkit gc` does the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.harness import machine, processes
from tests.harness.baseline import differences
from tests.harness.syscall_stops import Stop, Watched, watched

PATIENCE = 2.0  # seconds after the kill, as promised
LONGEST = 300.0  # what comes later is late; what is there after these is left
_STUCK = 300.0  # a run that makes no call for so long hangs


class Found(dict[str, object]):
    """What a point showed, to be printed."""


def state() -> dict[str, dict[str, str]]:
    """All that the promise names, of the namespaces this process is in."""
    read = machine.read()
    read["file"] = _files("/run")
    return read


def _files(directory: str) -> dict[str, str]:
    """Every file below, for /run/netkit has directories."""
    paths = [os.path.join(where, name) for where, _, names in os.walk(directory) for name in names]
    return {path: path for path in paths}


def reap() -> None:
    """Let go of children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


class Run:
    """One run of a scenario, killed at the n-th call, or not at all."""

    def __init__(self, scenario: Callable[[], object], n: int | None, everybody: bool = False) -> None:
        self.everybody = everybody
        self.calls = 0
        self.where: Stop | None = None
        self.alive: list[str] = []
        with watched(scenario) as child:
            try:
                self._go(child, n)
            except TimeoutError:
                self.alive = self._end_those_left(child)
            self.said = child.ended()
            if not self.where and child.status and not self.said:
                self.said = f"status {child.status}"
        self.killed_at = child.killed_at

    def _go(self, child: Watched, n: int | None) -> None:
        for stop in child.stops(_STUCK, LONGEST):
            if self.where is None:
                self.calls += 1
                if self.calls == n:
                    child.kill()
                    self.where = stop
            if self.where is not None and self.everybody:
                self._kill_others(child)  # each time, for one may just have been started

    def _kill_others(self, child: Watched) -> None:
        for pid in processes.children().keys() - {child.pid}:
            os.kill(pid, signal.SIGKILL)

    def _end_those_left(self, child: Watched) -> list[str]:
        """Who still runs though the child is dead; ended here, so that the next point is not theirs."""
        if not child.killed_at:
            child.kill()
            return [f"no call and no end within {_STUCK} seconds"]
        left = {pid: line for pid, line in processes.children().items() if pid != child.pid}
        self._kill_others(child)
        return [f"process: {pid} {line}" for pid, line in left.items()]


def settle(before: dict[str, dict[str, str]], until: float) -> tuple[float, list[str]]:
    """When all is as before, or what is not when the time is up."""
    return settle_by(state, before, until)


def settle_by(
    look: Callable[[], dict[str, dict[str, str]]], before: dict[str, dict[str, str]], until: float
) -> tuple[float, list[str]]:
    """The same for any look at the machine."""
    while True:
        reap()
        after = look()
        now = time.monotonic()
        found = [line for kind, was in before.items() for line in differences(kind, was, after[kind])]
        if not found or now > until:
            return now, found
        select.select([], [], [], 0.005)  # between two looks; the kernel's clean-up has no event of its own


def point(
    scenario: Callable[[], object], n: int, before: dict[str, dict[str, str]], everybody: bool
) -> Found:
    """Kill at the n-th call and look until all is as before."""
    run = Run(scenario, n, everybody)
    if everybody:
        subprocess.run([sys.executable, "-m", "netkit", "gc"], check=True, stdout=subprocess.DEVNULL)
    if run.where is None:
        _, found = settle(before, time.monotonic() + LONGEST)
        said = [run.said] if run.said else []
        return Found(n=n, end=True, calls=run.calls, left=[*run.alive, *said, *found], seconds=0.0)
    seen, found = settle(before, run.killed_at + LONGEST)
    seconds = round(seen - run.killed_at, 4)
    return Found(n=n, call=run.where.name, left=[*run.alive, *found], seconds=seconds)


def main() -> None:
    """Run the points asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario")
    parser.add_argument("--points", default="from:1:1")
    parser.add_argument("--all", action="store_true")
    asked = parser.parse_args()
    processes.end_with_starter()
    from tests.harness.isolation import isolate

    reason = isolate()
    if reason:
        sys.exit(reason)
    import tests.harness.networks as networks

    processes.be_subreaper()
    scenario: Callable[[], object] = getattr(networks, asked.scenario)
    networks.prepare()
    if asked.scenario == "opened":
        networks.firewall()
    fresh = state()
    whole = Run(scenario, None)  # modules, tables and directories that stay are there now
    if whole.said or whole.alive:
        sys.exit(f"{whole.said} {whole.alive}")
    stays = ("sysctl", "file", "journal")
    lasting = {kind: fresh[kind] for kind in fresh if kind not in stays}
    _, left = settle(lasting, time.monotonic() + LONGEST)
    before = state()
    show(Found(calls=whole.calls, left=left))
    for n in chosen(asked.points, whole.calls):
        found = point(scenario, n, before, asked.all)
        show(found)
        if found["left"] or found.get("end"):
            return


def chosen(points: str, count: int) -> Iterator[int]:
    """The numbers of the calls to kill at."""
    if points.startswith("from:"):
        first, step = map(int, points[5:].split(":"))
        yield from range(first, 100 * count, step)  # until a run comes to its end
    elif points:
        yield from map(int, points.split(","))


def show(found: Found) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    Path("/proc/self/comm").write_text("killing")
    main()
