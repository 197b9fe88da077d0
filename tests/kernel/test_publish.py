"""PortMapping by both backends: its lifecycle, what it reserves and refuses.

Who reaches it: test_publish_matrix.py. What each backend makes of it: test_publish_backends.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any, NamedTuple

import pytest

from netkit import (
    Bridge,
    ExistsError,
    KernelError,
    Namespace,
    NotFoundError,
    PortMapping,
    Scope,
    SpecError,
    StateError,
    wait_for,
)
from netkit._nat import publish_reserve
from netkit._system.relay import _PATIENCE, StreamPort
from tests.harness.oracle import Events
from tests.harness.packets import TIMEOUT, bound, refused, tcp, udp
from tests.harness.publishing import backend, ended, guards, is_detached, left_in_the_end, ruleset, shows

__all__ = ["backend"]
pytestmark = pytest.mark.usefixtures("backend")


class World(NamedTuple):
    host: Namespace
    box: Namespace
    other: Namespace
    bridge: Bridge


@pytest.fixture
def world() -> Iterator[World]:
    with Scope() as lab:
        host, box, other = [lab.own(Namespace()) for _ in range(3)]
        bridge = lab.own(Bridge(host, "br0", address=["172.18.0.1/24", "fd18::1/64"]))
        for ns, number in ((box, 2), (other, 3)):
            addresses = [f"172.18.0.{number}/24", f"fd18::{number}/64"]
            bridge.connect(ns, name=f"port{number}", peer_address=addresses, default_route=True)
        yield World(host, box, other, bridge)


def sysctls(ns: Namespace) -> list[str | None]:
    keys = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.br0.route_localnet")
    return [ns.sysctl.get(key) for key in keys]


# -- lifecycle ------------------------------------------------------------------------


def test_nothing_is_there_before_and_after(world: World) -> None:
    before = sysctls(world.host)
    mapping = world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"])
    assert ruleset(world.host) == ""
    assert not mapping.exists
    for _ in range(2):
        with mapping:
            assert mapping.exists
            assert mapping.counters == (0, 0)
            assert mapping.reserved == (("tcp", 8080), ("udp", 8080))
            for proto in ("tcp", "udp"):
                assert shows(ruleset(world.host), 8080, "172.18.0.2", 80, proto)
        assert not mapping.exists
        assert ruleset(world.host) == ""
        assert sysctls(world.host) == before
        assert refused(world.host, "127.0.0.1", 8080)
    with pytest.raises(StateError, match="deleted"):
        _ = mapping.counters
    with pytest.raises(StateError):
        mapping.delete()


def test_words(world: World) -> None:
    with world.host.publish("8000-8002", to=(world.box, "80-82"), proto=["tcp", "udp"]) as mapping:
        assert [str(spec) for spec in mapping.specs] == [
            "tcp/udp 8000-8002 -> 172.18.0.2:80-82 and [fd18::2]:80-82"
        ]
        assert repr(mapping).startswith("<PortMapping tcp/udp 8000-8002 -> ")
        assert mapping.netns is world.host
        assert isinstance(mapping, PortMapping)


def test_a_range_is_mapped_one_to_one(world: World) -> None:
    with world.host.publish("9000-9002", to="172.18.0.2:100-102"):
        for step in range(3):
            with bound(world.box, "172.18.0.2", 100 + step) as server:
                assert tcp(world.other, "172.18.0.1", 9000 + step, server) == "172.18.0.1"


def test_one_goes_and_the_others_stay(world: World) -> None:
    first = world.host.publish(8080, to="172.18.0.2:80").create()
    second = world.host.publish(8081, to="172.18.0.3:80").create()
    first.delete()
    with bound(world.other, "172.18.0.3", 80) as server:
        assert tcp(world.box, "172.18.0.1", 8081, server) == "172.18.0.1"
        assert tcp(world.host, "127.0.0.1", 8081, server) == "172.18.0.1"
    assert refused(world.host, "127.0.0.1", 8080)
    second.delete()
    assert ruleset(world.host) == ""


def test_only_one_address(world: World) -> None:
    with (
        world.host.publish(8080, to="172.18.0.2:80", host_ip="127.0.0.1") as mapping,
        bound(world.box, "172.18.0.2", 80) as server,
    ):
        assert tcp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"
        assert refused(world.other, "172.18.0.1", 8080)
        assert refused(world.host, "::1", 8080)
        assert mapping.reserved == (("tcp", 8080),)
        with world.host.publish(8080, to="172.18.0.3:80", host_ip="172.18.0.1"):
            assert tcp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"


def test_loopback_of_ipv6_alone(world: World) -> None:
    with (
        world.host.publish(8080, to="[fd18::2]:80", host_ip="::1") as mapping,
        bound(world.box, "fd18::2", 80) as server,
    ):
        assert tcp(world.host, "::1", 8080, server) == "fd18::1"
        assert refused(world.other, "fd18::1", 8080)
        assert mapping.exists  # though NAT has nothing to do
        assert mapping.counters == (0, 0)
        assert world.host.nat.verify() == ()


def test_a_target_for_each_family(world: World) -> None:
    with world.host.publish_many([(8080, "172.18.0.3:80"), (8080, "[fd18::2]:80")]) as mapping:
        assert mapping.reserved == (("tcp", 8080),)
        with bound(world.box, "fd18::2", 80) as server:
            assert tcp(world.other, "fd18::1", 8080, server) == "fd18::1"
        with bound(world.other, "172.18.0.3", 80) as server:
            for address in ("127.0.0.1", "::1"):
                assert tcp(world.host, address, 8080, server) == "172.18.0.1"


def test_none_at_all(world: World) -> None:
    with world.host.publish_many({}) as mapping:
        assert mapping.exists
        assert mapping.counters == (0, 0)
    assert ruleset(world.host) == ""


def test_a_link_is_a_target(world: World) -> None:
    link = world.box.links["eth0"]
    with world.host.publish(80, to=link) as mapping, bound(world.box, "172.18.0.2", 80) as server:
        assert str(mapping.specs[0]) == "tcp 80 -> 172.18.0.2:80 and [fd18::2]:80"
        assert tcp(world.other, "172.18.0.1", 80, server) == "172.18.0.1"


def test_the_namespace_ends_first(world: World) -> None:
    with Namespace() as host, Bridge(host, "br0", address="10.0.0.1/24"):
        host.publish(8080, to="10.0.0.2:80").create()
    # `leaves_nothing` looks for open sockets and the relay's thread.


def test_a_snapshot_says_what_is_published(world: World, backend: str) -> None:
    with Events(world.host) as events:
        events.wait_until_at_rest(world.host, links=3)
    before = world.host.snapshot()
    with world.host.publish(8080, to=(world.box, 80)):
        during = world.host.snapshot()
        assert [str(each) for each in during.nat] == [
            f"publish tcp 8080 -> 172.18.0.2:80 and [fd18::2]:80 ({backend})"
        ]
        assert during != before
    assert world.host.snapshot() == before


def test_it_ends_with_the_scope_that_owns_it(world: World) -> None:
    with Scope() as lab:
        mapping = lab.own(world.host.publish(8080, to="172.18.0.2:80"))
        assert mapping.exists
    assert ruleset(world.host) == ""


def test_what_fails_half_way_leaves_nothing(world: World) -> None:
    before = sysctls(world.host)
    with bound(world.host, "0.0.0.0", 8002):
        with pytest.raises(ExistsError):
            world.host.publish("8000-8004", to="172.18.0.2:80-84").create()
        assert ruleset(world.host) == ""
        assert sysctls(world.host) == before
        with bound(world.host, "0.0.0.0", 8001):
            pass
    with world.host.publish("8000-8004", to="172.18.0.2:80-84", reserve=False):
        taken = world.host.publish("7999-8000", to="172.18.0.3:80-81")
        with pytest.raises(ExistsError, match=r"tcp 8000-8004 -> 172\.18\.0\.2:80-84"):
            taken.create()
        assert not taken.exists
        assert taken.reserved == ()
    assert ruleset(world.host) == ""
    assert sysctls(world.host) == before


def test_a_process_that_is_killed_leaves_nothing(world: World, backend: str) -> None:
    program = (
        "import os, sys; from netkit import Namespace\n"
        "host = Namespace.current()\n"
        f"host.publish(8080, to='172.18.0.2:80', relay=False, backend={backend!r}).create()\n"
        "os.kill(os.getpid(), 9)"
    )
    world.host.sysctl["net.ipv4.ip_forward"] = 1
    done = world.host.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert left_in_the_end(world.host) == ""
    with bound(world.host, "0.0.0.0", 8080):
        pass


# -- detach and adopt -----------------------------------------------------------------


def test_detach_and_adopt(world: World) -> None:
    host = world.host
    mapping = host.publish(8080, to="172.18.0.2:80").create()
    staying = host.publish(8081, to="172.18.0.3:80").create()
    mapping.detach()
    assert mapping.exists
    assert mapping.reserved == ()
    with bound(world.box, "172.18.0.2", 80) as server:
        assert tcp(world.other, "172.18.0.1", 8080, server) == "172.18.0.1"
        assert tcp(world.host, "127.0.0.1", 8080, server) == "172.18.0.1"
        assert mapping.counters.packets == 2
    assert is_detached(ruleset(host))
    staying.delete()
    again = host.publish(8080, to="172.18.0.2:80").adopt()
    assert not is_detached(ruleset(host))
    assert again.exists
    assert not mapping.exists
    assert again.reserved == (("tcp", 8080),)
    assert guards(ruleset(host)) == 1
    assert sysctls(host)[2] == "1"
    again.delete()
    assert ruleset(host) == ""
    assert sysctls(host)[2] == "0"
    with pytest.raises(NotFoundError, match="No such ports were detached"):
        host.publish(8080, to="172.18.0.2:80").adopt()


@pytest.mark.parametrize("reserve", [True, False])
def test_what_is_detached_has_its_ports(world: World, reserve: bool) -> None:
    """Nobody holds them bound any more, but there they lead: of two rules one would do nothing."""
    host = world.host
    staying = host.publish(9000, to="172.18.0.3:80", reserve=reserve).create()
    host.publish(8080, to=world.box, proto=["tcp", "udp"], reserve=reserve).create().detach()
    before = re.sub(r"packets \d+ bytes \d+", "", ruleset(host))
    taken: list[dict[str, Any]] = [
        {"port": 8080, "to": "172.18.0.3:80"},
        {"port": "8070-8090", "to": "172.18.0.3"},
        {"port": 8080, "to": "[fd18::3]:80", "host_ip": "::", "proto": "udp"},
        {"port": 8080, "to": world.box, "proto": ["tcp", "udp"]},
        {"port": 8080, "to": "172.18.0.3:80", "host_ip": "172.18.0.1"},
    ]
    for asked in taken:
        words = r"It is detached here, and leads to (172\.18\.0\.2|\[fd18::2\]):8080: adopt\(\)"
        with pytest.raises(ExistsError, match=words):
            host.publish(**asked, reserve=reserve).create()
    with pytest.raises(ExistsError, match="It is detached here"):
        host.publish_many({8000 + n: "172.18.0.3:80" for n in range(100)}, reserve=reserve).create()
    assert re.sub(r"packets \d+ bytes \d+", "", ruleset(host)) == before
    host.publish(8081, to="172.18.0.3:80", reserve=reserve).create().delete()
    one = {"to": "172.18.0.3:80", "host_ip": "172.18.0.1"}
    host.publish(9001, **one, reserve=reserve).create().detach()
    with pytest.raises(ExistsError, match=r"It is detached here, and leads to 172\.18\.0\.3:80"):
        host.publish("9001-9002", to="172.18.0.3", reserve=reserve).create()
    host.publish(9001, to="172.18.0.3:80", host_ip="127.0.0.1", reserve=reserve).create().delete()
    host.publish(9001, **one, reserve=reserve).adopt().delete()
    host.publish(8080, to=world.box, proto=["tcp", "udp"], reserve=reserve).adopt().delete()
    staying.delete()
    assert ruleset(host) == ""


def test_two_are_detached_and_one_is_adopted(world: World) -> None:
    host = world.host
    one = host.publish(8080, to="172.18.0.2:80").create().detach()
    two = host.publish(8081, to=(world.other, 80)).create().detach()
    one.adopt()
    assert two.exists
    assert guards(ruleset(host)) == 2
    one.delete()
    assert guards(ruleset(host)) == 1
    assert sysctls(host)[2] == "1"
    with bound(world.other, "172.18.0.3", 80) as server:
        assert tcp(world.box, "172.18.0.1", 8081, server) == "172.18.0.1"
    with pytest.raises(NotFoundError):
        host.publish(8081, to="172.18.0.2:80").adopt()  # leads elsewhere
    two.adopt().delete()
    assert ruleset(host) == ""


def test_what_somebody_has_bound_meanwhile_is_not_adopted(world: World) -> None:
    """It stays what it was, detached, and nothing of it is ours; afterwards it is adopted."""
    host = world.host
    mapping = host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"]).create().detach()
    before = re.sub(r"packets \d+ bytes \d+", "", ruleset(host))
    again = host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"])
    with bound(host, "0.0.0.0", 8080, socket.SOCK_DGRAM):
        for each in (mapping, again):
            with pytest.raises(ExistsError, match=r"0\.0\.0\.0:8080|\[::\]:8080"):
                each.adopt()
            assert each.reserved == ()
        assert re.sub(r"packets \d+ bytes \d+", "", ruleset(host)) == before
        assert mapping.exists
        with bound(host, "::", 8080):
            pass
    mapping.adopt().delete()
    assert ruleset(host) == ""


def test_another_process_detaches_it(world: World, backend: str) -> None:
    world.host.sysctl["net.ipv4.ip_forward"] = 1
    program = (
        "from netkit import Namespace\n"
        "host = Namespace.current()\n"
        f"web = host.publish(8080, to='172.18.0.2:80', proto=['tcp', 'udp'], backend={backend!r})\n"
        "web.create().detach()"
    )
    world.host.run([sys.executable, "-W", "error", "-c", program], check=True)
    assert is_detached(ruleset(world.host))
    with bound(world.box, "172.18.0.2", 80) as server:
        assert tcp(world.other, "172.18.0.1", 8080, server) == "172.18.0.1"
        with world.host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"]).adopt() as mapping:
            assert mapping.counters == (0, 0)  # of elements they begin anew
            assert mapping.reserved == (("tcp", 8080), ("udp", 8080))
            assert tcp(world.host, "::1", 8080, server) == "172.18.0.1"
    assert ruleset(world.host) == ""


# -- reservation ----------------------------------------------------------------------


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


def taken(sock: socket.socket, address: str) -> bool:
    try:
        sock.bind((address, 8080))
        if sock.type == socket.SOCK_STREAM:
            sock.listen()
    except OSError as problem:
        return problem.errno == errno.EADDRINUSE
    return False


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


# -- the relay ------------------------------------------------------------------------


def test_the_relay_passes_much_both_ways_and_its_end(world: World) -> None:
    data = os.urandom(3_000_000)
    received = bytearray()
    with world.host.publish(8080, to="172.18.0.2:80"), bound(world.box, "172.18.0.2", 80) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while part := connection.recv(65536):
                    received.extend(part)
                connection.sendall(data[::-1])

        thread = threading.Thread(target=serve)
        thread.start()
        with world.host.socket(socket.AF_INET6) as client:
            client.settimeout(TIMEOUT)
            client.connect(("::1", 8080))
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            answer = bytearray()
            while part := client.recv(65536):
                answer.extend(part)
        thread.join()
    assert received == data
    assert answer == data[::-1]


def test_where_nobody_serves_the_relay_says_so(world: World) -> None:
    with world.host.publish(8080, to="172.18.0.2:80"), world.host.socket(socket.AF_INET6) as client:
        client.settimeout(TIMEOUT)
        assert ended(client, "::1")


def test_the_relay_is_for_loopback_only(world: World) -> None:
    with world.host.publish(8080, to="172.18.0.2:80"), world.other.socket(socket.AF_INET6) as client:
        client.settimeout(TIMEOUT)
        assert ended(client, "fd18::1")


def test_the_relay_waits_where_there_are_no_descriptors(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not ask again and again, and goes on when there are some."""
    tries: list[int] = []
    arrived = StreamPort.arrived

    def counted(port: StreamPort, events: int) -> None:
        tries.append(events)
        arrived(port, events)

    monkeypatch.setattr(StreamPort, "arrived", counted)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (
        world.host.publish(8080, to="172.18.0.2:80"),
        bound(world.box, "172.18.0.2", 80) as server,
        world.host.socket(socket.AF_INET6) as client,
    ):
        client.settimeout(TIMEOUT)
        gaps: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                gaps.append(os.open("/", os.O_RDONLY))
        try:
            began = monotonic()
            client.connect(("::1", 8080))
            wait_for(lambda: tries, timeout=TIMEOUT)
            assert select.select([server], [], [], 0.3)[0] == []
            assert len(tries) <= 2 + (monotonic() - began) / _PATIENCE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in gaps:
                os.close(each)
        server.settimeout(TIMEOUT)
        connection, _ = server.accept()
        connection.close()


def test_without_relay(world: World) -> None:
    with world.host.publish(8080, to="172.18.0.2:80", relay=False):
        assert refused(world.host, "::1", 8080)
        assert not [each for each in threading.enumerate() if each.name == "netkit-relay"]


# -- UDP ------------------------------------------------------------------------------


def test_F62_the_next_datagram_reaches_the_new_server(world: World) -> None:
    """From the same port of the client: the kernel would go on with what it remembers."""
    with world.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT)
        client.bind(("172.18.0.1", 5555))
        for ns, address in (
            (world.box, "172.18.0.2"),
            (world.other, "172.18.0.3"),
            (world.box, "172.18.0.2"),
        ):
            with (
                world.host.publish(53, to=f"{address}:5353", proto="udp"),
                bound(ns, address, 5353, socket.SOCK_DGRAM) as server,
            ):
                client.sendto(b"ping", ("172.18.0.1", 53))
                data, name = server.recvfrom(16)
                assert data == b"ping"
                server.sendto(b"pong", name)
                assert client.recv(16) == b"pong"


def test_F62_datagrams_before_it_was_published_are_forgotten(world: World) -> None:
    with world.other.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("172.18.0.3", 5555))
        with world.host.publish(9999, to="172.18.0.2:1"):  # makes the kernel track connections
            client.sendto(b"nobody there", ("172.18.0.1", 53))
            assert world.host.conntrack.count(proto="udp", dport=53) == 1
            with (
                world.host.publish(53, to="172.18.0.2:53", proto="udp"),
                bound(world.box, "172.18.0.2", 53, socket.SOCK_DGRAM) as server,
            ):
                client.sendto(b"ping", ("172.18.0.1", 53))
                assert server.recv(16) == b"ping"


def test_only_connections_of_that_address_and_port_are_forgotten(world: World) -> None:
    host = world.host
    with Scope() as lab:
        lab.own(host.publish(54, to="172.18.0.2:54", proto="udp"))
        mapping = host.publish(53, to="172.18.0.2:53", proto="udp").create()
        with (
            bound(world.box, "172.18.0.2", 53, socket.SOCK_DGRAM) as server,
            bound(world.box, "172.18.0.2", 54, socket.SOCK_DGRAM) as beside,
        ):
            udp(host, "172.18.0.1", 53, server)
            udp(host, "172.18.0.1", 54, beside)
            udp(host, "172.18.0.2", 53, server)  # to the box itself, past the mapping
        assert host.conntrack.count(proto="udp") == 3
        mapping.delete()
        left = host.conntrack.filter(proto="udp")
        assert sorted((str(each.daddr), each.dport) for each in left) == [
            ("172.18.0.1", 54),
            ("172.18.0.2", 53),
        ]


# -- many -----------------------------------------------------------------------------


def test_many_in_one_transaction(world: World) -> None:
    many = {10000 + n: f"172.18.0.{n % 200 + 2}:{n % 1000 + 1}" for n in range(5000)}
    with world.host.publish_many(many, reserve=False) as mapping:
        assert len(mapping.specs) == 5000
        assert mapping.exists
        with bound(world.box, "172.18.0.2", 201) as server:
            assert tcp(world.other, "172.18.0.1", 10200, server) == "172.18.0.1"
        with world.host.publish(8080, to="172.18.0.2:80"):
            pass
        with pytest.raises(ExistsError, match="tcp port 10007"):
            world.host.publish_many(
                [(9999, "172.18.0.2:80"), (10007, "172.18.0.2:80")], reserve=False
            ).create()
    assert ruleset(world.host) == ""


def test_F37_more_than_there_can_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seventy thousand are refused at once: by the first port that there is not, or by the limit."""
    before = sysctls(world.host)
    with pytest.raises(SpecError, match="port 65536 is out of range: 1 to 65535"):
        world.host.publish_many(dict.fromkeys(range(1, 70001), "172.18.0.2:80"), reserve=False)
    monkeypatch.setattr(publish_reserve, "getrlimit", lambda which: (1000, 1000))
    words = r"reserve 2000 ports.* may have 1000 \(RLIMIT_NOFILE.*reserve=False needs none"
    with pytest.raises(KernelError, match=words):
        world.host.publish("8000-8999", to="172.18.0.2", proto=["tcp", "udp"]).create()
    assert ruleset(world.host) == ""
    assert sysctls(world.host) == before


def test_many_with_reservation_and_targets_of_all_kinds(world: World) -> None:
    pairs = [
        (8000, world.box),
        (8001, (world.box, 80)),
        (8002, "172.18.0.3"),
        ("8003-8004", "172.18.0.3:1-2"),
    ]
    with world.host.publish_many(pairs, proto=["tcp", "udp"]) as mapping:
        assert len(mapping.reserved) == 10
        with bound(world.box, "fd18::2", 80) as server:
            assert tcp(world.other, "fd18::1", 8001, server) == "fd18::1"


# -- refusals: each before anything changed -------------------------------------------


@pytest.mark.parametrize(
    ("port", "keywords", "message"),
    [
        (0, {"to": "172.18.0.2:80"}, "port 0 is out of range: 1 to 65535"),
        (70000, {"to": "172.18.0.2:80"}, "port 70000 is out of range: 1 to 65535"),
        (True, {"to": "172.18.0.2:80"}, "port True is a bool"),
        (80, {"to": "172.18.0.2:0"}, "out of range"),
        (80, {"to": "172.18.0.2:70000"}, "out of range|not a number"),
        ("80-90", {"to": "172.18.0.2:80-85"}, "port 80-90 is 11 ports, but the target has 6: .*give 80-90"),
        ("80-90", {"to": "172.18.0.2:80"}, "11 ports, but the target has 1"),
        (80, {"to": "172.18.0.2-172.18.0.9:80"}, "several addresses"),
        (80, {"to": "br+"}, "br\\+"),
        (80, {"to": "eth*"}, "eth\\*"),
        (80, {"to": "127.0.0.1:80"}, "loopback address.*NatRule.redirect"),
        (80, {"to": "[fe80::1]:80"}, "link-local address, and NAT names no link"),
        (80, {"to": "172.18.0.255:80"}, r"'172\.18\.0\.255' is the broadcast address of 172\.18\.0\.0/24"),
        (80, {"to": "172.18.0.0:80"}, r"'172\.18\.0\.0' is the network address of 172\.18\.0\.0/24"),
        (80, {"to": "172.18.0.2:80", "host_ip": "::"}, "host_ip '::' is IPv6, but to '172.18.0.2' is IPv4"),
        (80, {"to": "[fd18::2]:80", "host_ip": "0.0.0.0"}, "IPv4, but to 'fd18::2' is IPv6"),
        (80, {"to": "172.18.0.2:80", "host_ip": "224.0.0.1"}, "no address of a host"),
        (80, {"to": "172.18.0.2:80", "host_ip": "fe80::1"}, "link-local address, and a published port"),
        (80, {"to": "172.18.0.2:80", "host_ip": "fe80::1%br0"}, "names a device: write 'fe80::1'$"),
        (80, {"to": "172.18.0.2:80", "host_ip": "::ffff:172.18.0.1"}, "IPv6: write '172.18.0.1'"),
        (80, {"to": None}, "to None is no target: give 'ADDRESS:PORT', .*a Namespace, a Link such as"),
        (80, {"to": ["172.18.0.2:80"]}, "to .* is no target"),
        (80, {"to": "172.18.0.2:80-81"}, "port 80 is 1 port, but the target has 2"),
        (80, {"to": "172.18.0.2:80", "proto": [["tcp"]]}, r"proto \['tcp'\] has no ports"),
        (80, {"to": "172.18.0.2:80", "proto": b"tcp"}, "proto b'tcp' is no protocol"),
        (80, {"to": "172.18.0.2:80", "proto": "icmp"}, "proto 'icmp' has no ports"),
        (80, {"to": "172.18.0.2:80", "proto": []}, "proto is empty"),
        (80, {"to": "172.18.0.2:80", "proto": 6}, "proto 6 is no protocol"),
        (80, {"to": "172.18.0.2:80", "hairpin": 1}, "hairpin 1 is an int"),
        (80, {"to": "172.18.0.2:80", "reserve": False, "relay": True}, "relay=True with reserve=False"),
        (80, {"to": "192.168.9.9:80"}, "in no network that .* is connected to: .*172.18.0.1/24"),
        (80, {"to": "[fd99::2]:80"}, "in no network that .* is connected to: .*fd18::1/64"),
    ],
)
def test_bad_input_changes_nothing(
    world: World, port: object, keywords: dict[str, object], message: str
) -> None:
    before = sysctls(world.host)
    with pytest.raises(SpecError, match=message):
        world.host.publish(port, **keywords).create()  # type: ignore[arg-type]
    assert ruleset(world.host) == ""
    assert sysctls(world.host) == before


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        (8080, "ports 8080 is an int: give {8080: '172.18.0.2:80', 8081: box}, or pairs"),
        (None, "ports None is a NoneType"),
        ("8080", "ports '8080' is a str"),
        ([8080], "ports: 8080 is no pair of a port and its target"),
        ([(8080,)], r"ports: \(8080,\) is no pair"),
        ([{8080: "172.18.0.2:80"}], "ports: {8080: '172.18.0.2:80'} is no pair"),
        ({8080: None}, "to None is no target"),
        ({8080: "172.18.0.2:1", "8080": "172.18.0.2:2"}, "tcp port 8080 is given twice: .*:1 and"),
        ([(8080, "172.18.0.2:1"), ("8079-8081", "172.18.0.2")], "tcp port 8080 is given twice"),
        ([(8080, "172.18.0.2:1"), (8080, "172.18.0.2:1")], "tcp port 8080 is given twice"),
    ],
)
def test_bad_input_of_many_changes_nothing(world: World, ports: Any, message: str) -> None:
    before = sysctls(world.host)
    for reserve in (True, False):
        with pytest.raises(SpecError, match=message):
            world.host.publish_many(ports, reserve=reserve)
    with pytest.raises(SpecError, match="tcp port 8080 is given twice"):
        world.host.publish_many([(8080, world.box), (8080, "172.18.0.2:80")]).create()
    assert ruleset(world.host) == ""
    assert sysctls(world.host) == before


def test_protocols_are_read_once(world: World) -> None:
    pairs = [(8080, world.box), (8081, "172.18.0.2:80")]
    with world.host.publish_many(pairs, proto=iter(["tcp", "udp"])) as mapping:
        assert [spec.protos for spec in mapping.specs] == [("tcp", "udp")] * 2


def test_of_several_addresses_the_one_that_is_connected_is_taken(world: World) -> None:
    with Namespace() as box:
        world.bridge.connect(
            box, name="port9", peer_address=["192.168.7.7/24", "172.18.0.9/24", "fd77::7/64"]
        )
        with world.host.publish(80, to=box) as mapping:
            assert str(mapping.specs[0]) == "tcp 80 -> 172.18.0.9:80"
        with pytest.raises(SpecError, match=r"fd77::7.* in no network that .* is connected to"):
            world.host.publish(80, to=box, host_ip="::").create()


def test_a_target_without_an_address(world: World) -> None:
    with Namespace() as empty, pytest.raises(SpecError, match="no global address of IPv4 or IPv6"):
        world.host.publish(80, to=empty).create()
    with Namespace() as empty, pytest.raises(SpecError, match="no global address of IPv4 that"):
        world.host.publish(80, to=empty, host_ip="0.0.0.0").create()


def test_a_borrowed_namespace_that_does_not_forward(world: World) -> None:
    with Namespace.from_fd(world.host.fileno()) as same:
        assert same.publish(80, to="172.18.0.2") is not None
    program = (
        "from netkit import Namespace, StateError\n"
        "try: Namespace.current().publish(8080, to='172.18.0.2:80').create()\n"
        "except StateError as problem: print(problem)"
    )
    done = world.host.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "does not forward IPv4" in done.stdout
    assert "ns.sysctl.override('net.ipv4.ip_forward', 1)" in done.stdout
    assert ruleset(world.host) == ""
