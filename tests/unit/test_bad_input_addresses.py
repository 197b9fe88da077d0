"""Bad addresses, networks and MACs: clear errors before any system call, and nothing changes."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest

from netkit import Bridge, NatRule, SpecError, VethPair
from tests.unit.watched_lab import Lab, lab, refusal

__all__ = ["lab"]  # the fixture

ADDRESSES: list[tuple[object, list[str]]] = [
    ("10.0.0.1", ["no prefix length", "10.0.0.1/24", "10.0.0.1/32"]),
    ("fd00::1", ["no prefix length", "fd00::1/64", "fd00::1/128"]),
    ("10.0.0.256/24", ["'10.0.0.256/24'", "no IP address"]),
    ("10.0.0.1/33", ["'10.0.0.1/33'", "a prefix length is 0 to 32"]),
    ("fd00::1/129", ["'fd00::1/129'", "a prefix length is 0 to 128"]),
    ("10.0.0.1/24,10.0.0.2/24", ["give several as a list"]),
    ("10.0.0.1/-1", ["'10.0.0.1/-1'"]),
    ("10.0.0/24", ["'10.0.0/24'"]),
    ("010.0.0.1/24", ["leading zero"]),
    ("banana", ["'banana'"]),
    ("", ["''"]),
    ("10.0.0.1/24 ", ["'10.0.0.1/24 '"]),
    ("fe80::1%eth0/64", ["names a device"]),
    ("0.0.0.0/0", ["unspecified"]),
    ("224.0.0.1/4", ["multicast"]),
    ("ff02::1/64", ["multicast"]),
    (ipaddress.ip_network("10.0.0.0/24"), ["is a network", "'10.0.0.1/24'"]),
    (True, ["True", "bool"]),
    (1.5, ["1.5", "float"]),
    (b"10.0.0.1/24", ["bytes"]),
]

ADDRESSED: dict[str, Callable[[Lab, Any], object]] = {
    "veth": lambda lab, value: VethPair(lab.host, lab.box, name="a", peer_name="b", address=value),
    "veth's peer": lambda lab, value: VethPair(
        lab.host, lab.box, name="a", peer_name="b", peer_address=["10.9.9.9/8", value]
    ),
    "bridge": lambda lab, value: Bridge(lab.host, "b", address=value),
    "bridge.connect": lambda lab, value: lab.bridge.connect(lab.box, name="v", peer_address=value),
    "ns.connect": lambda lab, value: lab.host.connect(lab.box, name="v", peer_name="w", address=[value]),
    "addresses.add": lambda lab, value: lab.eth0.addresses.add(value),
    "addresses.replace": lambda lab, value: lab.eth0.addresses.replace(value),
    "addresses.remove": lambda lab, value: lab.eth0.addresses.remove(value),
}


@pytest.mark.parametrize(("value", "words"), ADDRESSES, ids=[repr(value) for value, _ in ADDRESSES])
@pytest.mark.parametrize("where", ADDRESSED)
def test_addresses(lab: Lab, where: str, value: Any, words: list[str]) -> None:
    message = refusal(lab, lambda lab: ADDRESSED[where](lab, value), SpecError)
    assert all(word in message for word in words), message


def test_F46_an_address_given_twice(lab: Lab) -> None:
    twice = ["10.0.0.1/24", "10.0.0.1/24"]
    assert "given twice" in refusal(lab, lambda lab: Bridge(lab.host, "b", address=twice), SpecError)


NETWORKS: list[tuple[object, list[str]]] = [
    ("10.9.0.1/16", ["bits set behind its prefix length", "'10.9.0.0/16'"]),
    ("fd00::1/64", ["bits set behind its prefix length", "'fd00::/64'"]),
    ("10.9.0.0/33", ["'10.9.0.0/33'", "a prefix length is 0 to 32"]),
    ("banana", ["'banana'"]),
    ("", ["''"]),
    (1.5, ["float"]),
    (True, ["bool"]),
]

NETWORKED: dict[str, Callable[[Lab, Any], object]] = {
    "routes.add": lambda lab, value: lab.host.routes.add(value, type="blackhole"),
    "routes.replace": lambda lab, value: lab.host.routes.replace(value, type="blackhole"),
    "routes.delete": lambda lab, value: lab.host.routes.delete(value),
    "routes.filter": lambda lab, value: lab.host.routes.filter(dst=value),
    "rules.add src": lambda lab, value: lab.host.rules.add(src=value, table=100),
    "rules.add dst": lambda lab, value: lab.host.rules.add(dst=value, table=100),
    "rules.delete": lambda lab, value: lab.host.rules.delete(dst=value),
    "masquerade": lambda lab, value: NatRule.masquerade(lab.host, saddr=value),
    "dnat": lambda lab, value: NatRule.dnat(lab.host, daddr=value, to="10.0.0.2"),
}


@pytest.mark.parametrize(("value", "words"), NETWORKS, ids=[repr(value) for value, _ in NETWORKS])
@pytest.mark.parametrize("where", NETWORKED)
def test_networks(lab: Lab, where: str, value: Any, words: list[str]) -> None:
    message = refusal(lab, lambda lab: NETWORKED[where](lab, value), SpecError)
    assert all(word in message for word in words), message


MACS = [
    *["", "banana", "02:00:00:00:00", "02:00:00:00:00:0g", "01:00:00:00:00:01", "00:00:00:00:00:00"],
    *[7, None],
]
WITH_MAC: dict[str, Callable[[Lab, Any], object]] = {
    "veth": lambda lab, value: VethPair(lab.host, lab.box, name="a", peer_name="b", mac=value),
    "veth's peer": lambda lab, value: VethPair(lab.host, lab.box, name="a", peer_name="b", peer_mac=value),
    "bridge": lambda lab, value: Bridge(lab.host, "b", mac=value),
    "link.set": lambda lab, value: lab.eth0.set(mac=value),
    "neighbours.add": lambda lab, value: lab.host.neighbours.add("10.0.0.9", mac=value, dev="eth0"),
    "fdb.add": lambda lab, value: lab.bridge.fdb.add(value, dev="eth0"),
}


NEEDS_MAC = ("neighbours.add", "fdb.add")  # elsewhere None is the default


@pytest.mark.parametrize(
    ("where", "value"),
    [(where, value) for where in WITH_MAC for value in MACS if value is not None or where in NEEDS_MAC],
)
def test_macs(lab: Lab, where: str, value: Any) -> None:
    assert repr(value) in refusal(lab, lambda lab: WITH_MAC[where](lab, value), SpecError)
