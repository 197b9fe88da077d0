"""Published ports by both backends: who holds a port, and nobody else gets it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from netkit import ExistsError, NotFoundError
from netkit._nat import publish_reserve
from tests.harness.packets import bound, tcp
from tests.harness.publishing import backend
from tests.harness.two_boxes import World, taken, world

__all__ = ["backend", "world"]  # the fixtures

pytestmark = pytest.mark.usefixtures("backend")


def test_who_holds_the_port_is_named(world: World) -> None:
    ready, done = os.pipe()
    program = (
        "import os, socket, sys\n"
        "s = socket.socket(); s.bind(('', 8080)); s.listen()\n"
        "os.write(int(sys.argv[1]), b'x'); sys.stdin.read()"
    )
    holder = world.host.popen(
        [sys.executable, "-c", program, str(done)], stdin=subprocess.PIPE, pass_fds=[done]
    )
    try:
        os.read(ready, 1)
        with pytest.raises(ExistsError, match=rf"publish tcp port 8080 .*held by process {holder.pid} \(py"):
            world.host.publish(8080, to="172.18.0.2:80").create()
    finally:
        os.close(ready)
        os.close(done)
        holder.communicate()
    with world.host.publish(8080, to="172.18.0.2:80"):
        pass


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_nobody_else_gets_the_port(world: World, proto: str) -> None:
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    with world.host.publish(8080, to="172.18.0.2:80", proto=proto):
        for family, address in (
            (socket.AF_INET, "0.0.0.0"),
            (socket.AF_INET6, "::"),
            (socket.AF_INET6, "::1"),
        ):
            with world.host.socket(family, kind) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, proto == "tcp")
                assert taken(sock, address)
        with pytest.raises(ExistsError, match=r"held by this process"):
            world.host.publish(8080, to="172.18.0.3:80", proto=proto).create()


@pytest.mark.parametrize("keywords", [{"host_ip": "127.0.0.1"}, {"host_ip": "0.0.0.0"}, {"relay": False}])
def test_connections_of_an_earlier_owner_are_in_nobodys_way(world: World, keywords: dict[str, Any]) -> None:
    """Whoever closes first stays in TIME_WAIT for a minute: the server of the host, here."""
    with bound(world.host, "127.0.0.1", 8080) as before, world.host.socket() as client:
        client.connect(("127.0.0.1", 8080))
        connection, _ = before.accept()
        with pytest.raises(ExistsError, match=r"held by this process"):
            world.host.publish(8080, to="172.18.0.2:80", **keywords).create()
        connection.close()
        assert client.recv(1) == b""
    assert "TIME-WAIT" in str(world.host.run(["ss", "-tan"], capture_output=True, text=True).stdout)
    with (
        world.host.publish(8080, to="172.18.0.2:80", **keywords),
        bound(world.box, "172.18.0.2", 80) as server,
    ):
        assert tcp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"
        for address in ("0.0.0.0", "127.0.0.1"):
            with world.host.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                assert taken(sock, address)


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_who_had_the_port_for_a_moment_is_no_conflict(
    world: World, monkeypatch: pytest.MonkeyPatch, proto: str
) -> None:
    """As a program that is being started, which has this one's descriptors until its exec()."""
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    look = publish_reserve.has_no_owner
    with bound(world.host, "127.0.0.1", 8080, kind) as holder:

        def looked(*arguments: Any) -> bool:
            holder.close()
            return look(*arguments)

        monkeypatch.setattr(publish_reserve, "has_no_owner", looked)
        with world.host.publish(8080, to="172.18.0.2:80", proto=proto) as mapping:
            assert mapping.reserved == ((proto, 8080),)
            with world.host.socket(socket.AF_INET, kind) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                assert taken(sock, "127.0.0.1")


def test_an_address_that_is_not_here(world: World) -> None:
    with pytest.raises(NotFoundError, match=r"192\.0\.2\.77 is no address of this namespace"):
        world.host.publish(8080, to="172.18.0.2:80", host_ip="192.0.2.77").create()
    with world.host.publish(8080, to="172.18.0.2:80", host_ip="192.0.2.77", reserve=False) as mapping:
        assert mapping.reserved == ()


def test_a_forked_child_does_not_hold_the_port(world: World) -> None:
    mapping = world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"]).create()
    ready, done = os.pipe()
    forked, told = os.pipe()
    child = os.fork()
    if not child:
        os.close(done)
        os.write(told, b"!")
        os.read(ready, 1)
        os._exit(0)
    os.read(forked, 1)  # until it runs, its descriptors are the parent's
    mapping.delete()
    try:
        with world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"]):
            pass
    finally:
        for each in (ready, done, forked, told):
            os.close(each)
        os.waitpid(child, 0)
