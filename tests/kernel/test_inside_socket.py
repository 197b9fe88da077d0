"""Sockets that live in a namespace, of all families, against /proc and real packets."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest

from netkit import Namespace, VethPair
from tests.harness.here import identity
from tests.harness.inside import box, namespace_of, nobody_has_moved, pair
from tests.harness.patience import LONG

__all__ = ["box", "nobody_has_moved", "pair"]  # the fixtures

pytestmark = pytest.mark.usefixtures("nobody_has_moved")


FAMILIES = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM, 0),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM, 0),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, 0),
    "raw": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
    "netlink": (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE),
    "packet": (socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)),
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_socket_lives_inside(box: Namespace, kind: str) -> None:
    family, type_, protocol = FAMILIES[kind]
    with box.socket(family, type_, protocol) as sock:
        assert isinstance(sock, socket.socket)
        assert namespace_of(sock) == identity(box.fileno())
        assert (sock.family, sock.type) == (family, type_)
        assert os.get_inheritable(sock.fileno()) is False
    with box.socket() as sock:
        assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)


def test_abstract_unix_names_are_the_namespaces_own(host: Namespace, box: Namespace) -> None:
    with host.socket(socket.AF_UNIX) as one, box.socket(socket.AF_UNIX) as other:
        one.bind("\0netkit-test")
        one.listen()
        other.bind("\0netkit-test")  # taken in one namespace, free in the other
        with box.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
            client.connect("\0netkit-test")  # other does not listen
        with host.socket(socket.AF_UNIX) as client:
            client.connect("\0netkit-test")


def test_a_socket_that_the_kernel_refuses(box: Namespace) -> None:
    with pytest.raises(OSError, match="Protocol not supported") as caught:
        box.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP)
    assert caught.value.errno == errno.EPROTONOSUPPORT


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "10.0.0.2"), (socket.AF_INET6, "fd00::2")])
def test_sockets_in_asyncio_from_outside(
    host: Namespace, box: Namespace, pair: VethPair, family: int, address: str
) -> None:
    async def talk() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        listening = box.socket(family)
        listening.bind((address, 80))
        server = await asyncio.start_server(answer, sock=listening)
        client = host.socket(family)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (address, 80))
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(b"hello\n")
        answered = await reader.readline()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answered

    assert asyncio.run(asyncio.wait_for(talk(), LONG)) == b"HELLO\n"


def test_packets_are_seen_by_a_packet_socket(host: Namespace, box: Namespace, pair: VethPair) -> None:
    with box.socket(*FAMILIES["packet"]) as sniffer:
        sniffer.bind(("eth0", 3))
        sniffer.settimeout(LONG)
        host.ping("10.0.0.2", timeout=1)
        while True:
            frame = sniffer.recv(2048)
            if frame[12:14] == b"\x08\x00":
                break
        assert frame[6:12] == bytes.fromhex((pair.link.mac or "").replace(":", ""))
