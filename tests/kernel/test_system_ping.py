"""ping against real packets: answers, silence, errors on the way and errors at the start."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netkit._system import icmp, worker
from netkit._system.icmp import PingResult
from netkit.errors import KernelError, NotFoundError
from tests.harness.patience import LONG, in_time

pytestmark = pytest.mark.capable

SETUP = """
sysctl -q net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
ip link set lo up
"""
NEAR = """
ip link add v0 type veth peer name v1 netns /proc/self/fd/{far}
ip link set v0 up; ip addr add 10.0.0.1/24 dev v0; ip addr add fd00::1/64 dev v0 nodad
ip route add 10.7.0.0/16 via 10.0.0.2; ip -6 route add fd07::/64 via fd00::2
ip route add blackhole 10.8.0.0/16; ip route add prohibit 10.9.0.0/16; ip -6 route add blackhole fd08::/64
"""
FAR = """
ip link set v1 up; ip addr add 10.0.0.2/24 dev v1; ip addr add fd00::2/64 dev v1 nodad
ip addr add fe80::2/64 dev v1 nodad
sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
"""


def shell(fd: int, script: str, *pass_fds: int) -> None:
    run = lambda: subprocess.run(["sh", "-ec", script], check=True, pass_fds=pass_fds)  # noqa: E731
    worker.fresh(fd, run)


@pytest.fixture(scope="module")
def near() -> Iterator[int]:
    near, _ = worker.create_namespace(int)
    far, _ = worker.create_namespace(int)
    for fd in (near, far):
        shell(fd, SETUP)
    shell(near, NEAR.format(far=far), far)
    shell(far, FAR)
    # The kernel acts on a carrier on a work queue: before that, what v0 sends is lost.
    shell(near, "timeout 60 sh -c 'until ip -br link show v0 | grep -q \" UP \"; do :; done'")
    yield near
    os.close(near)
    os.close(far)


@pytest.fixture
def ping(near: int) -> _Ping:
    return _Ping(near)


class _Ping:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __call__(self, address: str, **options: float) -> PingResult:
        opener = lambda family, kind, proto: worker.inside(  # noqa: E731
            self._fd, lambda: socket.socket(family, kind, proto)
        )
        return icmp.ping(opener, address, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2", "fe80::2%v0", "127.0.0.1", "::1"])
@pytest.mark.parametrize("size", [0, 56, 5000])
def test_an_answer(ping: _Ping, address: str, size: int) -> None:
    result = ping(address, size=size)
    assert (result.sent, result.received, result.loss) == (1, 1, 0.0)
    assert result.min == result.avg == result.max == result.times[0]
    assert 0 < result.times[0] < 2


def test_many_answers_are_paced(ping: _Ping) -> None:
    begin = time.monotonic()
    result = ping("10.0.0.2", count=5, interval=0.02)
    assert 0.08 <= time.monotonic() - begin < LONG
    assert result.received == len(result.times) == 5
    assert result.min is not None
    assert result.avg is not None
    assert result.max is not None
    assert result.min <= result.avg <= result.max


def test_a_flood_is_answered(ping: _Ping) -> None:
    assert ping("10.0.0.2", count=300, interval=0).received == 300


@pytest.mark.parametrize("address", ["10.8.0.1", "10.9.0.1", "8.8.8.8", "2001::1", "fd08::1"])
def test_no_way_there_is_loss_at_once(ping: _Ping, address: str) -> None:
    begin = time.monotonic()
    result = ping(address, count=2, interval=0, timeout=5 * LONG)
    assert (result.sent, result.received, result.loss) == (2, 0, 1.0)
    assert time.monotonic() - begin < LONG


@pytest.mark.parametrize("address", ["10.7.9.9", "fd07::1"])
def test_an_error_from_the_way_is_loss_at_once(ping: _Ping, address: str) -> None:
    begin = time.monotonic()
    assert ping(address, timeout=5 * LONG).loss == 1.0
    assert time.monotonic() - begin < LONG


@pytest.mark.parametrize("address", ["10.0.0.99", "fd00::99"])
def test_silence_is_loss_after_the_timeout(ping: _Ping, address: str) -> None:
    begin = time.monotonic()
    assert ping(address, timeout=0.1) == PingResult(1, [])
    assert 0.1 <= time.monotonic() - begin < LONG


class Slow(socket.socket):
    """What a program with many busy threads is to its socket: it sends late, and looks late."""

    before, after, on_the_way = 0.2, 0.2, 0.0  # seconds

    def sendto(self, *arguments: object) -> int:  # type: ignore[override]
        select.select([], [], [], self.before)
        count = super().sendto(*arguments)  # type: ignore[call-overload]
        select.select([], [], [], self.after)
        return int(count)

    def recvmsg(self, *arguments: int) -> Any:
        """As if the answer had come later."""
        data, ((level, kind, stamp),), flags, address = super().recvmsg(*arguments)
        seconds, nanoseconds = struct.unpack("=qq", stamp)
        nanoseconds += round(self.on_the_way * 1e9)
        return data, [(level, kind, struct.pack("=qq", seconds, nanoseconds))], flags, address


def slow(fd: int, **seconds: float) -> Callable[[int, int, int], socket.socket]:
    kind_of_socket = type("Slower", (Slow,), seconds)
    return lambda family, kind, proto: worker.inside(fd, lambda: kind_of_socket(family, kind, proto))


def test_an_answer_counts_when_it_came_not_when_it_was_looked_at(near: int) -> None:
    def look_late() -> None:
        result = icmp.ping(slow(near, before=0.0), "10.0.0.2", timeout=0.1)
        assert result.received == 1
        assert result.times[0] < 0.1

    in_time(look_late)


def test_no_answer_is_late_because_the_program_was(near: int) -> None:
    """It was kept from the processor between its look at the clock and the send."""
    result = icmp.ping(slow(near), "10.0.0.2", timeout=0.1)
    assert result.received == 1
    assert result.times[0] > 0.19


def test_an_answer_that_is_late_is_none(near: int) -> None:
    assert icmp.ping(slow(near, on_the_way=LONG), "10.0.0.2", timeout=0.1).received == 0


def test_what_can_never_be_sent_is_an_error(ping: _Ping) -> None:
    with pytest.raises(KernelError, match="EMSGSIZE"):
        ping("10.0.0.2", size=65508)
    with pytest.raises(NotFoundError, match="nope"):
        ping("fe80::2%nope")


def test_nothing_is_left_open(ping: _Ping) -> None:
    before = os.listdir("/proc/self/fd")
    ping("10.0.0.2")
    ping("8.8.8.8")
    with pytest.raises(NotFoundError):
        ping("fe80::2%nope")
    assert os.listdir("/proc/self/fd") == before
