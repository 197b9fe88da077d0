"""A port that is let go while somebody looks who holds it; see test_overtaken.py."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from netkit import Bridge, ExistsError, Namespace
from netkit._nat import publish_helper, publish_reserve
from netkit._outside import ports
from netkit._sockets import processes_at
from netkit._spec.publish import published_ports
from tests.harness.killed import doomed
from tests.harness.overtaken import before
from tests.kernel.test_gc import outside

pytestmark = pytest.mark.capable

__all__ = ["outside"]


@pytest.fixture
def bridge(host: Namespace) -> Iterator[Bridge]:
    with Bridge(host, "br-p", address="10.94.0.1/24") as made:
        yield made


def holder(ns: Namespace, kind: int = socket.SOCK_STREAM) -> socket.socket:
    held = ns.socket(type=kind)
    held.bind(("0.0.0.0", 8080))
    if kind == socket.SOCK_STREAM:
        held.listen()
    return held


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_who_lets_a_port_go_while_he_is_looked_for_is_not_in_the_way(
    host: Namespace, bridge: Bridge, monkeypatch: pytest.MonkeyPatch, proto: str
) -> None:
    held = holder(host, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
    calls = before(monkeypatch, publish_reserve, "holder_of", held.close)
    with host.publish(8080, to="10.94.0.2:80", proto=proto) as published:
        assert published.exists
    assert calls


def test_who_is_refused_is_told_who_held_it_when_it_was_looked_at(host: Namespace, bridge: Bridge) -> None:
    with holder(host), pytest.raises(ExistsError, match="is held by this process") as caught:
        host.publish(8080, to="10.94.0.2:80").create()
    assert caught.value.operation == "publish tcp port 8080"


def test_a_port_of_the_outside_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        number = held.getsockname()[1]
        wanted = published_ports([f"127.0.0.1:{number}:80"], "127.0.0.1")
        with pytest.raises(ExistsError, match="is held by this process"):
            ports.choose_ports(wanted)
        calls = before(monkeypatch, ports, "_holder", held.close)
        assert ports.choose_ports(wanted)[0].host_port == number
        assert calls


PUBLISHED = """
host.sysctl["net.ipv4.ip_forward"] = 1
own(Bridge(host, "br-p", address="10.94.0.1/24"))
own(host.publish(8080, to="10.94.0.2:80", relay="helper"))"""
LATE = """
import os, signal
from netkit._nat import publish_helper
def late(processes):
    publish_helper.await_leaving = real
    assert processes == [{helper}]
    os.kill({helper}, signal.SIGCONT)
    real(processes)
real, publish_helper.await_leaving = publish_helper.await_leaving, late
"""


def test_the_helper_of_a_dead_process_is_waited_for(outside: Namespace) -> None:
    """It holds the ports until it has noticed, some time after its starter's death."""
    forwarding = outside.sysctl["net.ipv4.ip_forward"]
    runtime = outside._live_runtime()
    with doomed(PUBLISHED) as process:
        (helper,) = processes_at(runtime, "tcp", 8080)
        assert helper != process.pid
        assert not publish_helper._is_leaving(helper)
        os.kill(helper, signal.SIGSTOP)
        process.kill()
        assert publish_helper._is_leaving(helper)
        with doomed(LATE.format(helper=helper) + PUBLISHED) as heir:
            (new,) = processes_at(runtime, "tcp", 8080)
            assert new != helper
            heir.kill()
    outside.sysctl["net.ipv4.ip_forward"] = forwarding


def test_what_is_ending_is_waited_for() -> None:
    """Its memory is gone, or its descriptors are; a zombie has neither."""
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert publish_helper._is_leaving(process.pid)
        publish_helper.await_leaving([process.pid])
    assert not publish_helper._is_leaving(os.getpid())
