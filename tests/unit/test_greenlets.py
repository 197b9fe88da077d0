"""gevent and eventlet put greenlets in the place of threads: netkit says that it needs threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from netkit import StateError
from netkit._system import worker

PATCHED = """
import _thread
def start_new_thread(*arguments): raise AssertionError("a greenlet is no thread")
start_new_thread.__module__ = "{module}"
_thread.start_new_thread = start_new_thread
import netkit
try:
    netkit.Namespace().create()
except netkit.StateError as problem:
    print(problem)
"""


@pytest.mark.parametrize("module", ["gevent.thread", "eventlet.green.thread"])
def test_what_was_patched_before_is_refused(module: str) -> None:
    argv = [sys.executable, "-c", PATCHED.format(module=module)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "greenlets" in done.stdout


@pytest.mark.parametrize("name", ["_start_new_thread", "_start_joinable_thread"])
def test_what_was_patched_since_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def start(function: Callable[[], None], *arguments: object) -> None:
        raise AssertionError("a greenlet is no thread")

    start.__module__ = "gevent.thread"
    monkeypatch.setattr(threading, name, start, raising=False)
    with pytest.raises(StateError, match="greenlets"):
        worker.fresh(0, int)


def test_a_debugger_may_wrap_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    start = getattr(threading, name)
    monkeypatch.setattr(threading, name, lambda *given, **further: start(*given, **further))
    with open("/proc/self/ns/net") as here:
        assert worker.fresh(here.fileno(), int) == 0
