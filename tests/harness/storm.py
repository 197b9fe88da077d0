"""A program: build and tear down networks while SIGINT comes at random moments, one or several.

    python -m tests.harness.storm ROUNDS SEED [again]      again: often one more each few milliseconds

A POSIX timer sends it, so no second thread or process is there to be counted. Prints one JSON object.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from tests.harness import processes
from tests.harness.patience import LONG

_MONOTONIC, _SIGNAL = 1, 0
_MARGIN = 1.1  # some signals come when all is done
_libc = ctypes.CDLL(None, use_errno=True)


class InterruptTimer:
    """SIGINT after some seconds, and again at an interval: timer_create(2)."""

    def __init__(self) -> None:
        event = struct.pack("=QiI48x", 0, signal.SIGINT, _SIGNAL)  # struct sigevent
        self._timer = ctypes.c_void_p()
        if _libc.timer_create(_MONOTONIC, event, ctypes.byref(self._timer)):
            raise OSError(ctypes.get_errno(), "timer_create")

    def set(self, after: float, every: float = 0.0) -> None:
        """0 seconds: off."""
        times = (*_seconds(every), *_seconds(after))
        if _libc.timer_settime(self._timer, 0, struct.pack("=qqqq", *times), None):
            raise OSError(ctypes.get_errno(), "timer_settime")


def _seconds(value: float) -> tuple[int, int]:
    return int(value), int(value % 1 * 1e9)


class Storm:
    """Rounds of work, each interrupted somewhere, or not at all when the moment is behind its end."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.timer = InterruptTimer()
        self.armed = False
        self.interrupted = 0
        self.where = ""
        self.again = "again" in sys.argv
        self.left: list[str] = []
        signal.signal(signal.SIGINT, self._arrived)
        # An interrupt in a finalizer cannot be raised: Python reports it and goes on.
        sys.unraisablehook = lambda report: None

    def _arrived(self, *_: object) -> None:
        if self.armed:
            raise KeyboardInterrupt

    def round(self, work: Callable[[], object], longest: float) -> float:
        """One try, hit by one signal or by one each few milliseconds.

        Returns how long the next one may be: what was not hit was quicker than was thought.
        """
        after = self.chance.uniform(0.0001, longest)
        every = self.chance.choice([0.0, 0.0, self.chance.uniform(0.0003, 0.004)]) if self.again else 0.0
        begun = time.monotonic()
        try:
            try:
                self.armed = True
                self.timer.set(after, every)
                work()
                longest = _MARGIN * (time.monotonic() - begun)
            finally:
                self.armed = False
                self.timer.set(0)
        except KeyboardInterrupt as problem:
            self.where = "".join(traceback.format_exception(problem)[-40:])
            self.armed = False
            self.timer.set(0)
            self.interrupted += 1
        except Exception as problem:  # something of an earlier round is in its way
            self.left.append(repr(problem))
        return longest

    def note(self, where: object, found: object, wanted: object) -> None:
        if found != wanted:
            self.left.append(f"{where}: {found} instead of {wanted}, after\n{self.where}")


def held() -> dict[str, int]:
    """What this process holds."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "processes": len(processes.children()),
    }


def held_in_time(wanted: dict[str, int]) -> dict[str, int]:
    """The same when threads and children that are ending have ended."""
    until = time.monotonic() + LONG
    while (found := held()) != wanted and time.monotonic() < until:
        os.sched_yield()
    return found


def here() -> str:
    return os.readlink("/proc/thread-self/ns/net")


def main() -> None:
    from tests.harness.isolation import isolate

    reason = isolate()
    if reason:
        sys.exit(reason)
    import netkit
    from netkit._lifecycle import ROOT
    from tests.harness import networks
    from tests.harness.killing import settle, state

    rounds, seed = int(sys.argv[1]), int(sys.argv[2])
    storm = Storm(seed)
    networks.prepare()
    longest = _warm(networks.WORKS)
    netkit.shutdown()
    before, at_home, wanted, links = state(), here(), held_in_time(held()), _links()
    for n in range(rounds):
        work = storm.chance.choice(list(networks.WORKS))
        longest[work] = storm.round(networks.WORKS[work], longest[work])
        storm.note(f"round {n}, {work}: namespace", here(), at_home)
        storm.note(f"round {n}, {work}: owned", [repr(each) for each in ROOT._held_members()], [])
        storm.note(f"round {n}, {work}: names", os.listdir("/run/netns"), [])
        storm.note(f"round {n}, {work}: links", _links(), links)
    netkit.shutdown()
    _, left = settle(before, time.monotonic() + LONG)
    storm.note("at the end", held_in_time(wanted), wanted)
    result: dict[str, Any] = {"rounds": rounds, "interrupted": storm.interrupted}
    result["left"] = storm.left + left
    print(json.dumps(result))


def _warm(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """How long each takes; what is kept for good is there afterwards."""
    times = {}
    for name, work in works.items():
        work()
        begun = time.monotonic()
        work()
        times[name] = _MARGIN * (time.monotonic() - begun)
    return times


def _links() -> int:
    return len(subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout.splitlines())


if __name__ == "__main__":
    main()
