"""Published ports by the thousand: what one more costs, and what thousands at once do, by counting calls.

The benchmark `ports` measures them; a count of calls holds on a busy machine, too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from netkit import Bridge, Namespace, Scope, StateError
from tests.harness.calls import at_once

pytestmark = pytest.mark.capable  # without root the broker's process is asked, which is another matter
FORWARDING = "net.ipv4.ip_forward"


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A borrowed namespace with a network behind it, as a container host is."""
    with (
        Namespace() as ours,
        Bridge(ours, "br0", address="172.18.0.1/16"),
        ours.sysctl.override(FORWARDING, 1),
        _borrowed(ours) as host,
    ):
        yield host


@contextmanager
def _borrowed(ours: Namespace) -> Generator[Namespace]:
    """It is ours for who made it: asked for by another process it would not be."""
    runtime = ours._live_runtime()
    runtime.ours = False
    try:
        yield ours
    finally:
        runtime.ours = True


def calls(work: Callable[[], object]) -> int:
    """How many functions of Python's it calls, on this thread."""
    count = 0

    def seen(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def target(number: int) -> str:
    return f"172.18.{number // 250 + 1}.{number % 250 + 1}:{number % 999 + 1}"


def many(first: int, count: int) -> dict[int, str]:
    return {number: target(number) for number in range(first, first + count)}


def test_one_more_costs_the_same_however_many_there_are(host: Namespace) -> None:
    def one_more(port: int) -> int:
        return calls(lambda: lab.own(host.publish(port, to=target(port), reserve=False)))

    with Scope() as lab:
        lab.own(host.publish(1, to=target(1), reserve=False))
        few = one_more(2)
        for port in range(3, 300):
            lab.own(host.publish(port, to=target(port), reserve=False))
        assert one_more(300) <= few + 5
        lab.own(host.publish_many(many(10000, 5000), reserve=False))
        assert one_more(301) <= few + 5


def test_many_at_once_are_no_calls_for_each(host: Namespace) -> None:
    def needed(count: int) -> int:
        ports = many(1000, count)
        found = calls(lambda: mapping.append(host.publish_many(ports, reserve=False).create()))
        mapping.pop().delete()
        return found

    mapping: list[Any] = []
    needed(100)
    assert needed(5000) < needed(100) + 500  # a few for each message, and for each network


def test_what_is_read_through_a_kept_descriptor_is_how_it_is_now(host: Namespace) -> None:
    with host.publish(1, to=target(1), reserve=False):
        host.sysctl[FORWARDING] = 0
        with pytest.raises(StateError, match="does not forward IPv4"):
            host.publish(2, to=target(2), reserve=False).create()
        host.sysctl[FORWARDING] = 1
        with host.publish(2, to=target(2), reserve=False) as mapping:
            assert mapping.exists


def test_no_thread_is_changed_for_one_more(host: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    with host.publish(1, to=target(1), reserve=False):
        runtime = host._live_runtime()
        monkeypatch.setattr(type(runtime), "inside", None)
        mapping = host.publish(2, to=target(2), reserve=False).create()
        mapping.delete()


def kept_by(pid: int | str) -> list[str]:
    links = [entry for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return [path for path in map(_leads_to, links) if path.startswith("/proc/")]


def _leads_to(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # the directory that was just read
        return ""


def test_the_descriptors_go_with_the_namespace_and_not_to_a_child() -> None:
    before = len(kept_by("self"))
    with (
        Namespace() as host,
        Bridge(host, "br0", address="172.18.0.1/16"),
        host.publish(1, to=target(1), reserve=False),
    ):
        assert len(kept_by("self")) > before
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            os._exit(len(kept_by("self")) - before)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(kept_by("self")) == before


def test_threads_that_publish_for_the_first_time(host: Namespace) -> None:
    def publish(number: int) -> None:
        with host.publish(1 + number, to=target(1 + number), reserve=False) as mapping:
            assert mapping.exists

    assert at_once(8, publish) == []
