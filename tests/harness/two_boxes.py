"""A host with two boxes on its bridge, where ports are published."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from netkit import Bridge, Namespace, Scope


class World(NamedTuple):
    """A host, and on its bridge a box that serves and another that asks."""

    host: Namespace
    box: Namespace
    other: Namespace
    bridge: Bridge


@pytest.fixture
def world() -> Iterator[World]:
    """The boxes have 172.18.0.2, .3, fd18::2, ::3, the host 172.18.0.1 and fd18::1."""
    with Scope() as lab:
        host, box, other = [lab.own(Namespace()) for _ in range(3)]
        bridge = lab.own(Bridge(host, "br0", address=["172.18.0.1/24", "fd18::1/64"]))
        for ns, number in ((box, 2), (other, 3)):
            addresses = [f"172.18.0.{number}/24", f"fd18::{number}/64"]
            bridge.connect(ns, name=f"port{number}", peer_address=addresses, default_route=True)
        yield World(host, box, other, bridge)


def sysctls(ns: Namespace) -> list[str | None]:
    """Those that publishing may need."""
    keys = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.br0.route_localnet")
    return [ns.sysctl.get(key) for key in keys]


def taken(sock: socket.socket, address: str) -> bool:
    """Whether somebody has port 8080."""
    try:
        sock.bind((address, 8080))
        if sock.type == socket.SOCK_STREAM:
            sock.listen()
    except OSError as problem:
        return problem.errno == errno.EADDRINUSE
    return False
