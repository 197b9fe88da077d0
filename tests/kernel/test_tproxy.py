"""NatRule.tproxy with real packets, by both backends: the proxy sees who asks, and whom he asks for."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from netkit import (
    ExistsError,
    Namespace,
    NatRule,
    RouteTable,
    Scope,
    SpecError,
    UnsupportedError,
    VethPair,
)
from netkit._spec.nat_tproxy import MARK
from tests.harness.oracle import Events
from tests.harness.patience import LONG
from tests.harness.tools import BACKENDS

pytestmark = [pytest.mark.parametrize("backend", BACKENDS), pytest.mark.capable]
PROXY, ASKED = 3128, 80
CLIENT = {4: "10.1.0.2", 6: "fd01::2"}
SERVER = {4: "10.2.0.2", 6: "fd02::2"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
LEVEL = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
ORIGINAL = {4: 20, 6: 74}  # IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR
FAMILIES = pytest.mark.parametrize("version", [4, 6])


class World(NamedTuple):
    router: Namespace
    client: Namespace
    server: Namespace


@pytest.fixture
def world() -> Iterator[World]:
    with Scope() as lab:
        router, client, server = [lab.own(Namespace()) for _ in range(3)]
        for ns, number in ((client, 1), (server, 2)):
            lab.own(
                VethPair(
                    router, ns, name=f"to{number}", peer_name="eth0",
                    address=[f"10.{number}.0.1/24", f"fd0{number}::1/64"],
                    peer_address=[f"10.{number}.0.2/24", f"fd0{number}::2/64"],
                )
            )  # fmt: skip
            ns.routes.add("default", via=f"10.{number}.0.1")
            ns.routes.add("default", via=f"fd0{number}::1")
        router.sysctl["net.ipv4.ip_forward"] = 1
        router.sysctl["net.ipv6.conf.all.forwarding"] = 1
        with Events(router) as events:
            events.wait_until_at_rest(router, links=2)
        yield World(router, client, server)


@contextmanager
def transparent(ns: Namespace, version: int, kind: int, address: str = "") -> Generator[socket.socket]:
    """A proxy's socket, as proxies make it."""
    with ns.socket(FAMILY[version], kind) as proxy:
        proxy.settimeout(LONG)
        proxy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 4:
            proxy.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        else:
            proxy.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            proxy.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        proxy.setsockopt(LEVEL[version], ORIGINAL[version], 1)
        proxy.bind((address, PROXY))
        if kind == socket.SOCK_STREAM:
            proxy.listen()
        yield proxy


def asks(world: World, version: int, kind: int, port: int = ASKED) -> socket.socket:
    client = world.client.socket(FAMILY[version], kind)
    client.settimeout(LONG)
    client.connect((SERVER[version], port))
    return client


def peer_of(listening: socket.socket) -> str:
    connection, peer = listening.accept()
    connection.close()
    return str(peer[0])


@FAMILIES
def test_a_tcp_proxy_sees_both_addresses(world: World, version: int, backend: str) -> None:
    with (
        NatRule.tproxy(world.router, iif="to1", dport=ASKED, to=PROXY, backend=backend) as rule,  # type: ignore[arg-type]
        transparent(world.router, version, socket.SOCK_STREAM) as proxy,
        asks(world, version, socket.SOCK_STREAM) as client,
    ):
        connection, peer = proxy.accept()
        with connection:
            assert peer[0] == CLIENT[version]
            assert connection.getsockname()[:2] == (SERVER[version], ASKED)
            connection.sendall(b"from the proxy")
            assert client.recv(100) == b"from the proxy"
            client.sendall(b"from the client")
            assert connection.recv(100) == b"from the client"
        assert client.getpeername()[:2] == (SERVER[version], ASKED)
        assert rule.counters.packets > 0


@FAMILIES
def test_a_udp_proxy_sees_both_addresses(world: World, version: int, backend: str) -> None:
    rule = NatRule.tproxy(world.router, proto="udp", dport=53, to=PROXY, backend=backend)  # type: ignore[arg-type]
    with (
        rule,
        transparent(world.router, version, socket.SOCK_DGRAM) as proxy,
        asks(world, version, socket.SOCK_DGRAM, 53) as client,
    ):
        client.send(b"question")
        data, ancillary, _, sender = proxy.recvmsg(100, 200)
        assert data == b"question"
        assert sender[0] == CLIENT[version]
        assert asked_for(version, ancillary) == (SERVER[version], 53)
        with transparent_answer(world.router, version) as answer:  # in the name of whom the client asked
            answer.sendto(b"answer", sender)
            assert client.recv(100) == b"answer"


def asked_for(version: int, ancillary: list[tuple[int, int, bytes]]) -> tuple[str, int]:
    data = next(
        data for level, kind, data in ancillary if (level, kind) == (LEVEL[version], ORIGINAL[version])
    )
    port, packed = struct.unpack_from("!H", data, 2)[0], data[4:8] if version == 4 else data[8:24]
    return socket.inet_ntop(FAMILY[version], packed), port


@contextmanager
def transparent_answer(ns: Namespace, version: int) -> Generator[socket.socket]:
    with ns.socket(FAMILY[version], socket.SOCK_DGRAM) as answer:
        answer.setsockopt(LEVEL[version], IP_TRANSPARENT if version == 4 else IPV6_TRANSPARENT, 1)
        answer.bind((SERVER[version], 53))
        yield answer


@FAMILIES
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_a_proxy_may_ask_in_the_clients_name(world: World, version: int, proto: str, backend: str) -> None:
    """The answer is for the client's address and comes by another device: it is the proxy's all the same."""
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    rule = NatRule.tproxy(world.router, iif="to1", proto=proto, dport=ASKED, to=PROXY, backend=backend)  # type: ignore[arg-type]
    with (
        rule,
        transparent(world.router, version, kind),
        world.server.socket(FAMILY[version], kind) as server,
        world.router.socket(FAMILY[version], kind) as upstream,
    ):
        server.settimeout(LONG)
        server.bind((SERVER[version], ASKED))
        upstream.settimeout(LONG)
        upstream.setsockopt(LEVEL[version], IP_TRANSPARENT if version == 4 else IPV6_TRANSPARENT, 1)
        upstream.bind((CLIENT[version], 0))
        if kind == socket.SOCK_STREAM:
            server.listen()
        upstream.connect((SERVER[version], ASKED))
        upstream.send(b"question")
        if kind == socket.SOCK_STREAM:
            connection, sender = server.accept()
            with connection:
                assert connection.recv(100) == b"question"
                connection.sendall(b"answer")
        else:
            data, sender = server.recvfrom(100)
            assert data == b"question"
            server.sendto(b"answer", sender)
        assert sender[0] == CLIENT[version]
        assert upstream.recv(100) == b"answer"


@FAMILIES
def test_the_proxys_own_port_of_others_is_theirs(world: World, version: int, backend: str) -> None:
    """It listens there at all addresses: what passes through to the same port of a server is not for it."""
    with (
        NatRule.tproxy(world.router, dport=ASKED, to=PROXY, backend=backend),  # type: ignore[arg-type]
        transparent(world.router, version, socket.SOCK_STREAM),
        world.server.socket(FAMILY[version]) as server,
    ):
        server.settimeout(LONG)
        server.bind((SERVER[version], PROXY))
        server.listen()
        with asks(world, version, socket.SOCK_STREAM, PROXY):
            assert peer_of(server) == CLIENT[version]


@FAMILIES
def test_other_ports_pass_and_in_the_end_all_do(world: World, version: int, backend: str) -> None:
    with world.server.socket(FAMILY[version]) as other, world.server.socket(FAMILY[version]) as same:
        for each, port in ((other, 81), (same, ASKED)):
            each.settimeout(LONG)
            each.bind((SERVER[version], port))
            each.listen()
        with (
            NatRule.tproxy(world.router, dport=ASKED, to=PROXY, backend=backend),  # type: ignore[arg-type]
            asks(world, version, socket.SOCK_STREAM, 81),
        ):
            assert peer_of(other) == CLIENT[version]
        with asks(world, version, socket.SOCK_STREAM):
            assert peer_of(same) == CLIENT[version]


@FAMILIES
def test_nothing_gets_past_a_proxy_that_is_not_there(world: World, version: int, backend: str) -> None:
    with world.server.socket(FAMILY[version]) as server, world.client.socket(FAMILY[version]) as client:
        server.bind((SERVER[version], ASKED))
        server.listen()
        client.settimeout(0.3)
        with (
            NatRule.tproxy(world.router, dport=ASKED, to=PROXY, backend=backend),  # type: ignore[arg-type]
            pytest.raises(TimeoutError),
        ):
            client.connect((SERVER[version], ASKED))


def test_an_address_of_the_proxy(world: World, backend: str) -> None:
    rule = NatRule.tproxy(world.router, dport=ASKED, to=f"127.0.0.1:{PROXY}", backend=backend)  # type: ignore[arg-type]
    with (
        rule,
        transparent(world.router, 4, socket.SOCK_STREAM, "127.0.0.1") as proxy,
        asks(world, 4, socket.SOCK_STREAM),
    ):
        assert peer_of(proxy) == CLIENT[4]
        assert world.router.rules.filter(family=6) == [
            each for each in world.router.rules.filter(family=6) if each.fwmark is None
        ]  # the other family is left alone


def state(ns: Namespace) -> list[str]:
    routes = ("route", "show", "table", "all", "type", "local")
    lines = (("nft", "list", "ruleset"), ("ip", "rule"), ("ip", "-6", "rule"))
    lines += (("ip", *routes), ("ip", "-6", *routes))  # type: ignore[assignment]
    lines += tuple((f"{name}-legacy", "-w", "-t", "mangle", "-S") for name in ("iptables", "ip6tables"))  # type: ignore[assignment]
    return [str(ns.run([*each], capture_output=True, text=True, check=True).stdout) for each in lines]


def test_without_ipv6_it_is_for_ipv4(world: World, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rtnetlink answers where IPv6 is switched off (ipv6.disable=1), as seen with Debian's kernel."""
    add = RouteTable.add

    def refusing(table: RouteTable, *args: object, **keywords: object) -> object:
        if keywords.get("family") == 6:
            raise UnsupportedError("add a route", errno.EOPNOTSUPP)
        return add(table, *args, **keywords)  # type: ignore[arg-type]

    before = state(world.router)
    monkeypatch.setattr(RouteTable, "add", refusing)
    with (
        NatRule.tproxy(world.router, dport=ASKED, to=PROXY, backend=backend),  # type: ignore[arg-type]
        transparent(world.router, 4, socket.SOCK_STREAM) as proxy,
        asks(world, 4, socket.SOCK_STREAM),
    ):
        assert peer_of(proxy) == CLIENT[4]
    with pytest.raises(UnsupportedError):
        NatRule.tproxy(world.router, dport=ASKED, to=PROXY, backend=backend, family=6).create()  # type: ignore[arg-type]
    assert state(world.router) == before


def test_everything_goes_with_it(world: World, backend: str) -> None:
    before = state(world.router)
    first = NatRule.tproxy(world.router, dport=80, to=PROXY, backend=backend).create()  # type: ignore[arg-type]
    second = NatRule.tproxy(world.router, dport=443, to=PROXY, backend=backend).create()  # type: ignore[arg-type]
    assert first.exists
    assert second.exists
    first.delete()
    assert second.exists
    second.delete()
    assert state(world.router) == before


def test_a_second_one_that_says_the_same(world: World, backend: str) -> None:
    with NatRule.tproxy(world.router, dport=80, to=PROXY, backend=backend) as first:  # type: ignore[arg-type]
        before = state(world.router)
        with pytest.raises(ExistsError, match="adopt"):
            NatRule.tproxy(world.router, dport=80, to=PROXY, backend=backend).create()  # type: ignore[arg-type]
        assert state(world.router) == before
        assert first.exists


def test_detach_and_adopt(world: World, backend: str) -> None:
    before = state(world.router)
    rule = NatRule.tproxy(world.router, dport=80, to=PROXY, backend=backend).create().detach()  # type: ignore[arg-type]
    assert rule.exists
    program = (
        "from netkit import Namespace, NatRule\n"
        f"rule = NatRule.tproxy(Namespace.current(), dport=80, to={PROXY}, backend={backend!r}).adopt()\n"
        "print(rule.exists)\n"
        "rule.delete()\n"
    )
    done = world.router.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
    assert not rule.exists
    assert state(world.router) == before


def test_it_is_listed_and_put_back(world: World, backend: str) -> None:
    with NatRule.tproxy(world.router, dport=80, to=PROXY, family=4, backend=backend) as rule:  # type: ignore[arg-type]
        listed = [entry for entry in world.router.nat if "tproxy" in entry.rule.lower()]
        assert [entry.ours for entry in listed] == [True]
        world.router.run(["ip", "rule", "del", "fwmark", f"{MARK:#x}/{MARK:#x}"], check=True)
        world.router.run(["iptables-legacy", "-w", "-t", "mangle", "-F"], check=True)
        assert world.router.nat.verify() == (rule,)
        assert world.router.nat.ensure() == (rule,)
        assert rule.exists
    assert not world.router.nat


def test_killed_it_leaves_nothing(world: World, backend: str) -> None:
    before = state(world.router)
    program = (
        "import os, signal\nfrom netkit import Namespace, NatRule\n"
        f"NatRule.tproxy(Namespace.current(), dport=80, to={PROXY}, backend={backend!r}).create()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = world.router.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert done.returncode == -9, done.stderr
    deadline = time.monotonic() + LONG  # the guard's commands, on a busy machine
    while state(world.router) != before and time.monotonic() < deadline:
        continue  # each look is seven processes' ends that are waited for
    assert state(world.router) == before


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"to": PROXY, "proto": "sctp", "dport": 80}, "'tcp' or 'udp'"),
        ({"to": PROXY, "proto": "!= tcp", "dport": 80}, "'tcp' or 'udp'"),
        ({"to": 0, "dport": 80}, "0"),
        ({"to": 70000, "dport": 80}, "70000"),
        ({"to": "3128-3130", "dport": 80}, "several"),
        ({"to": "10.0.0.1-10.0.0.2:80", "dport": 80}, "several"),
        ({"to": None, "dport": 80}, "without a target"),
        ({"to": "[fd00::1]:80", "daddr": "10.0.0.0/8"}, "IPv"),
        ({"to": PROXY, "dport": 80, "mark": 0}, "mark 0"),
        ({"to": PROXY, "dport": 80, "mark": 1 << 32}, "mark"),
        ({"to": PROXY, "dport": 80, "mark": True}, "mark"),
        ({"to": PROXY, "dport": 80, "iif": "eth*"}, "eth"),
    ],
)
def test_bad_input(world: World, backend: str, keywords: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        NatRule.tproxy(world.router, backend=backend, **keywords)  # type: ignore[arg-type]
