"""SCTP between namespaces: by sockets where the kernel has them, else the first two chunks by raw ones.

NAT needs no sockets of SCTP: connection tracking follows INIT and INIT ACK (RFC 9260), with the ports and
checksums that are in them.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.harness.packets import TIMEOUT, address_of, bound, family_of, tcp

if TYPE_CHECKING:
    from netkit import Namespace

SCTP = 132
_INIT, _INIT_ACK = 1, 2
_TAG = 0x4E6B7431
_PORT = 40132


def has_sockets() -> bool:
    """Whether this kernel has SCTP, not only its NAT."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP).close()
    except OSError as problem:
        if problem.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise
        return False
    return True


@contextmanager
def sctp_bound(ns: Namespace, address: str, port: int) -> Generator[socket.socket]:
    """A server's socket; a raw one hears all ports, and `sctp` looks which."""
    if has_sockets():
        with bound(ns, address, port, socket.SOCK_STREAM, SCTP) as sock:
            yield sock
        return
    with ns.socket(family_of(address), socket.SOCK_RAW, SCTP) as sock:
        sock.settimeout(TIMEOUT)
        sock.bind((address, 0))
        yield sock


def sctp(client: Namespace, target: str, port: int, server: socket.socket) -> str:
    """Both ways must work. Returns the client's address as the server sees it."""
    if has_sockets():
        return tcp(client, target, port, server, proto=SCTP)
    with client.socket(family_of(target), socket.SOCK_RAW, SCTP) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect((target, 0))
        sock.send(_packet(_PORT, port, 0, _INIT))
        source, destination, name = _received(server, _INIT)
        server.sendto(_packet(destination, source, _TAG, _INIT_ACK), (name[0], 0))
        assert _received(sock, _INIT_ACK)[:2] == (port, _PORT)
        return address_of(name)


def _received(sock: socket.socket, wanted: int) -> tuple[int, int, tuple[str, int]]:
    """The ports of the next chunk of that kind, and from where it is; its checksum is right.

    Where client and server are in one namespace each hears what the other one gets, too.
    """
    while True:
        data, name = sock.recvfrom(2048)
        if sock.family == socket.AF_INET:
            data = data[(data[0] & 15) * 4 :]
        source, destination, _, checksum, kind = struct.unpack_from("!HHI4sB", data)
        if kind == wanted:
            assert checksum == _crc32c(data[:8] + bytes(4) + data[12:])
            return source, destination, name


def _packet(source: int, destination: int, tag: int, kind: int) -> bytes:
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, _TAG, 65535, 1, 1, 1)
    head = struct.pack("!HHI", source, destination, tag)
    return head + _crc32c(head + bytes(4) + chunk) + chunk


def _crc32c(data: bytes) -> bytes:
    """RFC 9260, appendix A."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return (value ^ 0xFFFFFFFF).to_bytes(4, "little")
