"""A target in two networks, where packets that come by another way than the way back are dropped.

outside 192.0.2.2 -- 192.0.2.1 host 172.18.0.1 (br0) -- 172.18.0.2 (eth0, the default route) box
                                    172.19.0.1 (br1) -- 172.19.0.2 (eth1)
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from netkit import Bridge, Namespace, NatRule, Scope, VethPair
from tests.harness.packets import TIMEOUT, bound, comes_through, tcp
from tests.harness.publishing import backend

__all__ = ["backend"]

DEVICES = {"box": ["eth0", "eth1"], "host": ["br0", "br1", "wan", "port0", "port1", "all"]}


class World(NamedTuple):
    host: Namespace
    box: Namespace
    outside: Namespace

    def filters(self) -> dict[str, str]:
        """The devices whose rp_filter is not 0, and what it is."""
        places = [(getattr(self, place), name) for place, names in DEVICES.items() for name in names]
        values = {name: place.sysctl[f"net/ipv4/conf/{name}/rp_filter"] for place, name in places}
        return {name: value for name, value in values.items() if value != "0"}


@pytest.fixture
def world() -> Iterator[World]:
    with Scope() as lab:
        host, box, outside = [lab.own(Namespace()) for _ in range(3)]
        for ns in (host, box):
            ns.sysctl["net.ipv4.conf.all.rp_filter"] = 1
            ns.sysctl["net.ipv4.conf.default.rp_filter"] = 0
        for number in range(2):
            bridge = lab.own(Bridge(host, f"br{number}", address=f"172.{18 + number}.0.1/24"))
            near, far = f"port{number}", f"eth{number}"
            address = f"172.{18 + number}.0.2/24"
            bridge.connect(box, name=near, peer_name=far, peer_address=address, default_route=not number)
        wan = {"address": "192.0.2.1/24", "peer_address": "192.0.2.2/24"}
        lab.own(VethPair(host, outside, name="wan", peer_name="eth0", **wan))
        outside.routes.add("default", via="192.0.2.1")
        yield World(host, box, outside)


@pytest.mark.parametrize("target", ["172.18.0.2", "172.19.0.2"])
def test_F67_strict_filters_do_not_drop_what_goes_by_two_networks(
    world: World, backend: str, target: str
) -> None:
    before = world.filters()
    with bound(world.box, target, 80, socket.SOCK_STREAM) as server:
        with world.host.publish(8080, to=f"{target}:80", reserve=False) as mapping:
            assert mapping.backend == backend
            assert tcp(world.outside, "192.0.2.1", 8080, server) == "192.0.2.2"
            own = {"eth0": "2", "eth1": "2", "br0": "2", "br1": "2"}
            assert world.filters() == {**before, **own}, "of netkit's devices on the ways, and no other"
        assert world.filters() == before


def test_F67_a_rule_alone_leaves_the_filters_to_the_user(world: World) -> None:
    """So it does matter: the same by NatRule, which changes no device, is dropped."""
    world.host.sysctl["net.ipv4.ip_forward"] = 1
    rule = NatRule.dnat(world.host, proto="udp", dport=8080, to="172.19.0.2:80")
    with bound(world.box, "172.19.0.2", 80, socket.SOCK_DGRAM) as server, rule:
        assert not comes_through(world.outside, "192.0.2.1", 8080, server)
        with world.box.sysctl.override("net.ipv4.conf.eth1.rp_filter", 2):
            assert comes_through(world.outside, "192.0.2.1", 8080, server, TIMEOUT)


def test_F67_what_is_not_strict_stays_what_it_is(world: World) -> None:
    """0 is no filter, and 2 would be one."""
    for ns in (world.host, world.box):
        ns.sysctl["net.ipv4.conf.all.rp_filter"] = 0
    world.host.sysctl["net.ipv4.conf.br1.rp_filter"] = 1
    before = world.filters()
    with world.host.publish(8080, to="172.19.0.2:80"):
        assert world.filters() == {**before, "br1": "2"}
    assert world.filters() == before


def test_F67_what_has_the_same_addresses_elsewhere_is_left_alone(world: World) -> None:
    with Scope() as lab:
        host, box = lab.own(Namespace()), lab.own(Namespace())
        for number in range(2):
            bridge = lab.own(Bridge(host, f"br{number}", address=f"172.{18 + number}.0.1/24"))
            address = f"172.{18 + number}.0.2/24"
            bridge.connect(box, name=f"port{number}", peer_name=f"eth{number}", peer_address=address)
        before = world.filters()
        assert "1" in before.values()
        lab.own(host.publish(8080, to="172.18.0.2:80"))
        assert world.filters() == before


def test_F67_one_way_needs_nothing(world: World) -> None:
    with Scope() as lab:
        other = lab.own(Namespace())
        Bridge.open(world.host, "br0").connect(other, name="port9", peer_address="172.18.0.9/24")
        before = world.filters()
        lab.own(world.host.publish(8080, to="172.18.0.9:80"))
        assert world.filters() == before
