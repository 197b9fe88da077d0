"""The outside of these tests: the session's own namespace, which has nothing but what is put there."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from netkit import Namespace, Outside, Scope, VethPair
from tests.harness import processes
from tests.harness.packets import TIMEOUT, family_of
from tests.harness.patience import LONG
from tests.harness.tools import MISSING, lacking, needs

PROGRAMS = ("pasta", "slirp4netns")
UDP = socket.SOCK_DGRAM
# A program to kill at any moment: it makes one and ends it, again and again.
BUSY = """
import sys
print("ready", flush=True)
from netkit import *
with Namespace() as box:
    while True:
        with Outside(box, backend=sys.argv[1], publish=["80"]):
            pass
"""


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


@pytest.fixture(params=[pytest.param(each, marks=needs(each)) for each in PROGRAMS])
def backend(request: pytest.FixtureRequest) -> str:
    """The whole test with each program that is there."""
    program: str = request.param
    return program


@pytest.fixture
def any_backend() -> None:
    """A program, whichever it is."""
    if {*PROGRAMS} <= {*MISSING}:
        pytest.skip(str(lacking(*PROGRAMS)))


@pytest.fixture
def v6_outside() -> Iterator[None]:
    """A device with a link-local address, without which pasta has no IPv6."""
    with Scope() as lab, Namespace.current() as here:
        for which in ("all", "default"):  # it would take two seconds
            lab.own(here.sysctl.override(f"net.ipv6.conf.{which}.accept_dad", 0))
        pair = lab.own(VethPair(here, here, name="v6a", peer_name="v6b"))
        deadline = time.monotonic() + LONG
        while not [a for a in pair.link.addresses if a.version == 6 and "tentative" not in a.flags]:
            assert time.monotonic() < deadline
            os.sched_yield()
        yield


def helpers() -> dict[int, str]:
    """Keepers, and the programs they keep, of this process."""
    found = processes.family("no such mark") - {os.getpid()}
    lines = {pid: processes.command(pid) for pid in found}
    programs = {pid for pid, line in lines.items() if line.split(" ")[0].endswith(("pasta", "slirp4netns"))}
    # What pasta does in its namespace it does in a child of the same name, each time for a moment.
    programs = {pid for pid in programs if processes.parent_of(pid) not in {None, *programs}}
    return {pid: line for pid, line in lines.items() if "keeper_server" in line or pid in programs}


def program_of(outside: Outside) -> int:
    """The only one of its kind here; its pid."""
    (found,) = [pid for pid, line in helpers().items() if line.split(" ")[0].endswith(str(outside.backend))]
    return found


def gone(pids: Iterable[int]) -> list[str]:
    """Processes that do not end."""
    deadline = time.monotonic() + LONG
    return [line for pid in pids if (line := processes.wait(pid, deadline))]


def fake(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """The only program in PATH."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
