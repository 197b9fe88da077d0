"""The outside of these tests: the session's own namespace, which has nothing but what is put there."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.harness.packets import TIMEOUT, family_of

if TYPE_CHECKING:
    from netkit import Namespace

PROGRAMS = ("pasta", "slirp4netns")


def lacks(program: str) -> str | None:
    """Why tests of a program are skipped."""
    packages = {"pasta": "passt", "slirp4netns": "slirp4netns"}
    return None if shutil.which(program) else f"no {program} (Debian package {packages[program]})"


@contextmanager
def server(
    address: str = "127.0.0.1", port: int = 0, kind: int = socket.SOCK_STREAM, ns: Namespace | None = None
) -> Iterator[int]:
    """Echoes what one client at a time sends, here or in a namespace; its port."""
    family = family_of(address)
    with ns.socket(family, kind) if ns is not None else socket.socket(family, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        serve = _serve_tcp if kind == socket.SOCK_STREAM else _serve_udp
        if kind == socket.SOCK_STREAM:
            sock.listen()
        thread = threading.Thread(target=serve, args=(sock,))
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            # ENOTCONN for UDP, but it ends the waiting all the same (inet_shutdown in net/ipv4/af_inet.c)
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve_tcp(sock: socket.socket) -> None:
    while True:
        try:
            connection, _ = sock.accept()
        except OSError:  # shut down
            return
        with connection:
            connection.settimeout(TIMEOUT)
            while data := connection.recv(65536):
                connection.sendall(data)


def _serve_udp(sock: socket.socket) -> None:
    while True:
        data, sender = sock.recvfrom(65536)
        if not data:
            return
        sock.sendto(data, sender)


def echoed(
    ns: Namespace | None,
    address: str,
    port: int,
    kind: int = socket.SOCK_STREAM,
    wait: float = TIMEOUT,
) -> bool:
    """Whether a server answers a client in the namespace (None: here), with what it was sent."""
    family = family_of(address)
    with ns.socket(family, kind) if ns is not None else socket.socket(family, kind) as sock:
        sock.settimeout(wait)
        try:
            sock.connect((address, port))
            sock.sendall(b"are you there?")
            return sock.recv(100) == b"are you there?"
        except OSError:
            return False
