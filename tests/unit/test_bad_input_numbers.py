"""Bad numbers, timers and switches: clear errors before any system call, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from netkit import Bridge, Namespace, NatRule, NextHop, RouteTable, SpecError, VethPair
from tests.unit.watched_lab import Lab, lab, refusal

__all__ = ["lab"]  # the fixture

NUMBERS: dict[str, tuple[Callable[[Lab, Any], object], int, int]] = {
    "veth mtu": (lambda lab, n: VethPair(lab.host, lab.box, name="a", peer_name="b", mtu=n), 68, 65535),
    "veth peer_mtu": (
        lambda lab, n: VethPair(lab.host, lab.box, name="a", peer_name="b", peer_mtu=n), 68, 65535,
    ),
    "veth txqlen": (
        lambda lab, n: VethPair(lab.host, lab.box, name="a", peer_name="b", txqlen=n), 0, 2**31 - 1,
    ),
    "veth queues": (lambda lab, n: VethPair(lab.host, lab.box, name="a", peer_name="b", queues=n), 1, 4096),
    "bridge mtu": (lambda lab, n: Bridge(lab.host, "b", mtu=n), 68, 65535),
    "link mtu": (lambda lab, n: lab.eth0.set(mtu=n), 68, 65535),
    "link txqlen": (lambda lab, n: lab.eth0.set(txqlen=n), 0, 2**31 - 1),
    "link group": (lambda lab, n: lab.eth0.set(group=n), 0, 2**32 - 1),
    "port cost": (lambda lab, n: lab.bridge.add_port(lab.eth0, cost=n), 1, 65535),
    "port priority": (lambda lab, n: lab.bridge.add_port(lab.eth0, priority=n), 0, 63),
    "connect cost": (lambda lab, n: lab.bridge.connect(lab.box, name="v", cost=n), 1, 65535),
    "fdb vlan": (lambda lab, n: lab.bridge.fdb.add("02:00:00:00:00:01", dev="eth0", vlan=n), 1, 4094),
    "route metric": (lambda lab, n: lab.host.routes.add("10.9.0.0/16", dev="eth0", metric=n), 0, 2**32 - 1),
    "route mtu": (lambda lab, n: lab.host.routes.add("10.9.0.0/16", dev="eth0", mtu=n), 68, 65535),
    "route mtu v6": (lambda lab, n: lab.host.routes.add("fd09::/48", dev="eth0", mtu=n), 1280, 65535),
    "route proto": (lambda lab, n: lab.host.routes.add("10.9.0.0/16", dev="eth0", proto=n), 0, 255),
    "route scope": (lambda lab, n: lab.host.routes.add("10.9.0.0/16", dev="eth0", scope=n), 0, 255),
    "table": (lambda lab, n: RouteTable(lab.host, n), 1, 2**32 - 1),
    "weight": (lambda lab, n: NextHop(via="10.0.0.2", weight=n), 1, 256),
    "rule priority": (lambda lab, n: lab.host.rules.add(priority=n, table=100), 0, 2**32 - 1),
    "rule table": (lambda lab, n: lab.host.rules.add(table=n), 1, 2**32 - 1),
    "rule fwmark": (lambda lab, n: lab.host.rules.add(fwmark=n, table=100), 0, 2**32 - 1),
    "nat dport": (
        lambda lab, n: NatRule.dnat(lab.host, proto="tcp", dport=n, to="10.0.0.2"), 1, 65535,
    ),
    "nat sport": (lambda lab, n: NatRule.masquerade(lab.host, proto="udp", sport=n), 1, 65535),
    "nat to": (lambda lab, n: NatRule.redirect(lab.host, proto="tcp", dport=80, to=n), 1, 65535),
    "nat target's port": (
        lambda lab, n: NatRule.dnat(lab.host, proto="tcp", dport=80, to=("10.0.0.2", n)), 1, 65535,
    ),
    "nat proto": (lambda lab, n: NatRule.masquerade(lab.host, proto=n), 1, 255),
    "pid": (lambda lab, n: Namespace.from_pid(n), 1, 2**31 - 1),
    "get's mark": (lambda lab, n: lab.host.routes.get("10.0.0.2", mark=n), 0, 2**32 - 1),
    "ping count": (lambda lab, n: lab.host.ping("10.0.0.2", count=n), 1, 1_000_000),
    "ping size": (lambda lab, n: lab.host.ping("10.0.0.2", size=n), 0, 65_000),
}  # fmt: skip


@pytest.mark.parametrize("where", NUMBERS)
def test_numbers_out_of_range(lab: Lab, where: str) -> None:
    call, low, high = NUMBERS[where]
    for value in (low - 1, high + 1, -(2**40)):
        message = refusal(lab, lambda lab, value=value: call(lab, value), SpecError)
        assert str(value) in message
        assert str(high) in message or "no table" in message


@pytest.mark.parametrize("where", NUMBERS)
def test_bools_and_floats_are_no_numbers(lab: Lab, where: str) -> None:
    call, *_ = NUMBERS[where]
    for value in (True, 80.0, b"80"):
        message = refusal(lab, lambda lab, value=value: call(lab, value), SpecError)
        assert repr(value) in message
        assert type(value).__name__ in message


@pytest.mark.parametrize("where", ["veth mtu", "link mtu", "weight", "rule priority", "nat dport", "table"])
def test_words_are_no_numbers(lab: Lab, where: str) -> None:
    assert "'big'" in refusal(lab, lambda lab: NUMBERS[where][0](lab, "big"), SpecError)


TIMERS: dict[str, tuple[float, float]] = {
    "forward_delay": (2, 30),
    "hello_time": (1, 10),
    "max_age": (6, 40),
}


@pytest.mark.parametrize("timer", TIMERS)
def test_timers(lab: Lab, timer: str) -> None:
    low, high = TIMERS[timer]
    for value in (low - 0.5, high + 0.5, -1, float("nan"), float("inf"), True, "4"):
        arguments: dict[str, Any] = {"stp": True, timer: value}
        message = refusal(lab, lambda lab, arguments=arguments: Bridge(lab.host, "b", **arguments), SpecError)
        assert timer in message
        assert repr(value) in message


SWITCHES: dict[str, Callable[[Lab, Any], object]] = {
    "veth up": lambda lab, value: VethPair(lab.host, lab.box, name="a", peer_name="b", up=value),
    "bridge up": lambda lab, value: Bridge(lab.host, "b", up=value),
    "bridge stp": lambda lab, value: Bridge(lab.host, "b", stp=value),
    "bridge mcast_snooping": lambda lab, value: Bridge(lab.host, "b", mcast_snooping=value),
    "bridge vlan_filtering": lambda lab, value: Bridge(lab.host, "b", vlan_filtering=value),
    "port hairpin": lambda lab, value: lab.bridge.add_port(lab.eth0, hairpin=value),
    "port isolated": lambda lab, value: lab.bridge.add_port(lab.eth0, isolated=value),
    "port learning": lambda lab, value: lab.bridge.add_port(lab.eth0, learning=value),
    "port flood": lambda lab, value: lab.bridge.add_port(lab.eth0, flood=value),
    "connect hairpin": lambda lab, value: lab.bridge.connect(lab.box, name="v", hairpin=value),
    "connect default_route": lambda lab, value: lab.bridge.connect(
        lab.box, name="v", peer_address="10.1.0.2/24", default_route=value
    ),
    "route onlink": lambda lab, value: lab.host.routes.add(
        "10.9.0.0/16", via="10.0.0.2", dev="eth0", onlink=value
    ),
    "rule invert": lambda lab, value: lab.host.rules.add(table=100, invert=value),
    "nat local": lambda lab, value: NatRule.dnat(lab.host, to="10.0.0.2", local=value),
    "persistent": lambda lab, value: Namespace("red", persistent=value),
}


@pytest.mark.parametrize("where", SWITCHES)
def test_switches_are_true_or_false(lab: Lab, where: str) -> None:
    for value in ("off", 1, 0.0):
        message = refusal(lab, lambda lab, value=value: SWITCHES[where](lab, value), SpecError)
        assert "give True or False" in message
        assert repr(value) in message
