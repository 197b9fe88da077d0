"""Small real traffic between namespaces, on ordinary sockets: what a test believes in the end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from itertools import cycle
from typing import TYPE_CHECKING

from tests.harness.patience import LONG, PATIENCE

if TYPE_CHECKING:
    from netkit import Namespace

TIMEOUT = LONG
_PORTS = cycle(range(20000, 32768))  # below those that the kernel chooses from
QUIET = 0.15 * PATIENCE  # how long nothing must come, where nothing is expected


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def address_of(name: tuple[str, int]) -> str:
    """The address in a socket's name, without IPv6's zone."""
    return name[0].partition("%")[0]


@contextmanager
def bound(
    ns: Namespace, address: str, port: int = 0, kind: int = socket.SOCK_STREAM, proto: int = 0
) -> Iterator[socket.socket]:
    """A socket that is bound in the namespace, and listens if it can."""
    with ns.socket(family_of(address), kind, proto) as sock:
        sock.settimeout(TIMEOUT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        yield sock


def tcp(
    client: Namespace,
    target: str,
    port: int,
    server: socket.socket,
    source: str | None = None,
    proto: int = 0,
) -> str:
    """Connect; both ways must work. Returns the client's address as the server sees it."""
    return tcp_name(client, target, port, server, source, proto)[0]


def tcp_name(
    client: Namespace,
    target: str,
    port: int,
    server: socket.socket,
    source: str | None = None,
    proto: int = 0,
) -> tuple[str, int]:
    """As `tcp`, with the client's port."""
    with client.socket(family_of(target), socket.SOCK_STREAM, proto) as sock:
        sock.settimeout(TIMEOUT)
        if source is not None:
            sock.bind((source, 0))
        sock.connect((target, port))
        connection, name = server.accept()
        with connection:
            connection.settimeout(TIMEOUT)
            sock.sendall(b"ping")
            assert connection.recv(16) == b"ping"
            connection.sendall(b"pong")
            assert sock.recv(16) == b"pong"
        return address_of(name), name[1]


def bind_anew(sock: socket.socket, source: str | None = None) -> None:
    """To a port that no client had before: one that the kernel chooses may be that of a connection which
    it still tracks, whose packets NAT rules do not see."""
    sock.bind((source or ("::" if sock.family == socket.AF_INET6 else "0.0.0.0"), next(_PORTS)))


def udp(client: Namespace, target: str, port: int, server: socket.socket, source: str | None = None) -> str:
    """One datagram each way. Returns the client's address as the server sees it."""
    with client.socket(family_of(target), socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        bind_anew(sock, source)
        sock.sendto(b"ping", (target, port))
        data, name = server.recvfrom(16)
        assert data == b"ping"
        server.sendto(b"pong", name)
        assert sock.recv(16) == b"pong"
        return address_of(name)


def reached(client: Namespace, target: str | IPv4Address | IPv6Address) -> bool:
    """Whether a ping comes back at last, for tests that are not about how soon."""
    deadline = time.monotonic() + LONG
    while not (received := client.ping(target, timeout=5).received) and time.monotonic() < deadline:
        continue
    return received == 1


def refused(client: Namespace, target: str, port: int) -> bool:
    """Whether a connection is refused, which it is at once where nobody listens."""
    with client.socket(family_of(target), socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT)
        return sock.connect_ex((target, port)) == 111  # ECONNREFUSED


def comes_through(
    client: Namespace, target: str, port: int, server: socket.socket, wait: float = QUIET
) -> bool:
    """Whether a datagram arrives, where it may be that none does; where one is to come, wait=TIMEOUT."""
    with client.socket(family_of(target), socket.SOCK_DGRAM) as sock:
        sock.sendto(b"anybody?", (target, port))
        server.settimeout(wait)
        try:
            return server.recv(16) == b"anybody?"
        except TimeoutError:
            return False
        finally:
            server.settimeout(TIMEOUT)
