"""NAT by what it does to connections: inside -- host -- outside, both backends, both families.

    inside 10.1.0.2, fd01::2 -- 10.1.0.1 host 192.0.2.1, .10, 2001:db8::1, ::10 -- outside 192.0.2.2, ::2

`outside` has no route to `inside`: what answers was translated.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from netkit import Namespace, NatRule, Scope, VethPair
from tests.harness.packets import bound, refused, tcp, tcp_name, udp
from tests.harness.tools import BACKENDS

backends = pytest.mark.parametrize("backend", BACKENDS)
families = pytest.mark.parametrize("family", [4, 6])
protocols = pytest.mark.parametrize("proto", ["tcp", "udp"])
TALK = {"tcp": tcp, "udp": udp}
KIND = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Net(NamedTuple):
    """The addresses of one family."""

    network: str
    inside: str
    second: str  # of inside too
    host_inside: str
    host: str
    spare: str  # of the host too
    outside: str

    def to(self, port: int | str, address: str | None = None) -> str:
        """As a target: with brackets where they belong."""
        where = address or self.inside
        return f"[{where}]:{port}" if ":" in where else f"{where}:{port}"


NET = {
    4: Net("10.1.0.0/24", "10.1.0.2", "10.1.0.3", "10.1.0.1", "192.0.2.1", "192.0.2.10", "192.0.2.2"),
    6: Net("fd01::/64", "fd01::2", "fd01::3", "fd01::1", "2001:db8::1", "2001:db8::10", "2001:db8::2"),
}


class World(NamedTuple):
    inside: Namespace
    host: Namespace
    outside: Namespace


@pytest.fixture
def world() -> Iterator[World]:
    with Scope() as lab:
        inside, host, outside = [lab.own(Namespace()) for _ in range(3)]
        host.sysctl["net.ipv4.ip_forward"] = 1
        host.sysctl["net.ipv6.conf.all.forwarding"] = 1
        four, six = NET[4], NET[6]
        # Of several the kernel prefers IPv4's first and IPv6's last as the source.
        lan = [f"{four.host_inside}/24", f"{six.host_inside}/64"]
        boxes = [f"{four.inside}/24", f"{four.second}/24", f"{six.second}/64", f"{six.inside}/64"]
        wan = [f"{four.host}/24", f"{four.spare}/24", f"{six.spare}/64", f"{six.host}/64"]
        far = [f"{four.outside}/24", f"{six.outside}/64"]
        for ns, name, ours, theirs in ((inside, "lan0", lan, boxes), (outside, "wan0", wan, far)):
            lab.own(VethPair(host, ns, name=name, peer_name="eth0", address=ours, peer_address=theirs))
        inside.routes.add("default", via=four.host_inside)
        inside.routes.add("default", via=six.host_inside)
        yield World(inside, host, outside)


# -- source NAT -----------------------------------------------------------------------------


@backends
@families
@protocols
def test_masquerade(world: World, backend: Any, family: int, proto: str) -> None:
    net = NET[family]
    rule = NatRule.masquerade(world.host, saddr=net.network, oif="wan0", backend=backend)
    with rule, bound(world.outside, net.outside, 80, KIND[proto]) as server:
        assert TALK[proto](world.inside, net.outside, 80, server) == net.host
        assert rule.counters.packets == 1
        assert rule.counters.bytes > 0
        assert TALK[proto](world.inside, net.outside, 80, server) == net.host
        assert rule.counters.packets == 2
        assert rule.counters == (2, rule.counters.bytes)
        assert rule.backend == backend
        assert f"({backend})" in repr(rule)


@backends
@families
def test_without_the_rule_nobody_answers(world: World, backend: Any, family: int) -> None:
    """That the tests above prove something: the server does not know the way back."""
    net = NET[family]
    with NatRule.masquerade(world.host, saddr=net.network, oif="wan0", backend=backend):
        pass
    with (
        bound(world.outside, net.outside, 53, socket.SOCK_DGRAM) as server,
        world.inside.socket(server.family, socket.SOCK_DGRAM) as client,
    ):
        client.sendto(b"ping", (net.outside, 53))
        data, (source, *_) = server.recvfrom(16)
        assert (data, source) == (b"ping", net.inside)
        with pytest.raises(OSError, match="unreachable"):
            server.sendto(b"pong", (source, 9))


@backends
@families
def test_masquerade_only_what_matches(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    host_length = 32 if family == 4 else 128
    world.outside.routes.add(net.network, via=net.host)
    matches = {"saddr": f"{net.second}/{host_length}", "proto": "tcp", "dport": "81-82"}
    with (
        NatRule.masquerade(world.host, **matches, backend=backend),
        bound(world.outside, net.outside, 80) as other,
        bound(world.outside, net.outside, 82) as one,
    ):
        assert tcp(world.inside, net.outside, 82, one, net.second) == net.host
        assert tcp(world.inside, net.outside, 82, one, net.inside) == net.inside
        assert tcp(world.inside, net.outside, 80, other, net.second) == net.second


@backends
@families
def test_negations(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    world.outside.routes.add(net.network, via=net.host)
    length = 32 if family == 4 else 128
    with bound(world.outside, net.outside, 80) as server:
        for match, expected in (
            ({"oif": "!= lan0"}, net.host),
            ({"oif": "!= wan0"}, net.inside),
            ({"saddr": f"!= {net.second}/{length}", "oif": "wan0"}, net.host),
            ({"saddr": f"!= {net.inside}/{length}", "oif": "wan0"}, net.inside),
            ({"proto": "tcp", "dport": "!= 81", "saddr": net.network}, net.host),
            ({"proto": "tcp", "dport": "!= 80", "saddr": net.network}, net.inside),
        ):
            rule = NatRule.masquerade(world.host, **match, family=family, backend=backend)  # type: ignore[arg-type]
            with rule:
                assert tcp(world.inside, net.outside, 80, server, net.inside) == expected, match


@backends
@families
def test_masquerade_to_a_range_of_ports(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    rule = NatRule.masquerade(
        world.host, saddr=net.network, oif="wan0", proto="tcp", to="40000-40001", backend=backend
    )
    with rule, bound(world.outside, net.outside, 80) as server:
        address, port = tcp_name(world.inside, net.outside, 80, server)
        assert address == net.host
        assert port in (40000, 40001)


@backends
@families
@protocols
def test_snat(world: World, backend: Any, family: int, proto: str) -> None:
    net = NET[family]
    rule = NatRule.snat(world.host, saddr=net.network, oif="wan0", to=net.spare, backend=backend)
    with rule, bound(world.outside, net.outside, 80, KIND[proto]) as server:
        assert TALK[proto](world.inside, net.outside, 80, server) == net.spare
        assert rule.counters.packets == 1


@backends
@families
def test_snat_to_a_port_and_to_a_range(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    with bound(world.outside, net.outside, 80) as server:
        with NatRule.snat(
            world.host, oif="wan0", proto="tcp", to=net.to("5000-5001", net.spare), backend=backend
        ):
            address, port = tcp_name(world.inside, net.outside, 80, server)
            assert address == net.spare
            assert port in (5000, 5001)
        with NatRule.snat(world.host, oif="wan0", to=f"{net.host}-{net.host[:-1]}1", backend=backend):
            assert tcp(world.inside, net.outside, 80, server) == net.host


# -- destination NAT ----------------------------------------------------------------------------


@backends
@families
@protocols
def test_dnat_to_another_port(world: World, backend: Any, family: int, proto: str) -> None:
    net = NET[family]
    rule = NatRule.dnat(world.host, iif="wan0", proto=proto, dport=80, to=net.to(8080), backend=backend)
    with rule, bound(world.inside, net.inside, 8080, KIND[proto]) as server:
        assert TALK[proto](world.outside, net.host, 80, server) == net.outside
        assert rule.counters.packets == 1
    assert refused(world.outside, net.host, 80)


@backends
@families
def test_dnat_of_all_to_an_address(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    length = 32 if family == 4 else 128
    rule = NatRule.dnat(world.host, daddr=f"{net.spare}/{length}", to=net.second, backend=backend)
    with rule, bound(world.inside, net.second, 4711) as server:
        assert tcp(world.outside, net.spare, 4711, server) == net.outside
        assert refused(world.outside, net.host, 4711)


@backends
@families
@protocols
def test_F65_dnat_of_a_range_keeps_the_offset(world: World, backend: Any, family: int, proto: str) -> None:
    """F65: nf_nat alone does not map 9001 to 101."""
    net = NET[family]
    rule = NatRule.dnat(world.host, proto=proto, dport="9000-9002", to=net.to("100-102"), backend=backend)
    with rule:
        for step in (2, 0, 1):
            with bound(world.inside, net.inside, 100 + step, KIND[proto]) as server:
                assert TALK[proto](world.outside, net.host, 9000 + step, server) == net.outside
        assert rule.counters.packets == 3


@backends
@families
def test_dnat_of_a_range_to_the_same_ports(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    with NatRule.dnat(world.host, proto="tcp", dport="8000-8002", to=net.inside, backend=backend):
        for port in (8001, 8000):
            with bound(world.inside, net.inside, port) as server:
                assert tcp(world.outside, net.host, port, server) == net.outside


@backends
@families
def test_dnat_of_what_the_host_sends_itself(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    length = 32 if family == 4 else 128
    rule = NatRule.dnat(
        world.host, daddr=f"{net.spare}/{length}", proto="tcp", dport=80, to=net.to(8080), local=True,
        backend=backend,
    )  # fmt: skip
    with rule, bound(world.inside, net.inside, 8080) as server:
        assert tcp(world.host, net.spare, 80, server) in (net.host_inside, net.spare, net.host)
        assert rule.counters.packets == 1
        assert tcp(world.outside, net.spare, 80, server) == net.outside
        assert rule.counters.packets == 2


@backends
@families
@protocols
def test_redirect(world: World, backend: Any, family: int, proto: str) -> None:
    net = NET[family]
    rule = NatRule.redirect(
        world.host,
        iif="lan0",
        proto=proto,
        dport=80,
        to=3128,
        family=family,
        backend=backend,  # type: ignore[arg-type]
    )
    with rule, bound(world.host, net.host_inside, 3128, KIND[proto]) as server:
        # To an address that is not the host's at all: a transparent proxy.
        assert TALK[proto](world.inside, net.outside, 80, server) == net.inside
        assert rule.counters.packets == 1


@backends
@families
def test_F65_redirect_of_a_range_keeps_the_offset(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    with NatRule.redirect(world.host, proto="tcp", dport="9000-9002", to="100-102", backend=backend) as rule:
        for step in (2, 0, 1):
            with bound(world.host, net.host_inside, 100 + step) as server:
                assert tcp(world.inside, net.host_inside, 9000 + step, server) == net.inside
        assert rule.counters.packets == 3
        rule.detach()
        again = NatRule.redirect(world.host, proto="tcp", dport="9000-9002", to="100-102", backend=backend)
        again.adopt()
        assert again.exists
        again.delete()
    assert refused(world.inside, net.host_inside, 9000)


@backends
@families
def test_redirect_of_what_the_host_sends_itself(world: World, backend: Any, family: int) -> None:
    net = NET[family]
    rule = NatRule.redirect(
        world.host,
        proto="tcp",
        dport=80,
        to=3128,
        local=True,
        family=family,
        backend=backend,  # type: ignore[arg-type]
    )
    loopback = {4: "127.0.0.1", 6: "::1"}[family]
    with rule, bound(world.host, loopback, 3128) as server:
        assert tcp(world.host, net.spare, 80, server) in (net.spare, net.host, loopback)


# -- several, and their order ----------------------------------------------------------------------


@backends
def test_one_rule_for_both_families(world: World, backend: Any) -> None:
    """A rule that names no family is for both, with nftables; with iptables it is for IPv4."""
    with NatRule.masquerade(world.host, oif="wan0", backend=backend) as rule:
        for family in (4, 6):
            net = NET[family]
            if backend == "iptables" and family == 6:
                continue
            with bound(world.outside, net.outside, 80) as server:
                assert tcp(world.inside, net.outside, 80, server) == net.host
        assert rule.counters.packets == (2 if backend == "nftables" else 1)


@backends
def test_the_first_rule_that_matches_counts(world: World, backend: Any) -> None:
    net = NET[4]
    with (
        NatRule.snat(world.host, oif="wan0", to=net.spare, backend=backend) as first,
        NatRule.masquerade(world.host, oif="wan0", backend=backend) as second,
        bound(world.outside, net.outside, 80) as server,
    ):
        assert tcp(world.inside, net.outside, 80, server) == net.spare
        assert (first.counters.packets, second.counters.packets) == (1, 0)
        first.delete()
        assert tcp(world.inside, net.outside, 80, server) == net.host
        assert second.counters.packets == 1


@backends
@families
def test_both_ways_at_once(world: World, backend: Any, family: int) -> None:
    """The demo's scenes 4 and 5 together."""
    net = NET[family]
    with (
        NatRule.masquerade(world.host, saddr=net.network, oif="wan0", backend=backend),
        NatRule.dnat(world.host, iif="wan0", proto="tcp", dport=80, to=net.to(80), backend=backend),
        bound(world.inside, net.inside, 80) as web,
        bound(world.outside, net.outside, 443) as server,
    ):
        assert tcp(world.outside, net.host, 80, web) == net.outside
        assert tcp(world.inside, net.outside, 443, server) == net.host


@backends
def test_detached_rules_go_on_translating(world: World, backend: Any) -> None:
    net = NET[4]
    rule = NatRule.masquerade(world.host, saddr=net.network, oif="wan0", backend=backend).create().detach()
    with bound(world.outside, net.outside, 80) as server:
        assert tcp(world.inside, net.outside, 80, server) == net.host
        assert rule.counters.packets == 1  # they go with it
        rule.adopt()
        assert tcp(world.inside, net.outside, 80, server) == net.host
        assert rule.counters.packets == 2
    rule.delete()
