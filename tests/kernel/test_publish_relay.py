"""The relay of published ports, for connections to the loopback."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import threading
from time import monotonic

import pytest

from netkit import wait_for
from netkit._system.relay_loop import _PATIENCE
from netkit._system.relay_tcp import StreamPort
from tests.harness.packets import TIMEOUT, bound, refused
from tests.harness.publishing import backend, ended
from tests.harness.two_boxes import World, world

__all__ = ["backend", "world"]  # the fixtures

pytestmark = pytest.mark.usefixtures("backend")


def test_the_relay_passes_much_both_ways_and_its_end(world: World) -> None:
    data = os.urandom(3_000_000)
    received = bytearray()
    with world.host.publish(8080, to="172.18.0.2:80"), bound(world.box, "172.18.0.2", 80) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while part := connection.recv(65536):
                    received.extend(part)
                connection.sendall(data[::-1])

        thread = threading.Thread(target=serve)
        thread.start()
        with world.host.socket(socket.AF_INET6) as client:
            client.settimeout(TIMEOUT)
            client.connect(("::1", 8080))
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            answer = bytearray()
            while part := client.recv(65536):
                answer.extend(part)
        thread.join()
    assert received == data
    assert answer == data[::-1]


def test_where_nobody_serves_the_relay_says_so(world: World) -> None:
    with world.host.publish(8080, to="172.18.0.2:80"), world.host.socket(socket.AF_INET6) as client:
        client.settimeout(TIMEOUT)
        assert ended(client, "::1")


def test_the_relay_is_for_loopback_only(world: World) -> None:
    with world.host.publish(8080, to="172.18.0.2:80"), world.other.socket(socket.AF_INET6) as client:
        client.settimeout(TIMEOUT)
        assert ended(client, "fd18::1")


def test_the_relay_waits_where_there_are_no_descriptors(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not ask again and again, and goes on when there are some."""
    tries: list[int] = []
    arrived = StreamPort.arrived

    def counted(port: StreamPort, events: int) -> None:
        tries.append(events)
        arrived(port, events)

    monkeypatch.setattr(StreamPort, "arrived", counted)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (
        world.host.publish(8080, to="172.18.0.2:80"),
        bound(world.box, "172.18.0.2", 80) as server,
        world.host.socket(socket.AF_INET6) as client,
    ):
        client.settimeout(TIMEOUT)
        gaps: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                gaps.append(os.open("/", os.O_RDONLY))
        try:
            began = monotonic()
            client.connect(("::1", 8080))
            wait_for(lambda: tries, timeout=TIMEOUT)
            assert select.select([server], [], [], 0.3)[0] == []
            assert len(tries) <= 2 + (monotonic() - began) / _PATIENCE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in gaps:
                os.close(each)
        server.settimeout(TIMEOUT)
        connection, _ = server.accept()
        connection.close()


def test_without_relay(world: World) -> None:
    with world.host.publish(8080, to="172.18.0.2:80", relay=False):
        assert refused(world.host, "::1", 8080)
        assert not [each for each in threading.enumerate() if each.name == "netkit-relay"]
