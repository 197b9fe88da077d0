"""SCTP to ::1 of a published port: what the relay makes of its messages, streams and ends.

Who reaches a port over SCTP: test_publish_matrix.py. These need SCTP's sockets (CONFIG_IP_SCTP), which
Debian's kernel has; the relay's part of it alone, without any: tests/unit/test_relay_sctp.py.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import pytest

from netkit import ExistsError, Namespace
from tests.harness.packets import TIMEOUT, bound
from tests.harness.publishing import World, ended, world
from tests.harness.sctp import SCTP, has_sockets, sctp, sctp_bound

__all__ = ["world"]

pytestmark = pytest.mark.skipif(not has_sockets(), reason="this kernel has no sockets of SCTP")

_SNDINFO, _RCVINFO, _INITMSG, _RECVRCVINFO = 2, 3, 2, 32  # linux/sctp.h
_UNORDERED = 1
TARGETS = pytest.mark.parametrize(("target", "seen"), [("172.18.0.2", "172.18.0.1"), ("fd18::2", "fd18::1")])


class Message(NamedTuple):
    data: bytes
    stream: int
    identifier: int
    flags: int = 0


def send(sock: socket.socket, message: Message) -> None:
    info = struct.pack("@HHIIi", message.stream, message.flags, message.identifier, 0, 0)
    sock.sendmsg([message.data], [(SCTP, _SNDINFO, info)])


def receive(sock: socket.socket) -> Message:
    """A whole message."""
    whole = b""
    while True:
        data, ancillary, flags, _ = sock.recvmsg(1 << 20, socket.CMSG_SPACE(64))
        whole += data
        if flags & socket.MSG_EOR or not data:
            break
    (info,) = [data for level, kind, data in ancillary if (level, kind) == (SCTP, _RCVINFO)]
    stream, _, how, identifier = struct.unpack_from("@HHHxxI", info)
    return Message(whole, stream, identifier, how & _UNORDERED)


def prepared(sock: socket.socket, streams: int = 10) -> socket.socket:
    sock.settimeout(TIMEOUT)
    sock.setsockopt(SCTP, _INITMSG, struct.pack("@HHHH", streams, 0, 0, 0))
    sock.setsockopt(SCTP, _RECVRCVINFO, 1)
    return sock


@contextmanager
def association(
    world: World, target: str, streams: int = 10
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Of a client at ::1 with the server: both ends."""
    with (
        sctp_bound(world.box, target, 80) as server,
        world.host.socket(socket.AF_INET6, socket.SOCK_STREAM, SCTP) as client,
    ):
        prepared(server, streams)
        prepared(client, streams).connect(("::1", 8080))
        connection, _ = server.accept()
        with prepared(connection):
            yield client, connection


def to(target: str) -> str:
    return f"[{target}]:80" if ":" in target else f"{target}:80"


@TARGETS
def test_messages_stay_messages(world: World, target: str, seen: str) -> None:
    """Their bounds, streams (more than are usual, too), identifiers, and which of them need no order."""
    messages = [
        Message(b"a", 0, 0),
        Message(b"bc", 7, 0x01020304),
        Message(os.urandom(150_000), 33, 3),  # more than is read at once
        Message(b"d" * 1400, 2, 46, _UNORDERED),
        Message(b"e", 39, 0xFFFFFFFF),
    ]
    with world.host.publish(8080, to=to(target), proto="sctp"):
        with association(world, target, streams=40) as (client, server):
            for here, there in ((client, server), (server, client)):
                for message in messages:
                    send(here, message)
                    assert receive(there) == message
        with sctp_bound(world.box, target, 80) as again:
            assert sctp(world.host, "::1", 8080, again) == seen


@TARGETS
def test_either_end_ends_it(world: World, target: str, seen: str) -> None:
    with world.host.publish(8080, to=to(target), proto="sctp"):
        for first in (0, 1):
            with association(world, target) as ends:
                one, other = ends[first], ends[1 - first]
                send(one, Message(b"last words", 0, 0))
                one.close()
                assert other.recv(64) == b"last words"
                assert other.recv(64) == b""


def test_where_nobody_serves_the_relay_says_so(world: World) -> None:
    with (
        world.host.publish(8080, to="172.18.0.2:80", proto="sctp"),
        world.host.socket(socket.AF_INET6, socket.SOCK_STREAM, SCTP) as client,
    ):
        client.settimeout(TIMEOUT)
        assert ended(client, "::1")


def test_a_client_at_loopback_knows_no_other_address_of_the_server(world: World) -> None:
    """What it sent to others would be translated: who serves there would abort what he knows nothing of."""
    with world.host.publish(8080, to="172.18.0.2:80", proto="sctp"), association(world, "172.18.0.2") as ends:
        assert servers_addresses(world.host) == {"*0000:0000:0000:0000:0000:0000:0000:0001"}
        client, server = ends
        send(client, Message(b"x", 0, 0))
        assert receive(server).data == b"x"


def servers_addresses(ns: Namespace) -> set[str]:
    """What a client of port 8080 has been told: the primary one with a star."""
    said = ns.run(["cat", "/proc/net/sctp/assocs"], capture_output=True, text=True, check=True)
    found: set[str] = set()
    for line in said.stdout.splitlines()[1:]:
        ours, theirs = line.split(" <-> ")
        if ours.split()[12] == "8080":  # the 12th is the port of its own
            found.update(theirs.partition("\t")[0].split())
    return found


def taken(sock: socket.socket, address: str) -> bool:
    try:
        sock.bind((address, 8080))
        sock.listen()
    except OSError as problem:
        return problem.errno == errno.EADDRINUSE
    return False


ADDRESSES = [
    (socket.AF_INET, "0.0.0.0"),
    (socket.AF_INET, "172.18.0.1"),
    (socket.AF_INET6, "::"),
    (socket.AF_INET6, "::1"),
    (socket.AF_INET6, "fd18::1"),
]


@pytest.mark.parametrize("relay", [True, False, "helper"])
def test_nobody_else_gets_the_port(world: World, relay: Literal[True, False, "helper"]) -> None:
    with world.host.publish(8080, to="172.18.0.2:80", proto="sctp", relay=relay) as mapping:
        assert mapping.reserved == (("sctp", 8080),)
        for family, address in ADDRESSES:
            for reuse in (0, 1):
                with world.host.socket(family, socket.SOCK_STREAM, SCTP) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
                    assert taken(sock, address), (address, reuse)
        # Of a socket of SCTP that does not listen the kernel tells nobody.
        holder = r"another socket" if relay is False else r"(this )?process"
        with pytest.raises(ExistsError, match=rf"held by {holder}"):
            world.host.publish(8080, to="172.18.0.2:81", proto="sctp").create()
    for family, address in ADDRESSES:
        with world.host.socket(family, socket.SOCK_STREAM, SCTP) as sock:
            sock.bind((address, 8080))


def test_a_helper_relays_it_and_is_adopted(world: World) -> None:
    mapping = world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "sctp"], relay="helper").create()
    mapping.detach()
    with sctp_bound(world.box, "172.18.0.2", 80) as server:
        assert sctp(world.host, "::1", 8080, server) == "172.18.0.1"
    with mapping.adopt(), association(world, "172.18.0.2") as (client, server):
        send(client, Message(b"x", 3, 1))
        assert receive(server) == Message(b"x", 3, 1)
        with bound(world.host, "::", 8081):
            pass


def test_loopback_of_ipv6_alone(world: World) -> None:
    with world.host.publish(8080, to="[fd18::2]:80", proto="sctp", host_ip="::1") as mapping:
        assert mapping.reserved == (("sctp", 8080),)
        with sctp_bound(world.box, "fd18::2", 80) as server:
            assert sctp(world.host, "::1", 8080, server) == "fd18::1"


def test_without_ipv6_it_is_published_all_the_same(world: World) -> None:
    world.host.sysctl["net.ipv6.conf.all.disable_ipv6"] = 1
    with world.host.publish(8080, to="172.18.0.2:80", proto="sctp") as mapping:
        assert mapping.reserved == (("sctp", 8080),)
        with sctp_bound(world.box, "172.18.0.2", 80) as server:
            assert sctp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"
