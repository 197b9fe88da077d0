"""Traffic from a namespace to the outside: the gateway, addresses of both families, names."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from netkit import BackendError, Namespace
from tests.harness.oracle import addresses, ip
from tests.harness.outside import UDP, backend, echoed, helpers, server, v6_outside
from tests.harness.tools import needs, needs_tun

__all__ = ["backend", "v6_outside"]  # the fixtures

# Else the outside would be the machine's own network; tests/rootless has an ordinary user's.
pytestmark = [pytest.mark.capable, needs_tun]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_the_loopback_outside_is_the_gateway(box: Namespace, backend: str, kind: int) -> None:
    box.connect_outside(backend=backend, host_loopback=True)
    with server(kind=kind) as port:
        assert echoed(box, "10.0.2.2", port, kind)


def test_the_loopback_outside_is_not_for_all(box: Namespace, backend: str) -> None:
    box.connect_outside(backend=backend)
    with server() as port:
        assert not echoed(box, "10.0.2.2", port, wait=1)
        assert not echoed(box, "127.0.0.1", port, wait=1)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_an_address_outside(box: Namespace, backend: str, kind: int) -> None:
    with Namespace.current() as here:
        here.links["lo"].addresses.add("192.0.2.1/32")
        try:
            box.connect_outside(backend=backend)
            with server("192.0.2.1", kind=kind) as port:
                assert echoed(box, "192.0.2.1", port, kind)
        finally:
            here.links["lo"].addresses.remove("192.0.2.1/32")


def test_ipv6(box: Namespace, backend: str, v6_outside: None) -> None:
    box.connect_outside(backend=backend, ipv6=True, host_loopback=True)
    assert addresses(box, "tap0") == ["10.0.2.100/24", "fd00::100/64"]
    (default,) = ip(box, "-6", "route", "show", "default")
    assert (default["gateway"], default["dev"]) == ("fd00::2", "tap0")
    with server("::1") as port:  # by UDP pasta of 2023 answers from another address
        assert echoed(box, "fd00::2", port)
    with server() as port:
        assert echoed(box, "10.0.2.2", port)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_an_ipv6_address_outside(box: Namespace, backend: str, kind: int, v6_outside: None) -> None:
    with Namespace.current() as here:
        here.links["lo"].addresses.add("2001:db8::1/128")
        try:
            box.connect_outside(backend=backend, ipv6=True)
            with server("2001:db8::1", kind=kind) as port:
                assert echoed(box, "2001:db8::1", port, kind)
        finally:
            here.links["lo"].addresses.remove("2001:db8::1/128")


@needs("pasta")
def test_pasta_needs_a_link_local_address(box: Namespace) -> None:
    with pytest.raises(BackendError, match='take backend="slirp4netns"'):
        box.connect_outside(backend="pasta", ipv6=True)
    assert helpers() == {}


def test_ipv6_is_there_if_it_is_outside(box: Namespace, backend: str, v6_outside: None) -> None:
    with Namespace.current() as here:
        box.connect_outside(backend=backend).delete()
        assert addresses(box, "lo") == ["127.0.0.1/8", "::1/128"]
        here.routes.add("default", dev="v6a", family=6)
        box.connect_outside(backend=backend)
        assert addresses(box, "tap0") == ["10.0.2.100/24", "fd00::100/64"]


def test_names_are_resolved_outside(box: Namespace, backend: str, tmp_path: Path) -> None:
    """The query goes to the resolver of the outside's resolv.conf; an echo is answer enough."""
    if os.path.islink("/etc/resolv.conf") or os.geteuid() != 0:
        pytest.skip("nothing can be mounted over /etc/resolv.conf")
    own = tmp_path / "resolv.conf"
    own.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", own, "/etc/resolv.conf"], check=True)
    try:
        outside = box.connect_outside(backend=backend)
        with server("127.0.0.1", 53, UDP):
            assert echoed(box, str(outside.dns), 53, UDP)
    finally:
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)
