"""relay="helper": a process holds the ports and relays ::1, and goes on when the mapping is detached."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from netkit import BackendError, Bridge, ExistsError, Namespace, PortMapping, SpecError
from netkit._nat.publish_helper import RelayHelper
from tests.harness.packets import bound, refused, tcp, udp
from tests.harness.patience import LONG
from tests.harness.publishing import World, world

__all__ = ["world"]


def helper_of(mapping: PortMapping) -> RelayHelper:
    helper = mapping._held_ports._helper
    assert helper is not None
    return helper


def works(world: World, address: str = "127.0.0.1") -> None:
    with bound(world.box, "172.18.0.2", 80) as server:
        assert tcp(world.host, "::1", 8080, server) == "172.18.0.1"
        assert tcp(world.host, address, 8080, server) == "172.18.0.1"
    with bound(world.box, "172.18.0.2", 80, socket.SOCK_DGRAM) as server:
        assert udp(world.host, "::1", 8080, server) == "172.18.0.1"


def test_a_process_holds_and_relays(world: World) -> None:
    mapping = world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"], relay="helper")
    for _ in range(2):
        with mapping:
            pid = helper_of(mapping)._process.pid
            works(world)
            assert mapping.reserved == (("tcp", 8080), ("udp", 8080))
            assert not [each for each in threading.enumerate() if each.name == "netkit-relay"]
            assert "netkit-relay tcp/udp 8080 -> 172.18.0.2:80" in Path(f"/proc/{pid}/cmdline").read_text()
            with pytest.raises(ExistsError, match=r"held by process \d+ \(py"):
                world.host.publish(8080, to="172.18.0.2:81").create()
        assert mapping.reserved == ()
        assert is_gone(pid)
        assert refused(world.host, "::1", 8080)
        with bound(world.host, "::", 8080):
            pass


def test_it_goes_on_when_it_is_detached(world: World) -> None:
    mapping = world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"], relay="helper").create()
    pid = helper_of(mapping)._process.pid
    mapping.detach()
    assert mapping.reserved == ()
    works(world)
    again = world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"]).adopt()
    assert again.reserved == (("tcp", 8080), ("udp", 8080))
    works(world)
    assert is_gone(pid)
    again.delete()
    assert refused(world.host, "::1", 8080)


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + LONG
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        os.sched_yield()
    return not Path(f"/proc/{pid}").exists()


def is_free_in_time(host: Namespace) -> bool:
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        with host.socket(socket.AF_INET6) as sock:
            try:
                sock.bind(("::", 8080))
                return True
            except OSError:
                os.sched_yield()
    return False


PROGRAM = """
from netkit import Namespace
mapping = Namespace.current().publish(8080, to='172.18.0.2:80', proto=['tcp', 'udp'], relay='helper').create()
print(mapping._held_ports._helper._process.pid, flush=True)
"""


@pytest.mark.parametrize("relay", [None, "helper"])
def test_it_outlives_the_process_that_started_it(world: World, relay: str | None) -> None:
    world.host.sysctl["net.ipv4.ip_forward"] = 1
    argv = [sys.executable, "-W", "error", "-c", PROGRAM + "mapping.detach()"]
    world.host.run(argv, capture_output=True, check=True)
    works(world, "172.18.0.1")  # its devices are not that process's: no route_localnet
    with pytest.raises(ExistsError, match="held by process"):
        world.host.publish(8080, to="172.18.0.2:81").create()
    asked = world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"], relay=relay)  # type: ignore[arg-type]
    with asked.adopt() as mapping:
        works(world, "172.18.0.1")
        assert mapping.reserved == (("tcp", 8080), ("udp", 8080))
    with bound(world.host, "::", 8080):
        pass


def test_killed_its_starter_takes_it_along(world: World) -> None:
    world.host.sysctl["net.ipv4.ip_forward"] = 1
    argv = [sys.executable, "-c", PROGRAM + "import os; os.kill(os.getpid(), 9)"]
    done = world.host.run(argv, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout)  # without root it is a number of the broker's
    assert is_free_in_time(world.host)


def test_a_forked_child_does_not_keep_it(world: World) -> None:
    mapping = world.host.publish(8080, to="172.18.0.2:80", relay="helper").create()
    ready, done = os.pipe()
    child = os.fork()
    if not child:
        os.close(done)
        os.read(ready, 1)
        os._exit(0)
    try:
        mapping.delete()
        with bound(world.host, "::", 8080):
            pass
    finally:
        os.close(ready)
        os.close(done)
        os.waitpid(child, 0)


def test_a_helper_that_dies_is_told(world: World) -> None:
    mapping = world.host.publish(8080, to="172.18.0.2:80", relay="helper").create()
    os.kill(helper_of(mapping)._process.pid, signal.SIGKILL)
    with pytest.raises(BackendError, match=r"relay helper .* did not get it to stay"):
        mapping.detach()
    with bound(world.host, "::", 8080):
        pass


def test_it_goes_with_a_namespace_of_ours(world: World) -> None:
    with Namespace() as host, Bridge(host, "br0", address="10.0.0.1/24"):
        mapping = host.publish(8080, to="10.0.0.2:80", relay="helper").create()
        pid = helper_of(mapping)._process.pid
        mapping.detach()
    assert is_gone(pid)


def test_a_range_of_many(world: World) -> None:
    """More than one message of descriptors."""
    with world.host.publish("8000-8199", to="172.18.0.2:80-279", relay="helper") as mapping:
        assert len(mapping.reserved) == 200
        with bound(world.box, "172.18.0.2", 279) as server:
            assert tcp(world.host, "::1", 8199, server) == "172.18.0.1"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"relay": "thread"}, "relay 'thread' is unknown: give True, False or 'helper'"),
        ({"relay": 1}, "relay 1 is an int"),
        ({"relay": "helper", "reserve": False}, "relay='helper' with reserve=False"),
    ],
)
def test_bad_input(world: World, keywords: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        world.host.publish(8080, to="172.18.0.2:80", **keywords)  # type: ignore[arg-type]
