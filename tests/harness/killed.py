"""A program that builds something with netkit and is then killed, as it is, with SIGKILL."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.patience import LONG

_BEFORE = """
import sys
from netkit import *
host = Namespace.current()
scope = Scope().__enter__()
own = scope.own
"""
_AFTER = """
loaded = sys.modules.get("netkit._system.journal")
print(loaded and loaded.journal.guard_pid or 0, loaded and loaded.journal.path, flush=True)
sys.stdin.read()
"""


class Doomed:
    """A child in the middle of its work, with the guard it has started, if any."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.pid = child.pid
        assert child.stdout is not None
        guard, _, path = child.stdout.readline().partition(" ")
        assert guard, "the child ended before it was ready"
        self.guard = int(guard)
        self.journal = Path(path.strip())
        self._watched = os.pidfd_open(self.guard) if self.guard else -1

    def kill(self) -> float:
        """SIGKILL, and wait for the guard's end: the seconds that it took."""
        started = time.monotonic()
        self._child.kill()
        self._child.wait()
        self.await_guard()
        return time.monotonic() - started

    def await_guard(self, timeout: float = LONG) -> None:
        """Return when the guard has ended; fail if it does not."""
        if self._watched >= 0:
            assert select.select([self._watched], [], [], timeout)[0], "the guard goes on and on"

    def kill_guard(self) -> None:
        """The guard first: then its owner leaves all to `netkit gc`."""
        assert self.guard, "without root there is none"
        os.kill(self.guard, signal.SIGKILL)
        self.await_guard()

    def close(self) -> None:
        """End what is left."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):  # what it started may hold the other ends
            if pipe is not None:
                pipe.close()
        if self._watched >= 0:
            os.close(self._watched)


@contextmanager
def doomed(program: str, **options: object) -> Generator[Doomed]:
    """Run a program up to its end, where it waits; ``host``, ``own`` and netkit's names are there."""
    child: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", _BEFORE + program + _AFTER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        **options,  # type: ignore[call-overload]
    )  # fmt: skip
    running = None
    try:
        running = Doomed(child)
        yield running
    finally:
        if running is not None:
            running.close()
        else:
            child.kill()
            child.communicate()


def said(*commands: str) -> dict[str, str]:
    """What commands say, here."""
    return {each: _said(each) for each in commands}


def _said(command: str) -> str:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=LONG)
    return done.stdout
