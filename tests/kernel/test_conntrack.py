"""ns.conntrack, beside conntrack(8)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from netkit import Namespace, NatRule, Scope, SpecError, VethPair
from tests.harness.packets import bound, tcp, udp
from tests.harness.tools import needs


class World(NamedTuple):
    host: Namespace
    box: Namespace


@pytest.fixture
def world() -> Iterator[World]:
    with Scope() as lab:
        host, box = lab.own(Namespace()), lab.own(Namespace())
        here, there = ["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]
        lab.own(VethPair(host, box, name="v", peer_name="eth0", address=here, peer_address=there))
        lab.own(NatRule.dnat(host, proto="tcp", dport=8080, to="10.0.0.2:80", local=True, family=4))
        lab.own(NatRule.masquerade(host, saddr="fd99::/64"))  # has IPv6 tracked
        yield World(host, box)


def talk(world: World) -> None:
    with (
        bound(world.box, "10.0.0.2", 80) as web,
        bound(world.box, "10.0.0.2", 53, socket.SOCK_DGRAM) as names,
        bound(world.box, "fd00::2", 53, socket.SOCK_DGRAM) as names6,
    ):
        tcp(world.host, "10.0.0.1", 8080, web)
        udp(world.host, "10.0.0.2", 53, names)
        udp(world.host, "fd00::2", 53, names6)


def test_what_is_tracked(world: World) -> None:
    assert world.host.conntrack.count() == 0
    talk(world)
    (found,) = world.host.conntrack.filter(proto="tcp")
    assert (str(found.saddr), str(found.daddr), found.dport) == ("10.0.0.1", "10.0.0.1", 8080)
    assert (str(found.reply_saddr), found.reply_sport) == ("10.0.0.2", 80)
    assert found.reply_dport == found.sport
    assert "dnat" in found.status
    assert "snat" not in found.status
    assert found.state in ("TIME_WAIT", "CLOSE", "LAST_ACK", "FIN_WAIT", "CLOSE_WAIT")
    assert 0 < found.timeout <= 120
    assert str(found).startswith(
        f"tcp {found.state} 10.0.0.1:{found.sport} -> 10.0.0.1:8080, answers 10.0.0.2:80"
    )
    (name,) = world.host.conntrack.filter(family=6, proto="udp")
    assert (name.proto, str(name.daddr), name.dport, name.state) == ("udp", "fd00::2", 53, None)
    assert name.status == {"seen_reply"}
    assert {found, name} <= set(world.host.conntrack)


def test_counters(world: World) -> None:
    world.host.sysctl["net.netfilter.nf_conntrack_acct"] = 1
    talk(world)
    (name,) = world.host.conntrack.filter(family=4, proto="udp")
    assert name.packets == (1, 1)
    assert name.bytes == (32, 32)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, 3),
        ({"proto": "tcp"}, 1),
        ({"proto": 17}, 2),
        ({"proto": "!= tcp"}, 2),
        ({"family": 4}, 2),
        ({"daddr": "10.0.0.0/24"}, 2),
        ({"daddr": "!= 10.0.0.0/24"}, 1),
        ({"daddr": ["!= 192.0.2.0/24", "!= 10.0.0.1"]}, 2),
        ({"saddr": "fd00::/64"}, 1),
        ({"dport": 53}, 2),
        ({"dport": "8000-9000"}, 1),
        ({"dport": "!= 53"}, 1),
        ({"reply_saddr": "10.0.0.2"}, 2),
        ({"reply_saddr": "10.0.0.2", "proto": "udp"}, 1),
        ({"sport": "1-1023"}, 0),
    ],
)
def test_filter_count_and_delete(world: World, conditions: dict[str, object], expected: int) -> None:
    talk(world)
    tracked = world.host.conntrack
    before = set(tracked)
    meant = set(tracked.filter(**conditions))  # type: ignore[arg-type]
    assert len(meant) == expected
    assert tracked.count(**conditions) == expected  # type: ignore[arg-type]
    if conditions:
        assert tracked.delete(**conditions) == expected  # type: ignore[arg-type]
        assert set(tracked) == before - meant


def test_refusals(world: World) -> None:
    with pytest.raises(SpecError, match="without a condition"):
        world.host.conntrack.delete()
    with pytest.raises(SpecError, match="port"):
        world.host.conntrack.filter(dport=0)
    with pytest.raises(SpecError, match="family"):
        world.host.conntrack.filter(family=5)  # type: ignore[arg-type]


@needs("conntrack")
def test_conntrack_8_says_the_same(world: World) -> None:
    talk(world)
    lines: list[str] = []
    for family in ("ipv4", "ipv6"):
        done = world.host.run(["conntrack", "-L", "-f", family], capture_output=True, text=True, check=True)
        lines += done.stdout.splitlines()
    theirs: set[tuple[str, ...]] = set()
    for line in lines:
        words = line.split()
        values = [word.partition("=")[2] for word in words if "=" in word and word[0] in "sd"]
        theirs.add((words[0], *values[:8]))
    ours = {
        (each.proto, *[str(value) for value in (
            each.saddr, each.daddr, each.sport, each.dport,
            each.reply_saddr, each.reply_daddr, each.reply_sport, each.reply_dport,
        )])
        for each in world.host.conntrack
    }  # fmt: skip
    assert ours == theirs
    assert len(ours) == 3
