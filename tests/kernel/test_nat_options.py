"""NAT's finer choices by what they do to connections: flags, prefixes, spreading, what is left out.

The network is that of test_nat_packets.py.
"""

from __future__ import annotations

import select
import socket
from threading import Thread
from typing import Any

import pytest

from netkit import Namespace, NatRule, NotFoundError, SpecError
from tests.harness.oracle import iptables_legacy, nft_text
from tests.harness.packets import TIMEOUT, bind_anew, bound, tcp, udp
from tests.harness.tools import IPTABLES, needs_iptables
from tests.kernel.test_nat_packets import NET, World, backends, families, world

__all__ = ["world"]  # the fixture


@backends
@families
def test_several_networks_are_left_out(world: World, backend: Any, family: int) -> None:
    """What goes to the neighbours of the host outside, or to a group, keeps its source."""
    net = NET[family]
    outside_too = f"{net.outside}/{32 if family == 4 else 128}"
    group = "224.0.0.0/4" if family == 4 else "ff00::/8"
    left_out = NatRule.masquerade(
        world.host, saddr=net.network, daddr=[f"!= {group}", f"!= {outside_too}"], backend=backend
    )
    with left_out, bound(world.outside, net.outside, 53, socket.SOCK_DGRAM) as server:
        with world.inside.socket(server.family, socket.SOCK_DGRAM) as client:
            client.sendto(b"ping", (net.outside, 53))
            assert server.recvfrom(16)[1][0] == net.inside
        assert left_out.counters.packets == 0
    elsewhere = NatRule.masquerade(
        world.host, saddr=net.network, daddr=[f"!= {group}", f"!= {net.network}"], backend=backend
    )
    with elsewhere, bound(world.outside, net.outside, 53, socket.SOCK_DGRAM) as server:
        assert udp(world.inside, net.outside, 53, server) == net.host


@backends
@families
def test_a_prefix_keeps_the_lower_bits(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    to = "192.0.2.128/25" if family == 4 else "2001:db8::1:0/112"
    inside = "10.1.0.0/25" if family == 4 else "fd01::/112"
    mapped = "192.0.2.130" if family == 4 else "2001:db8::1:2"
    world.host.links["wan0"].addresses.add(f"{mapped}/{32 if family == 4 else 128}")
    with (
        NatRule.snat(world.host, saddr=inside, oif="wan0", to=to, prefix=True, backend=backend) as out,
        NatRule.dnat(world.host, daddr=to, iif="wan0", to=inside, prefix=True, backend=backend) as into,
    ):
        with bound(world.outside, net.outside, 80) as server:
            assert tcp(world.inside, net.outside, 80, server, net.inside) == mapped
        with bound(world.inside, net.inside, 80) as server:
            assert tcp(world.outside, mapped, 80, server) == net.outside
        assert (out.counters.packets, into.counters.packets) == (1, 1)


def asked_in_turn(world: World, family: int, count: int) -> list[str]:
    """Which of the two addresses inside answered each of the connections to the host's port 80."""
    net = NET[family]
    found: list[str] = []
    for _ in range(count):
        with world.outside.socket(socket.AF_INET if family == 4 else socket.AF_INET6) as client:
            client.settimeout(TIMEOUT)
            client.connect((net.host, 80))
            found.append(client.recv(64).decode())
    return found


def serving(server: socket.socket, count: int, name: str) -> None:
    for _ in range(count):
        connection, _ = server.accept()
        with connection:
            connection.sendall(name.encode())


@backends
@families
def test_connections_are_spread_in_turn(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    to = [net.to(8080, net.inside), net.to(8080, net.second)]
    rule = NatRule.dnat(world.host, proto="tcp", dport=80, to=to, spread="inc", backend=backend)
    with rule, bound(world.inside, net.inside, 8080) as one, bound(world.inside, net.second, 8080) as two:
        threads = [Thread(target=serving, args=args) for args in ((one, 3, "one"), (two, 3, "two"))]
        for thread in threads:
            thread.start()
        assert asked_in_turn(world, family, 6) == ["one", "two"] * 3
        for thread in threads:
            thread.join()
        assert rule.counters.packets == 6
        assert rule.exists


@backends
def test_connections_are_spread_at_random(world: World, backend: Any) -> None:
    """In 64 both get some, but for one time in 2**63."""
    net = NET[4]
    targets = [net.to(5000, net.inside), net.to(5000, net.second)]
    rule = NatRule.dnat(world.host, proto="udp", dport=53, to=targets, spread="random", backend=backend)
    with rule, bound(world.inside, net.inside, 5000, socket.SOCK_DGRAM) as one:
        with bound(world.inside, net.second, 5000, socket.SOCK_DGRAM) as two:
            for _ in range(64):
                with world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    bind_anew(client)
                    client.sendto(b"?", (net.host, 53))
            counts = drained(64, one, two)
        assert min(counts) > 0


def drained(count: int, *servers: socket.socket) -> list[int]:
    """How many each gets of so many in all."""
    counts = dict.fromkeys(servers, 0)
    while sum(counts.values()) < count:
        ready, _, _ = select.select(servers, [], [], TIMEOUT)
        assert ready, f"{sum(counts.values())} of {count} came"
        for server in ready:
            server.recv(16)
            counts[server] += 1
    assert not select.select(servers, [], [], 0)[0]
    return list(counts.values())


@families
def test_a_client_stays_with_its_target(world: World, family: int) -> None:
    net = NET[family]
    to = [net.to(8080, net.inside), net.to(8080, net.second)]
    rule = NatRule.dnat(world.host, proto="udp", dport=53, to=to, spread="jhash")
    with (
        rule,
        bound(world.inside, net.inside, 8080, socket.SOCK_DGRAM) as one,
        bound(world.inside, net.second, 8080, socket.SOCK_DGRAM) as two,
    ):
        for _ in range(16):
            with world.outside.socket(one.family, socket.SOCK_DGRAM) as client:
                bind_anew(client)
                client.sendto(b"?", (net.host, 53))
        assert sorted(drained(16, one, two)) == [0, 16]
        assert rule.counters.packets == 16


@needs_iptables
def test_what_iptables_cannot_do_is_refused_before_anything_changes(host: Namespace) -> None:
    with pytest.raises(SpecError, match=r"iptables spreads by .*backend='nftables' by 'jhash', too"):
        NatRule.dnat(host, to=["10.0.0.2", "10.0.0.3"], spread="jhash", backend="iptables").create()
    assert not [line for line in iptables_legacy(host) if line.startswith("-A")]


@backends
@pytest.mark.parametrize("random", [True, False], ids=["random", "fully-random"])
def test_ports_at_random(world: World, backend: Any, random: bool) -> None:
    """Without it, a free port of the client's is kept."""
    net = NET[4]
    with bound(world.outside, net.outside, 80) as server:
        with NatRule.masquerade(world.host, oif="wan0", backend=backend):
            assert kept_ports(world, server) == 8
        with NatRule.masquerade(
            world.host, oif="wan0", backend=backend, random=random, fully_random=not random
        ):
            assert kept_ports(world, server) < 8


def kept_ports(world: World, server: socket.socket) -> int:
    """How many of eight connections arrive with the port they were sent from."""
    kept = 0
    for _ in range(8):
        with world.inside.socket() as client:
            client.settimeout(TIMEOUT)
            client.connect((NET[4].outside, 80))
            connection, name = server.accept()
            connection.close()
            kept += name[1] == client.getsockname()[1]
    return kept


@backends
def test_a_persistent_client_keeps_its_address(world: World, backend: Any) -> None:
    """Otherwise the address of a range depends on whom he asks, too."""
    for number in range(8):
        world.host.links["wan0"].addresses.add(f"192.0.2.{number + 20}/32")
        world.outside.links["eth0"].addresses.add(f"192.0.2.{number + 100}/24")
    to = "192.0.2.20-192.0.2.27"
    with NatRule.snat(world.host, to=to, oif="wan0", persistent=True, backend=backend):
        assert len(sources_of_eight(world)) == 1
    with NatRule.snat(world.host, to=to, oif="wan0", backend=backend):
        assert len(sources_of_eight(world)) > 1


def sources_of_eight(world: World) -> set[str]:
    """As whom one client is seen by eight servers."""
    seen: set[str] = set()
    for number in range(8):
        address = f"192.0.2.{number + 100}"
        with (
            bound(world.outside, address, 80, socket.SOCK_DGRAM) as server,
            world.inside.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            client.sendto(b"?", (address, 80))
            seen.add(server.recvfrom(16)[1][0])
    return seen


OPTIONS: list[tuple[Any, dict[str, Any]]] = [
    (NatRule.masquerade, {"daddr": ["!= 10.0.0.0/8", "!= 224.0.0.0/4"], "random": True}),
    (NatRule.snat, {"saddr": "10.0.0.0/24", "to": "192.0.2.0/24", "prefix": True}),
    (NatRule.snat, {"saddr": "fd00::/48", "to": "2001:db8::/48", "prefix": True}),
    (NatRule.dnat, {"to": ["10.0.0.2", "10.0.0.3", "10.0.0.4"], "spread": "inc"}),
    (NatRule.dnat, {"to": ["fd00::2", "fd00::3"], "spread": "random", "local": True}),
    (NatRule.snat, {"to": "192.0.2.1-192.0.2.4", "persistent": True, "fully_random": True}),
]


@backends
@pytest.mark.parametrize(("make", "keywords"), OPTIONS, ids=[str(words) for _, words in OPTIONS])
def test_detached_and_adopted(host: Namespace, backend: Any, make: Any, keywords: dict[str, Any]) -> None:
    """What is told by its content is told with all of these, by both backends."""
    make(host, backend=backend, **keywords).create().detach()
    again = make(host, backend=backend, **keywords).adopt()
    assert again.exists
    again.delete()
    with pytest.raises(NotFoundError):
        make(host, backend=backend, **keywords).adopt()
    left = [line for family in (4, 6) for line in iptables_legacy(host, family=family)] if IPTABLES else []
    assert (nft_text(host), [line for line in left if line.startswith("-A")]) == ("", [])
