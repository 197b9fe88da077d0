"""Namespace.entered(): one thread goes there and back, and no other."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading

import pytest

from netkit import Namespace, StateError, UnsupportedError
from tests.harness import place
from tests.harness.here import HERE, identity, inode
from tests.harness.inside import box, namespace_of, nobody_has_moved

__all__ = ["box", "nobody_has_moved"]  # the fixtures

pytestmark = pytest.mark.usefixtures("nobody_has_moved")


def test_entered_goes_there_and_back(host: Namespace, box: Namespace) -> None:
    if place.refuses_to_enter(box):
        return
    before = identity(HERE)
    with box.entered():
        assert identity(HERE) == identity(box.fileno())
        with socket.socket() as sock:
            assert namespace_of(sock) == identity(box.fileno())
        assert os.readlink("/proc/thread-self/ns/net") == inode(box)
        with host.entered():
            assert identity(HERE) == identity(host.fileno())
            assert [item.name for item in box.links] == ["lo"]
        assert identity(HERE) == identity(box.fileno())
    assert identity(HERE) == before


def test_entered_comes_back_after_an_exception(box: Namespace) -> None:
    if place.refuses_to_enter(box):
        return
    before = identity(HERE)
    with pytest.raises(ZeroDivisionError), box.entered():
        raise ZeroDivisionError
    assert identity(HERE) == before
    with pytest.raises(KeyboardInterrupt), box.entered():
        signal.raise_signal(signal.SIGINT)
    assert identity(HERE) == before


def test_entered_moves_no_other_thread(box: Namespace) -> None:
    if place.refuses_to_enter(box):
        return
    found: list[tuple[int, int]] = []
    with box.entered():
        thread = threading.Thread(target=lambda: None)
        thread.start()  # a new thread inherits: what is asked is that an old one does not
        thread.join()
        main = identity("/proc/self/ns/net")
    worker_at_rest = threading.Thread(target=lambda: found.append(identity(HERE)))
    worker_at_rest.start()
    worker_at_rest.join()
    assert main == identity(box.fileno())  # /proc/self is the main thread, which is this one
    assert found == [identity(HERE)]


def test_entered_refuses_a_running_loop(box: Namespace) -> None:
    async def inside_a_loop() -> None:
        before = identity(HERE)
        refusal = (UnsupportedError, "netkit unshare") if place.ROOTLESS else (StateError, "event loop")
        with pytest.raises(refusal[0], match=refusal[1]), box.entered():
            pytest.fail("entered")
        assert identity(HERE) == before
        there = await asyncio.to_thread(box.call, identity, HERE)
        assert there == identity(box.fileno())

    asyncio.run(inside_a_loop())


def test_entered_a_namespace_that_ends_inside() -> None:
    before = identity(HERE)
    ns = Namespace().create()
    if place.refuses_to_enter(ns):
        ns.delete()
        return
    with ns.entered():
        ns.delete()
    assert identity(HERE) == before
