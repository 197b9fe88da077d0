"""Who reaches a published port, and the address that the server sees: all clients, families, protocols,
both backends, with bridged packets passing NAT and not.

    outside 192.0.2.2 -- 192.0.2.1 host 172.18.0.1 (br0) -- 172.18.0.2 box, 172.18.0.3 neighbour
    2001:db8::2          2001:db8::1    fd18::1             fd18::2         fd18::3

The box's port 80 is published as 8080 of the host. The table in docs/nat.md is what these tests found:
NETKIT_WRITE_TABLES=1 writes it.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from netkit import Bridge, Namespace, Scope, VethPair
from tests.harness.packets import QUIET, TIMEOUT, bound, tcp, udp
from tests.harness.publishing import backend
from tests.harness.sctp import has_sockets, sctp, sctp_bound

__all__ = ["backend"]

TALK = {"tcp": (tcp, socket.SOCK_STREAM), "udp": (udp, socket.SOCK_DGRAM)}
NAMES = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
FAMILIES = pytest.mark.parametrize("family", [4, 6])
PROTOCOLS = pytest.mark.parametrize("proto", ["tcp", "udp"])
BRIDGE_CALLS = pytest.mark.parametrize("bridge_calls", [0, 1])
SERVER = {4: "172.18.0.2", 6: "fd18::2"}

# Who connects, to which address of each family, and as whom the server sees him.
CLIENTS: dict[str, tuple[str, dict[int, str], dict[int, str]]] = {
    "outside": (
        "outside",
        {4: "192.0.2.1", 6: "2001:db8::1"},
        {4: "192.0.2.2", 6: "2001:db8::2"},
    ),
    "host by its outer address": (
        "host",
        {4: "192.0.2.1", 6: "2001:db8::1"},
        {4: "192.0.2.1", 6: "2001:db8::1"},
    ),
    "host by its inner address": (
        "host",
        {4: "172.18.0.1", 6: "fd18::1"},
        {4: "172.18.0.1", 6: "fd18::1"},
    ),
    "host by loopback": ("host", {4: "127.0.0.1", 6: "::1"}, {4: "172.18.0.1", 6: "fd18::1"}),
    "neighbour by the outer address": (
        "neighbour",
        {4: "192.0.2.1", 6: "2001:db8::1"},
        {4: "172.18.0.1", 6: "fd18::1"},
    ),
    "neighbour by the inner address": (
        "neighbour",
        {4: "172.18.0.1", 6: "fd18::1"},
        {4: "172.18.0.1", 6: "fd18::1"},
    ),
    "box by the outer address": (
        "box",
        {4: "192.0.2.1", 6: "2001:db8::1"},
        {4: "172.18.0.1", 6: "fd18::1"},
    ),
    "box by the inner address": (
        "box",
        {4: "172.18.0.1", 6: "fd18::1"},
        {4: "172.18.0.1", 6: "fd18::1"},
    ),
}


PAGE = Path(__file__).parents[2] / "docs" / "nat.md"
MARKS = "<!-- who reaches it: generated -->", "<!-- who reaches it: end -->"
# What was found: by family and client, then by backend, bridge-nf-call and protocol.
FOUND: dict[tuple[int, str], dict[tuple[str, int, str], str]] = {}
ALL = set(product(("nftables", "iptables"), (0, 1), NAMES))


def table() -> str:
    """What the tests found, for people; what is the same everywhere is said once."""
    lines = ["| client | asks | the server sees | asks | the server sees |", "|---|---|---|---|---|"]
    for client, (_, asked, _) in CLIENTS.items():
        four, six = [_cell(FOUND[family, client]) for family in (4, 6)]
        lines.append(f"| {client} | {asked[4]} | {four} | {asked[6]} | {six} |")
    return "\n".join(lines)


def _cell(found: dict[tuple[str, int, str], str]) -> str:
    most = max(set(found.values()), key=list(found.values()).count)
    others: dict[str, set[tuple[str, ...]]] = {}
    for (name, calls, proto), seen in found.items():
        if seen != most:
            alike = all(found[each] == seen for each in found if each[2] == proto)
            words = (NAMES[proto],) if alike else (NAMES[proto], name, f"bridge-nf-call {calls}")
            others.setdefault(seen, set()).add(words)
    more = [f"{' '.join(words)}: {seen}" for seen, some in sorted(others.items()) for words in sorted(some)]
    return f"{most} ({', '.join(more)})" if more else most


class World(NamedTuple):
    host: Namespace
    outside: Namespace
    box: Namespace
    neighbour: Namespace


@pytest.fixture
def world() -> Iterator[World]:
    with Scope() as lab:
        host, outside, box, neighbour = [lab.own(Namespace()) for _ in range(4)]
        bridge = lab.own(Bridge(host, "br0", address=["172.18.0.1/24", "fd18::1/64"]))
        for ns, number in ((box, 2), (neighbour, 3)):
            addresses = [f"172.18.0.{number}/24", f"fd18::{number}/64"]
            bridge.connect(ns, name=f"port{number}", peer_address=addresses, default_route=True)
        here, there = ["192.0.2.1/24", "2001:db8::1/64"], ["192.0.2.2/24", "2001:db8::2/64"]
        lab.own(VethPair(host, outside, name="wan", peer_name="eth0", address=here, peer_address=there))
        yield World(host, outside, box, neighbour)


def set_bridge_calls(host: Namespace, value: int) -> None:
    if not os.path.exists("/proc/sys/net/bridge"):
        if value:
            pytest.skip("br_netfilter is not loaded")
        return
    for word in ("iptables", "ip6tables"):
        host.sysctl[f"net.bridge.bridge-nf-call-{word}"] = value


def seen(world: World, proto: str, family: int, client: str, port: int = 8080) -> list[str]:
    """As whom the server sees the client: twice, for the first packet may change something (redirects)."""
    who, addresses, _ = CLIENTS[client]
    ns: Namespace = getattr(world, who)
    if proto == "sctp":
        with sctp_bound(world.box, SERVER[family], 80) as server:
            return [sctp(ns, addresses[family], port, server)]
    talk, kind = TALK[proto]
    with bound(world.box, SERVER[family], 80, kind) as server:
        return [talk(ns, addresses[family], port, server) for _ in range(2)]


@pytest.mark.parametrize("proto", NAMES)
@BRIDGE_CALLS
@FAMILIES
def test_F63_F66_everybody_reaches_it(
    world: World, family: int, proto: str, bridge_calls: int, backend: str
) -> None:
    set_bridge_calls(world.host, bridge_calls)
    target = f"[{SERVER[6]}]:80" if family == 6 else f"{SERVER[4]}:80"
    clients = {client: addresses[family] for client, (_, _, addresses) in CLIENTS.items()}
    if (proto, family) == ("sctp", 6) and not has_sockets():  # the relay has none either
        del clients["host by loopback"]
    with world.host.publish(8080, to=target, proto=proto) as mapping:
        assert mapping.backend == backend
        found = {client: seen(world, proto, family, client) for client in clients}
        for client, addresses in found.items():
            FOUND.setdefault((family, client), {})[backend, bridge_calls, proto] = " then ".join(
                dict.fromkeys(addresses)
            )
        assert {client: {*addresses} for client, addresses in found.items()} == {
            client: {address} for client, address in clients.items()
        }
        relayed = "host by loopback" in found and family == 6
        counted = [
            addresses for client, addresses in found.items() if not relayed or client != "host by loopback"
        ]
        assert mapping.counters.packets == sum(map(len, counted))


def test_the_page_has_the_table() -> None:
    if len(FOUND) != 2 * len(CLIENTS) or any(
        set(found) != _to_be_found(*key) for key, found in FOUND.items()
    ):
        pytest.skip("not all of the tests above were run")
    before, _, rest = PAGE.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page = "\n".join([before + MARKS[0], table(), MARKS[1] + after])
    if os.environ.get("NETKIT_WRITE_TABLES"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "NETKIT_WRITE_TABLES=1 writes it"


def _to_be_found(family: int, client: str) -> set[tuple[str, int, str]]:
    by_relay = (family, client) == (6, "host by loopback")
    return {each for each in ALL if each[2] != "sctp" or not by_relay or has_sockets()}


@BRIDGE_CALLS
@PROTOCOLS
@pytest.mark.usefixtures("backend")
def test_a_namespace_is_published_by_both_families(world: World, proto: str, bridge_calls: int) -> None:
    set_bridge_calls(world.host, bridge_calls)
    with world.host.publish(8080, to=(world.box, 80), proto=proto):
        for family in (4, 6):
            for client in ("outside", "neighbour by the outer address", "box by the inner address"):
                assert seen(world, proto, family, client) == [CLIENTS[client][2][family]] * 2
        assert seen(world, proto, 4, "host by loopback") == ["172.18.0.1"] * 2


@PROTOCOLS
def test_the_relay_leads_from_loopback_to_a_target_of_ipv4(world: World, proto: str) -> None:
    talk, kind = TALK[proto]
    with (
        world.host.publish(8080, to="172.18.0.2:80", proto=proto),
        bound(world.box, "172.18.0.2", 80, kind) as server,
    ):
        assert talk(world.host, "::1", 8080, server) == "172.18.0.1"


@pytest.mark.usefixtures("backend")
@BRIDGE_CALLS
def test_by_the_hosts_link_local_address(world: World, bridge_calls: int) -> None:
    set_bridge_calls(world.host, bridge_calls)
    (address,) = [each for each in world.host.links["br0"].addresses if each.scope == "link"]
    with (
        world.host.publish(8080, to="[fd18::2]:80"),
        bound(world.box, "fd18::2", 80) as server,
    ):
        for client, device in ((world.neighbour, "eth0"), (world.box, "eth0"), (world.host, "br0")):
            with client.socket(socket.AF_INET6) as sock:
                sock.settimeout(TIMEOUT)
                sock.connect((str(address.ip), 8080, 0, client.links[device].ifindex))
                connection, name = server.accept()
                connection.close()
                assert name[0] == "fd18::1"


@pytest.mark.usefixtures("backend")
def test_without_hairpin_the_box_does_not_reach_itself(world: World) -> None:
    """That it is needed where bridged packets pass NAT, and not where they don't."""
    set_bridge_calls(world.host, 1)
    with (
        world.host.publish(8080, to="172.18.0.2:80", proto="udp", hairpin=False),
        bound(world.box, "172.18.0.2", 80, socket.SOCK_DGRAM) as server,
        world.box.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.sendto(b"ping", ("172.18.0.1", 8080))
        server.settimeout(QUIET)
        with pytest.raises(TimeoutError):
            server.recv(16)
        server.settimeout(TIMEOUT)
        set_bridge_calls(world.host, 0)
        client.sendto(b"ping", ("172.18.0.1", 8080))
        assert server.recv(16) == b"ping"


@pytest.mark.usefixtures("backend")
def test_only_one_port_is_a_hairpin_and_only_one_device_lets_loopback_out(world: World) -> None:
    set_bridge_calls(world.host, 1)

    def hairpins() -> dict[str, object]:
        ports = [link for link in world.host.links if link.master is not None]
        return {port.name: port._read().port["IFLA_BRPORT_MODE"] for port in ports}

    def localnet() -> list[str]:
        names = [*[link.name for link in world.host.links], "all", "default"]
        return [n for n in names if world.host.sysctl[f"net/ipv4/conf/{n}/route_localnet"] == "1"]

    with world.host.publish(8080, to="172.18.0.2:80"):
        assert hairpins() == {"port2": 1, "port3": 0}
        assert localnet() == ["br0"]
        with world.host.publish(8081, to="172.18.0.2:80"):
            pass
        assert hairpins() == {"port2": 1, "port3": 0}
        assert localnet() == ["br0"]
    assert hairpins() == {"port2": 0, "port3": 0}
    assert localnet() == []


def _made_from_the_box(host: Namespace, box: Namespace) -> None:
    VethPair(box, host, name="eth0", peer_name="port2", address=["172.18.0.2/24", "fd18::2/64"]).create()


def _given_its_addresses_later(host: Namespace, box: Namespace) -> None:
    pair = VethPair(host, box, name="port2", peer_name="eth0").create()
    for address in ("172.18.0.2/24", "fd18::2/64"):
        pair.peer.addresses.add(address)


def _made_and_forgotten(host: Namespace, box: Namespace) -> None:
    """As by another process: of the pair there is no object here."""
    addresses = ["172.18.0.2/24", "fd18::2/64"]
    VethPair(host, box, name="port2", peer_name="eth0", peer_address=addresses).create().detach()
    gc.collect()


@pytest.mark.parametrize("join", [_made_from_the_box, _given_its_addresses_later, _made_and_forgotten])
def test_the_port_is_a_hairpin_however_it_came_to_be(
    join: Callable[[Namespace, Namespace], None],
) -> None:
    with Scope() as lab:
        worlds = [_joined(lab, join) for _ in range(2)]  # one beside it has the same addresses
        host, box = worlds[1]
        with host.publish(8080, to=box):
            for server_address, address in (("172.18.0.2", "172.18.0.1"), ("fd18::2", "fd18::1")):
                with bound(box, server_address, 8080) as server:
                    assert tcp(box, address, 8080, server) == address
            assert [_is_hairpin(each) for each, _ in worlds] == [False, True]
        assert not _is_hairpin(host)


def _joined(lab: Scope, join: Callable[[Namespace, Namespace], None]) -> tuple[Namespace, Namespace]:
    host, box = lab.own(Namespace()), lab.own(Namespace())
    set_bridge_calls(host, 1)
    bridge = lab.own(Bridge(host, "br0", address=["172.18.0.1/24", "fd18::1/64"]))
    join(host, box)
    bridge.add_port(host.links["port2"])
    return host, box


def _is_hairpin(host: Namespace) -> bool:
    port = host.links["port2"].port
    assert port is not None
    return port.hairpin


@pytest.mark.usefixtures("backend")
def test_F66_route_localnet_lets_nobody_in(world: World) -> None:
    """What listens on 127.0.0.1 is not reached from the bridge (as in CVE-2020-8558)."""
    with (
        bound(world.host, "127.0.0.1", 9000, socket.SOCK_DGRAM) as server,
        world.box.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        world.box.sysctl["net.ipv4.conf.all.route_localnet"] = 1
        world.box.run(["ip", "route", "del", "local", "127.0.0.0/8", "table", "local"], check=True)
        world.box.run(["ip", "route", "del", "local", "127.0.0.1", "table", "local"], check=True)
        world.box.routes.add("127.0.0.0/8", via="172.18.0.1")
        world.host.sysctl["net.ipv4.conf.br0.route_localnet"] = 1
        client.sendto(b"in", ("127.0.0.1", 9000))
        assert server.recv(16) == b"in", "without the guard it is reached"
        world.host.sysctl["net.ipv4.conf.br0.route_localnet"] = 0
        with world.host.publish(8080, to="172.18.0.2:80"):
            assert world.host.sysctl["net.ipv4.conf.br0.route_localnet"] == "1"
            client.sendto(b"in", ("127.0.0.1", 9000))
            server.settimeout(QUIET)
            with pytest.raises(TimeoutError):
                server.recv(16)


@pytest.mark.usefixtures("backend")
def test_what_only_passes_through_is_left_alone(world: World) -> None:
    """The same port of somebody else; and neighbours that talk directly."""
    with world.host.publish(8080, to="172.18.0.2:80"):
        world.outside.routes.add("172.18.0.0/24", via="192.0.2.1")
        with bound(world.outside, "192.0.2.2", 8080) as server:
            assert tcp(world.neighbour, "192.0.2.2", 8080, server) == "172.18.0.3"
            assert tcp(world.host, "192.0.2.2", 8080, server) == "192.0.2.1"
        with bound(world.box, "172.18.0.2", 80) as server:
            assert tcp(world.neighbour, "172.18.0.2", 80, server) == "172.18.0.3"
            assert tcp(world.outside, "172.18.0.2", 80, server) == "192.0.2.2"
