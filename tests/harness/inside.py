"""A box to run things in, beside a host, and nobody who has moved in the end."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from netkit import Namespace, VethPair
from tests.harness.here import HERE, identity

SIOCGSKNS = 0x894C  # linux/sockios.h: the namespace of a socket


@pytest.fixture
def nobody_has_moved() -> Iterator[None]:
    before = identity(HERE)
    yield
    assert identity(HERE) == before


@pytest.fixture
def box() -> Iterator[Namespace]:
    with Namespace("box") as ns:
        yield ns


@pytest.fixture
def pair(host: Namespace, box: Namespace) -> Iterator[VethPair]:
    with VethPair(
        host, box, name="eth0", peer_name="eth0",
        address=["10.0.0.1/24", "fd00::1/64"], peer_address=["10.0.0.2/24", "fd00::2/64"],
    ) as veth:  # fmt: skip
        yield veth


class Alarm:
    """When it rings SIGALRM raises KeyboardInterrupt, as Ctrl-C does, once.

    It rings until it is heard: CPython checks for signals, gives up its lock and only then begins a wait, so
    that a signal in between does not end the wait (1 of 3000 on a busy machine); the next one does.
    """

    def ring(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.5)

    def heard(self, number: int, frame: object) -> None:
        self.stop()
        raise KeyboardInterrupt

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    alarm = Alarm()
    before = signal.signal(signal.SIGALRM, alarm.heard)
    yield alarm
    alarm.stop()
    signal.signal(signal.SIGALRM, before)


def namespace_of(sock: socket.socket) -> tuple[int, int]:
    fd = fcntl.ioctl(sock.fileno(), SIOCGSKNS)
    try:
        return identity(fd)
    finally:
        os.close(fd)
