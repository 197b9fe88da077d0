"""Ports of the outside that lead into a namespace."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from netkit import BackendError, CommandError, ExistsError, Namespace, NotFoundError, SpecError, VethPair
from netkit._outside import outside as module
from tests.harness.oracle import nft
from tests.harness.outside import UDP, any_backend, backend, echoed, fake, helpers, server, v6_outside
from tests.harness.tools import needs, needs_tun

__all__ = ["any_backend", "backend", "v6_outside"]  # the fixtures

# Else the outside would be the machine's own network; tests/rootless has an ordinary user's.
pytestmark = [pytest.mark.capable, needs_tun]


def test_a_published_port(box: Namespace, backend: str) -> None:
    outside = box.connect_outside(backend=backend, publish={8080: 80})
    assert [str(each) for each in outside.published] == ["127.0.0.1:8080->80/tcp"]
    with server("0.0.0.0", 80, ns=box):
        assert echoed(None, "127.0.0.1", 8080)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_a_free_port(box: Namespace, backend: str, kind: int) -> None:
    proto = "tcp" if kind == socket.SOCK_STREAM else "udp"
    outside = box.connect_outside(backend=backend, publish=[f"65000/{proto}"], host_loopback=True)
    (published,) = outside.published
    assert published.host_port > 0
    with server("0.0.0.0", 65000, kind, box):
        assert echoed(None, "127.0.0.1", published.host_port, kind)


def test_several_at_once(box: Namespace, backend: str) -> None:
    box.connect_outside(
        backend=backend,
        publish=["8000-8001:80-81", "7000:7001/udp", "127.0.0.2:8002:82"],
        host_ip="127.0.0.1",
        host_loopback=True,
    )
    for outer, inner in ((8000, 80), (8001, 81)):
        with server("0.0.0.0", inner, ns=box):
            assert echoed(None, "127.0.0.1", outer)
    with server("0.0.0.0", 82, ns=box):
        assert echoed(None, "127.0.0.2", 8002)
        assert not echoed(None, "127.0.0.1", 8002, wait=1)
    with server("0.0.0.0", 7001, UDP, box):
        assert echoed(None, "127.0.0.1", 7000, UDP)


def test_udp_to_a_lower_port(box: Namespace, backend: str) -> None:
    """An old pasta would lose the answers, so a rule inside changes the number."""
    outside = box.connect_outside(backend=backend, publish=["0.0.0.0:5353:53/udp"], host_loopback=True)
    with server("0.0.0.0", 53, UDP, box):
        assert echoed(None, "127.0.0.1", 5353, UDP)
        assert echoed(None, "127.0.0.1", 5353, UDP)
    outside.delete()
    assert nft(box) == []


def test_udp_to_a_lower_port_from_another_address(box: Namespace, host: Namespace, backend: str) -> None:
    """A client that is not on the outside's loopback: what it sends comes by the device."""
    with (
        Namespace.current() as here,
        VethPair(
            here, host, name="lan", peer_name="lan", address="192.0.2.1/24", peer_address="192.0.2.2/24"
        ),
    ):
        box.connect_outside(backend=backend, publish=["192.0.2.1:5353:53/udp"])
        with server("0.0.0.0", 53, UDP, box):
            assert echoed(host, "192.0.2.1", 5353, UDP)


@needs("pasta")
@pytest.mark.parametrize(("said", "rules"), [("--mtu", 2), ("--map-host-loopback ADDR", 0)])
def test_how_old_a_pasta_is(
    box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, rules: int
) -> None:
    """By an option that came later: some builds do not know their version."""
    pasta = shutil.which("pasta")
    fake(tmp_path, monkeypatch, "pasta", f"[ $1 = --help ] && echo '  {said}' && exit 0; exec {pasta} $*")
    outside = box.connect_outside(publish=["5353:53/udp", "5354:5354/udp", "5355:55/tcp"])
    assert len(outside._redirects) == rules
    assert all(rule.exists for rule in outside._redirects)


def test_udp_on_the_loopback_by_slirp4netns(box: Namespace) -> None:
    with pytest.raises(SpecError, match="host_loopback=True"):
        box.connect_outside(backend="slirp4netns", publish=["53/udp"])


@needs("pasta")
def test_a_published_ipv6_address(box: Namespace, v6_outside: None) -> None:
    box.connect_outside(backend="pasta", ipv6=True, publish=["[::1]:8080:80"])
    with server("::", 80, ns=box):
        assert echoed(None, "::1", 8080)


def test_ipv6_ports_are_not_for_slirp4netns(
    box: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake(tmp_path, monkeypatch, "slirp4netns", "exit 7")
    with pytest.raises(BackendError, match="Debian package passt"):
        box.connect_outside(publish=["[::1]:8080:80"])


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, UDP], ids=["tcp", "udp"])
def test_a_port_that_is_taken(box: Namespace, backend: str, kind: int) -> None:
    proto = "tcp" if kind == socket.SOCK_STREAM else "udp"
    with server(kind=kind) as port:
        with pytest.raises(ExistsError) as caught:
            box.connect_outside(backend=backend, publish=[f"{port}:80/{proto}"], host_loopback=True)
        assert caught.value.operation == f"publish 127.0.0.1:{port}->80/{proto}"
        assert f"127.0.0.1:{port} is held by this process (" in str(caught.value)
        assert "tap0" not in box.links
        assert helpers() == {}
        elsewhere = f"127.0.0.2:{port}:{port}/{proto}"
        box.connect_outside(backend=backend, publish=[elsewhere], host_loopback=True)


def test_an_address_that_the_machine_has_not(box: Namespace, any_backend: None) -> None:
    with pytest.raises(NotFoundError, match="is no address of this machine"):
        box.connect_outside(publish=["192.0.2.77:8080:80"])


def test_a_port_taken_at_the_last_moment(
    box: Namespace, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the program's start: the program says so itself."""
    monkeypatch.setattr(module, "choose_ports", lambda published: published)
    with server() as port, pytest.raises((CommandError, BackendError), match=str(port)):
        box.connect_outside(backend=backend, publish={port: 80})
    assert helpers() == {}
    assert "tap0" not in box.links
