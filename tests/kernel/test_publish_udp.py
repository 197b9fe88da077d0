"""Published ports of UDP by both backends: entries of connection tracking do not outlive them (F62)."""

from __future__ import annotations

import socket

import pytest

from netkit import Scope
from tests.harness.packets import TIMEOUT, bound, udp
from tests.harness.publishing import backend
from tests.harness.two_boxes import World, world

__all__ = ["backend", "world"]  # the fixtures

pytestmark = pytest.mark.usefixtures("backend")


def test_F62_the_next_datagram_reaches_the_new_server(world: World) -> None:
    """From the same port of the client: the kernel would go on with what it remembers."""
    with world.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT)
        client.bind(("172.18.0.1", 5555))
        for ns, address in (
            (world.box, "172.18.0.2"),
            (world.other, "172.18.0.3"),
            (world.box, "172.18.0.2"),
        ):
            with (
                world.host.publish(53, to=f"{address}:5353", proto="udp"),
                bound(ns, address, 5353, socket.SOCK_DGRAM) as server,
            ):
                client.sendto(b"ping", ("172.18.0.1", 53))
                data, name = server.recvfrom(16)
                assert data == b"ping"
                server.sendto(b"pong", name)
                assert client.recv(16) == b"pong"


def test_F62_datagrams_before_it_was_published_are_forgotten(world: World) -> None:
    with world.other.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("172.18.0.3", 5555))
        with world.host.publish(9999, to="172.18.0.2:1"):  # makes the kernel track connections
            client.sendto(b"nobody there", ("172.18.0.1", 53))
            assert world.host.conntrack.count(proto="udp", dport=53) == 1
            with (
                world.host.publish(53, to="172.18.0.2:53", proto="udp"),
                bound(world.box, "172.18.0.2", 53, socket.SOCK_DGRAM) as server,
            ):
                client.sendto(b"ping", ("172.18.0.1", 53))
                assert server.recv(16) == b"ping"


def test_only_connections_of_that_address_and_port_are_forgotten(world: World) -> None:
    host = world.host
    with Scope() as lab:
        lab.own(host.publish(54, to="172.18.0.2:54", proto="udp"))
        mapping = host.publish(53, to="172.18.0.2:53", proto="udp").create()
        with (
            bound(world.box, "172.18.0.2", 53, socket.SOCK_DGRAM) as server,
            bound(world.box, "172.18.0.2", 54, socket.SOCK_DGRAM) as beside,
        ):
            udp(host, "172.18.0.1", 53, server)
            udp(host, "172.18.0.1", 54, beside)
            udp(host, "172.18.0.2", 53, server)  # to the box itself, past the mapping
        assert host.conntrack.count(proto="udp") == 3
        mapping.delete()
        left = host.conntrack.filter(proto="udp")
        assert sorted((str(each.daddr), each.dport) for each in left) == [
            ("172.18.0.1", 54),
            ("172.18.0.2", 53),
        ]
