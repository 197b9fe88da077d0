"""Functions inside a namespace: Namespace.call()."""

from __future__ import annotations

import contextvars
import socket
import sys
import threading
import traceback
from typing import Any

import pytest

from netkit import Namespace, SpecError
from tests.harness import place
from tests.harness.here import HERE, identity
from tests.harness.inside import Alarm, alarm, box, nobody_has_moved
from tests.harness.patience import LONG

__all__ = ["alarm", "box", "nobody_has_moved"]  # the fixtures

pytestmark = pytest.mark.usefixtures("nobody_has_moved")


def test_a_function_runs_on_a_thread_inside(box: Namespace) -> None:
    def where(*args: object, **kwargs: object) -> tuple[object, ...]:
        return identity(HERE), threading.get_ident(), args, kwargs

    there, thread, args, kwargs = box.call(where, 1, "two", three=3, fd=4, function=5)
    assert there == identity(box.fileno())
    assert thread != threading.get_ident()
    assert args == (1, "two")
    assert kwargs == {"three": 3, "fd": 4, "function": 5}


def test_an_exception_comes_back_with_its_traceback(box: Namespace) -> None:
    def fails_here() -> None:
        raise ZeroDivisionError("inside")

    with pytest.raises(ZeroDivisionError, match="inside") as caught:
        box.call(fails_here)
    assert "fails_here" in "".join(traceback.format_exception(caught.value))
    with pytest.raises(SystemExit):
        box.call(sys.exit, 3)


def test_context_variables_are_seen(box: Namespace) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("outside")

    def change() -> str:
        before = variable.get()
        variable.set("inside")
        return before

    if place.ROOTLESS:  # another process has no part in this one's
        with pytest.raises(SpecError, match="ContextVar"):
            box.call(change)
        return
    assert box.call(change) == "outside"
    assert variable.get() == "outside"


def test_calls_within_calls(host: Namespace, box: Namespace) -> None:
    def outer() -> tuple[object, object, object]:
        return box.call(identity, HERE), identity(HERE), [item.name for item in box.links]

    assert host.call(outer) == (identity(box.fileno()), identity(host.fileno()), ["lo"])


@pytest.mark.parametrize("value", [None, 3, "function", ["ip", "link"]])
def test_only_functions_are_called(box: Namespace, value: Any) -> None:
    with pytest.raises(SpecError, match="function"):
        box.call(value)


def test_an_interrupt_ends_the_wait(box: Namespace, alarm: Alarm) -> None:
    ours, theirs = socket.socketpair()

    def waits(sock: socket.socket) -> None:
        sock.sendall(b"started")
        assert sock.recv(10) == b"go"
        sock.sendall(b"ended")

    def interrupts() -> None:
        assert ours.recv(10) == b"started"
        alarm.ring()

    sender = threading.Thread(target=interrupts)
    sender.start()
    with ours, theirs:
        ours.settimeout(LONG)
        with pytest.raises(KeyboardInterrupt):
            box.call(waits, theirs)
        sender.join()
        assert box.call(identity, HERE) == identity(box.fileno())  # usable at once
        ours.sendall(b"go")
        assert ours.recv(10) == b"ended"
