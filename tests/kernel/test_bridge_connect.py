"""Bridge.connect(): a pair with its addresses and routes, and nothing where a part of it fails."""

from __future__ import annotations

from typing import Any

import pytest

from netkit import Bridge, ExistsError, KernelError, Namespace, Scope, SpecError
from tests.harness.oracle import addresses, ip, link, names, run_in
from tests.harness.packets import bound, tcp


def test_connect_with_default_routes_of_both_families(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0", address=["fd00::1/64", "10.0.0.1/24", "10.0.0.254/24"]) as bridge:
        veth = bridge.connect(
            box, name="veth0", peer_name="lan", peer_address=["10.0.0.2/24", "fd00::2/64"],
            default_route=True, mtu=1400, mac="02:00:00:00:00:01", peer_mac="02:00:00:00:00:02",
        )  # fmt: skip
        assert (veth.link.name, veth.peer.name) == ("veth0", "lan")
        assert link(host, "veth0")["master"] == "br0"
        assert (link(host, "veth0")["mtu"], link(box, "lan")["mtu"]) == (1400, 1400)
        assert link(box, "lan")["address"] == "02:00:00:00:00:02"
        for family, gateway in (("-4", "10.0.0.1"), ("-6", "fd00::1")):
            (route,) = ip(box, family, "route", "show", "default")
            assert (route["gateway"], route["dev"]) == (gateway, "lan")
        for address in ("203.0.113.1/32", "2001:db8::1/128"):
            host.links["lo"].addresses.add(address)
        for far in ("203.0.113.1", "2001:db8::1"):
            with bound(host, far, 80) as server:
                assert tcp(box, far, 80, server) in ("10.0.0.2", "fd00::2")
    assert names(host) == names(box) == ["lo"]
    assert ip(box, "route", "show") == []


def test_default_route_for_the_families_both_have(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0", address=["10.0.0.1/24", "fd00::1/64"]) as bridge:
        bridge.connect(box, name="veth0", peer_address="fd00::2/64", default_route=True)
        assert ip(box, "-4", "route", "show") == []
        (route,) = ip(box, "-6", "route", "show", "default")
        assert route["gateway"] == "fd00::1"


def test_default_route_needs_an_address(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0") as bridge:
        with pytest.raises(SpecError, match="default_route=True needs an address on bridge 'br0'"):
            bridge.connect(box, name="v", peer_address="10.0.0.2/24", default_route=True)
        with pytest.raises(SpecError, match="default_route"):
            bridge.connect(box, name="v", default_route=True)
        assert names(host) == ["lo", "br0"]
        assert names(box) == ["lo"]


def test_default_route_by_an_address_given_later(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0") as bridge:
        bridge.link.addresses.add("10.0.0.1/24")
        bridge.connect(box, name="v", peer_address="10.0.0.2/24", default_route=True)
        (route,) = ip(box, "-4", "route", "show", "default")
        assert route["gateway"] == "10.0.0.1"


FAULTS = {
    "the peer's name is taken": ["ip", "link", "add", "eth0", "type", "bridge"],
    "the far address is refused": ["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"],
    "the default route is there already": [
        "sh", "-c", "ip link add x type bridge; ip link set x up; ip route add default dev x",
    ],
}  # fmt: skip


def visible(ns: Namespace) -> list[Any]:
    """Links, their addresses, and routes, without what follows the carrier of a bridge."""
    links = [
        (item["ifname"], item["ifindex"], addresses(ns, item["ifname"])) for item in ip(ns, "link", "show")
    ]
    routes = ip(ns, "route", "show") + ip(ns, "-6", "route", "show")
    return [links, [(each["dst"], each["dev"]) for each in routes if not each["dst"].startswith("fe80")]]


@pytest.mark.parametrize("fault", FAULTS)
def test_connect_leaves_nothing_when_a_part_fails(host: Namespace, box: Namespace, fault: str) -> None:
    with Bridge(host, "br0", address=["10.0.0.1/24", "fd00::1/64"]) as bridge:
        run_in(box, *FAULTS[fault])
        before = visible(host), visible(box)
        with pytest.raises(KernelError):
            bridge.connect(
                box, name="veth0", peer_address=["10.0.0.2/24", "fd00::2/64"], default_route=True,
                hairpin=True,
            )  # fmt: skip
        assert (visible(host), visible(box)) == before
        assert bridge.ports == []
        with Namespace() as third:
            bridge.connect(third, name="veth0")  # the name is free


def test_connect_with_the_near_name_taken(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0") as bridge:
        with pytest.raises(ExistsError, match="'br0'"):
            bridge.connect(box, name="br0")
        assert names(box) == ["lo"]


def test_connected_pairs_go_with_the_bridge_and_move_to_a_scope(host: Namespace, box: Namespace) -> None:
    with Scope() as lab:
        with Bridge(host, "br0") as bridge:
            lab.own(bridge.connect(box, name="veth0"))
        assert names(host) == ["lo", "veth0"]
        assert "master" not in link(host, "veth0")
    assert names(host) == names(box) == ["lo"]
