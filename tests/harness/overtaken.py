"""Processes that die, and cleaning up that comes at the worst moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.harness.killed import Doomed, doomed


@contextmanager
def dead(program: str) -> Generator[Doomed]:
    """A process that was killed, and a guard that has not begun yet: `finish` lets it."""
    with doomed(program) as process:
        os.kill(process.guard, signal.SIGSTOP)
        process._child.kill()
        process._child.wait()
        try:
            yield process
        finally:
            finish(process)


@contextmanager
def left(program: str) -> Generator[Doomed]:
    """A process that was killed, its guard first."""
    with doomed(program) as process:
        process.kill_guard()
        process.kill()
        yield process


def finish(process: Doomed) -> None:
    """Let the guard do all its work."""
    try:
        os.kill(process.guard, signal.SIGCONT)
    except ProcessLookupError:
        return  # it has
    process.await_guard()


def before(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, act: Callable[[], object], times: int = 1
) -> list[tuple[Any, ...]]:
    """Do this before the first calls of a function; the list is to have what it was called with."""
    real = getattr(where, name)
    calls: list[tuple[Any, ...]] = []

    def late(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) <= times:
            act()
        return real(*args, **options)

    monkeypatch.setattr(where, name, late)
    return calls
