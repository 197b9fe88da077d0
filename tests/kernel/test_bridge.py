"""Bridges against `ip -d link`, `bridge` and the frames that come through."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from netkit import (
    Bridge,
    ExistsError,
    KernelError,
    Namespace,
    NotFoundError,
    Scope,
    SpecError,
    StateError,
    UnsupportedError,
    VethPair,
)
from tests.harness.oracle import addresses, ip, link, run_in, succeeds
from tests.harness.packets import QUIET, TIMEOUT, bound, comes_through, reached, tcp
from tests.harness.patience import AT_ONCE


@pytest.fixture
def box() -> Iterator[Namespace]:
    with Namespace() as ns:
        yield ns


@pytest.fixture
def other() -> Iterator[Namespace]:
    with Namespace() as ns:
        yield ns


def names(ns: Namespace) -> list[str]:
    return [item["ifname"] for item in ip(ns, "link", "show")]


def data(ns: Namespace, name: str = "br0") -> dict[str, Any]:
    """What `ip -d link` says of the bridge itself."""
    info: dict[str, Any] = link(ns, name)["linkinfo"]
    assert info["info_kind"] == "bridge"
    return info["info_data"]


def port_data(ns: Namespace, name: str) -> dict[str, Any]:
    """What `ip -d link` says of a port."""
    info: dict[str, Any] = link(ns, name)["linkinfo"]
    assert info["info_slave_kind"] == "bridge"
    return info["info_slave_data"]


def fdb(ns: Namespace, *words: str) -> list[dict[str, Any]]:
    return json.loads(run_in(ns, "bridge", "-j", "fdb", "show", *words) or "[]")


# -- the bridge itself ------------------------------------------------------------------


@pytest.mark.parametrize("mtu", [1400, 1500, 9000])
def test_F48_a_given_mtu_stays_when_a_smaller_port_joins(host: Namespace, mtu: int) -> None:
    with Namespace() as box, Bridge(host, "br0", mtu=mtu) as bridge:
        bridge.connect(box, name="veth0", mtu=1300)
        assert link(host, "br0")["mtu"] == mtu


def test_without_one_the_smallest_port_decides(host: Namespace) -> None:
    with Namespace() as box, Bridge(host, "br0") as bridge:
        bridge.connect(box, name="veth0", mtu=1300)
        assert link(host, "br0")["mtu"] == 1300


def test_create_and_delete(host: Namespace) -> None:
    with Bridge(host, "br0", address=["10.0.0.1/24", "fd00::1/64"], mtu=1400) as bridge:
        said = link(host, "br0")
        assert (bridge.link.name, bridge.link.ifindex, bridge.link.kind) == ("br0", said["ifindex"], "bridge")
        assert (said["mtu"], said["address"]) == (1400, bridge.link.mac)
        assert "UP" in said["flags"]
        assert addresses(host, "br0") == ["10.0.0.1/24", "fd00::1/64"]
        assert bridge.ports == []
        assert bridge.exists
    assert names(host) == ["lo"]
    assert not bridge.exists


def test_options_are_the_kernels(host: Namespace) -> None:
    bridge = Bridge(
        host, "br0", stp=True, forward_delay=4.5, hello_time=1, max_age=10, ageing_time=77,
        mcast_snooping=False, mac="02:00:00:00:00:09", up=False,
    )  # fmt: skip
    with bridge:
        said = data(host)
        assert said["stp_state"] == 1
        assert (said["forward_delay"], said["hello_time"], said["max_age"]) == (450, 100, 1000)
        assert said["ageing_time"] == 7700
        assert said["mcast_snooping"] == 0
        assert link(host, "br0")["address"] == "02:00:00:00:00:09"
        assert "UP" not in link(host, "br0")["flags"]


def test_defaults(host: Namespace) -> None:
    with Bridge(host, "br0"):
        assert data(host)["stp_state"] == 0
        assert data(host)["mcast_snooping"] == 1


def test_F52_a_port_forwards_at_once(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0", address=["10.0.0.1/24", "fd00::1/64"]) as bridge:
        bridge.connect(box, name="veth0", peer_address=["10.0.0.2/24", "fd00::2/64"])
        assert port_data(host, "veth0")["state"] == "forwarding"
        for near, far in (("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")):
            assert host.ping(far, timeout=AT_ONCE).loss == 0
            assert box.ping(near, timeout=AT_ONCE).loss == 0


def test_F52_the_mac_is_pinned(host: Namespace, box: Namespace, other: Namespace) -> None:
    """Its own choice would be the lowest MAC of its ports, which changes with them."""
    with Bridge(host, "br0") as bridge:
        pinned = link(host, "br0")["address"]
        first = bridge.connect(box, name="veth0", mac="02:00:00:00:00:01")
        assert link(host, "br0")["address"] == pinned
        first.delete()
        bridge.connect(other, name="veth1", mac="00:00:00:00:00:01")
        assert link(host, "br0")["address"] == pinned == bridge.link.mac


def test_F49_vlan_filtering_or_what_this_kernel_lacks(host: Namespace) -> None:
    bridge = Bridge(host, "br0", vlan_filtering=True)
    # What `ip` gets without netkit: the kernel's own answer.
    if succeeds(host, "ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"):
        with bridge:
            assert data(host)["vlan_filtering"] == 1
        return
    with pytest.raises(UnsupportedError, match="CONFIG_BRIDGE_VLAN_FILTERING") as caught:
        bridge.create()
    assert names(host) == ["lo"]
    pytest.skip(f"the kernel's reason: {caught.value}")


def test_no_vlan_filtering_works_everywhere(host: Namespace) -> None:
    with Bridge(host, "br0", vlan_filtering=False):
        assert data(host).get("vlan_filtering", 0) == 0


# -- ports ---------------------------------------------------------------------------------


def test_ports_come_and_go(host: Namespace, box: Namespace) -> None:
    with (
        VethPair(host, box, name="veth0", peer_name="eth0") as veth,
        Bridge(host, "br0", address="10.0.0.1/24") as bridge,
    ):
        assert bridge.add_port(veth.link) == veth.link
        assert link(host, "veth0")["master"] == "br0"
        assert bridge.ports == [veth.link] == list(bridge)
        assert veth.link.master == bridge.link
        bridge.remove_port(veth.link)
        assert "master" not in link(host, "veth0")
        assert bridge.ports == []
        with pytest.raises(NotFoundError, match="veth0"):
            bridge.remove_port(veth.link)


def test_port_options_are_the_kernels(host: Namespace, box: Namespace, other: Namespace) -> None:
    with VethPair(host, box, name="veth0", peer_name="eth0") as veth, Bridge(host, "br0") as bridge:
        before = port_options(bridge.add_port(veth.link).netns, "veth0")
        bridge.remove_port(veth.link)
        bridge.add_port(
            veth.link, hairpin=True, isolated=True, learning=False, flood=False, cost=77, priority=3
        )
        said = port_data(host, "veth0")
        assert said["hairpin"]
        assert said["isolated"]
        assert not said["learning"]
        assert not said["flood"]
        assert (said["cost"], said["priority"]) == (77, 3)
        bridge.connect(other, name="veth1", hairpin=False, learning=True, cost=9)
        assert port_options(host, "veth1") == before | {"cost": 9}


def port_options(ns: Namespace, name: str) -> dict[str, Any]:
    said = port_data(ns, name)
    return {key: said[key] for key in ("hairpin", "isolated", "learning", "flood", "cost", "priority")}


def test_foreign_ports_are_released_never_deleted(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "enp1s0", "type", "veth", "peer", "name", "cable")
    run_in(host, "ip", "link", "set", "enp1s0", "up")
    with Bridge(host, "br0") as bridge:
        bridge.add_port(host.links["enp1s0"])
        run_in(host, "ip", "link", "set", "cable", "master", "br0")  # somebody else's, by other means
    assert sorted(names(host)) == ["cable", "enp1s0", "lo"]
    assert "master" not in link(host, "enp1s0")
    assert "UP" in link(host, "enp1s0")["flags"]


def test_a_port_that_went_to_another_bridge_stays_there(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "enp1s0", "type", "veth", "peer", "name", "cable")
    run_in(host, "ip", "link", "add", "theirs", "type", "bridge")
    with Bridge(host, "br0") as bridge:
        bridge.add_port(host.links["enp1s0"])
        run_in(host, "ip", "link", "set", "enp1s0", "master", "theirs")
    assert link(host, "enp1s0")["master"] == "theirs"


def test_a_port_deleted_by_others(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "enp1s0", "type", "veth", "peer", "name", "cable")
    with Bridge(host, "br0") as bridge:
        bridge.add_port(host.links["enp1s0"])
        run_in(host, "ip", "link", "del", "enp1s0")
    assert names(host) == ["lo"]


def test_what_cannot_be_a_port(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "br1", "type", "bridge")
    with Bridge(host, "br0") as bridge:
        with pytest.raises(KernelError, match="Can not enslave a bridge to a bridge"):
            bridge.add_port(host.links["br1"])
        with pytest.raises(KernelError, match="'lo'"):
            bridge.add_port(host.links["lo"])
        assert bridge.ports == []


def test_a_link_of_another_namespace_is_refused_before_any_change(host: Namespace, box: Namespace) -> None:
    with VethPair(host, box, name="veth0", peer_name="eth0") as veth, Bridge(host, "br0") as bridge:
        with pytest.raises(SpecError, match="another namespace"):
            bridge.add_port(veth.peer)
        assert bridge.ports == []


# -- what the options do to frames ------------------------------------------------------------


def test_isolated_ports_reach_the_bridge_but_not_each_other(
    host: Namespace, box: Namespace, other: Namespace
) -> None:
    with Bridge(host, "br0", address="10.0.0.1/24") as bridge:
        for ns, name, address in ((box, "v0", "10.0.0.2/24"), (other, "v1", "10.0.0.3/24")):
            bridge.connect(ns, name=name, peer_address=address, isolated=True)
        assert box.ping("10.0.0.1", timeout=AT_ONCE).loss == 0
        assert box.ping("10.0.0.3", timeout=0.15).loss == 1
        with bound(other, "10.0.0.3", 9, socket.SOCK_DGRAM) as server:
            assert not comes_through(box, "10.0.0.3", 9, server)
    with Bridge(host, "br0", address="10.0.0.1/24") as bridge:
        for ns, name, address in ((box, "v0", "10.0.0.2/24"), (other, "v1", "10.0.0.3/24")):
            bridge.connect(ns, name=name, peer_address=address)
        with bound(other, "10.0.0.3", 9, socket.SOCK_DGRAM) as server:
            assert comes_through(box, "10.0.0.3", 9, server, TIMEOUT)


@pytest.mark.parametrize("hairpin", [True, False])
def test_hairpin_sends_frames_back_where_they_came_from(
    host: Namespace, box: Namespace, hairpin: bool
) -> None:
    with Bridge(host, "br0") as bridge:
        bridge.connect(box, name="veth0", hairpin=hairpin)
        with box.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x88B5) as sock:
            sock.bind(("eth0", 0x88B5))  # the local experimental EtherType
            frame = bytes.fromhex("ffffffffffff02000000007788b5") + b"hello back" + bytes(40)
            sock.send(frame)
            sock.settimeout(TIMEOUT if hairpin else QUIET)
            if hairpin:
                assert sock.recv(100) == frame
            else:
                with pytest.raises(TimeoutError):
                    sock.recv(100)


def test_no_flood_and_a_static_entry(host: Namespace, box: Namespace, other: Namespace) -> None:
    """A port without flood and learning hears only what the forwarding database sends there."""
    with Bridge(host, "br0") as bridge:
        sender = bridge.connect(box, name="v0")
        bridge.connect(other, name="v1", flood=False, learning=False)
        assert sender.exists
        target = "020000000055"
        with (
            box.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x88B5) as out,
            other.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x88B5) as into,
        ):
            out.bind(("eth0", 0x88B5))
            into.bind(("eth0", 0x88B5))
            frame = bytes.fromhex(target + "020000000077" + "88b5") + bytes(50)
            out.send(frame)
            into.settimeout(QUIET)
            with pytest.raises(TimeoutError):
                into.recv(100)
            bridge.fdb.add("02:00:00:00:00:55", dev="v1")
            out.send(frame)
            into.settimeout(TIMEOUT)
            assert into.recv(100) == frame


# -- forwarding database ------------------------------------------------------------------------


def both_reads(host: Namespace, bridge: Bridge, mac: str) -> set[tuple[str, str, str, int | None]]:
    """The entries of a MAC as `bridge` says them, and as netkit does."""
    said = [entry for entry in fdb(host, "br", "br0") if entry["mac"] == mac]
    read = {(each.dev, each.state, each.master, each.vlan) for each in bridge.fdb if each.mac == mac}
    assert read == {(each["ifname"], each["state"], each["master"], each.get("vlan")) for each in said}
    return read


def test_fdb_static_entries(host: Namespace, box: Namespace) -> None:
    mac = "02:00:00:00:00:55"
    with Bridge(host, "br0") as bridge:
        bridge.connect(box, name="veth0")
        bridge.fdb.add("02-00-00-00-00-55", dev="veth0")
        # With CONFIG_BRIDGE_VLAN_FILTERING the kernel adds one more for each VLAN of the port: 1 at first.
        assert both_reads(host, bridge, mac) >= {("veth0", "static", "br0", None)}
        with pytest.raises(ExistsError):
            bridge.fdb.add(mac, dev=host.links["veth0"])
        bridge.fdb.delete(mac, dev="veth0")
        assert both_reads(host, bridge, mac) == set()
        with pytest.raises(NotFoundError, match=mac):
            bridge.fdb.delete(mac, dev="veth0")


def test_fdb_entries_of_a_vlan(host: Namespace, box: Namespace) -> None:
    if not succeeds(host, "ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"):
        pytest.skip("needs a kernel with CONFIG_BRIDGE_VLAN_FILTERING")
    mac = "02:00:00:00:00:55"
    with Bridge(host, "br0", vlan_filtering=True) as bridge:
        bridge.connect(box, name="veth0")
        with pytest.raises(KernelError, match=mac):  # the port isn't in it yet
            bridge.fdb.add(mac, dev="veth0", vlan=20)
        run_in(host, "bridge", "vlan", "add", "vid", "20", "dev", "veth0")
        bridge.fdb.add(mac, dev="veth0", vlan=20)
        assert both_reads(host, bridge, mac) == {("veth0", "static", "br0", 20)}
        with pytest.raises(ExistsError):
            bridge.fdb.add(mac, dev="veth0", vlan=20)
        bridge.fdb.add(mac, dev="veth0", vlan=1)
        bridge.fdb.delete(mac, dev="veth0", vlan=20)
        assert both_reads(host, bridge, mac) == {("veth0", "static", "br0", 1)}
        with pytest.raises(NotFoundError, match=mac):
            bridge.fdb.delete(mac, dev="veth0", vlan=20)


def test_vlans_keep_ports_apart(host: Namespace, box: Namespace, other: Namespace) -> None:
    if not succeeds(host, "ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"):
        pytest.skip("needs a kernel with CONFIG_BRIDGE_VLAN_FILTERING")
    with Bridge(host, "br0", vlan_filtering=True) as bridge:
        bridge.connect(box, name="veth0", peer_address="10.0.0.2/24")
        bridge.connect(other, name="veth1", peer_address="10.0.0.3/24")
        assert reached(box, "10.0.0.3")
        run_in(host, "bridge", "vlan", "add", "vid", "20", "dev", "veth1", "pvid", "untagged")
        assert box.ping("10.0.0.3", timeout=0.3).loss == 1
        run_in(host, "bridge", "vlan", "add", "vid", "20", "dev", "veth0", "pvid", "untagged")
        assert reached(box, "10.0.0.3")


def test_fdb_read_is_bridges(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0", address="10.0.0.1/24") as bridge, Bridge(host, "br1") as second:
        bridge.connect(box, name="veth0", peer_address="10.0.0.2/24", peer_mac="02:00:00:00:00:42")
        assert box.ping("10.0.0.1", timeout=AT_ONCE).loss == 0
        said = {(entry["mac"], entry["ifname"]) for entry in fdb(host, "br", "br0") if "master" in entry}
        read = {(entry.mac, entry.dev) for entry in bridge.fdb if entry.master}
        assert said == read
        assert ("02:00:00:00:00:42", "veth0") in read  # learnt
        (learnt,) = [entry for entry in bridge.fdb if entry.mac == "02:00:00:00:00:42"]
        assert learnt.state == "reachable"
        assert "veth0" not in {entry.dev for entry in second.fdb}


# -- connect -------------------------------------------------------------------------------------


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


# -- open, detach, adopt, and others at work --------------------------------------------------------


def test_open_borrows(host: Namespace, box: Namespace) -> None:
    run_in(host, "ip", "link", "add", "br0", "type", "bridge")
    run_in(host, "ip", "addr", "add", "10.0.0.1/24", "dev", "br0")
    run_in(host, "ip", "link", "set", "br0", "up")
    bridge = Bridge.open(host, "br0")
    veth = bridge.connect(box, name="veth0", peer_address="10.0.0.2/24", default_route=True)
    assert box.ping("10.0.0.1", timeout=AT_ONCE).loss == 0
    with pytest.raises(StateError, match="borrowed"):
        bridge.delete()
    veth.delete()
    assert names(host) == ["lo", "br0"]


def test_what_a_borrowed_bridge_connects_is_undone_at_exit(host: Namespace, box: Namespace) -> None:
    from netkit._lifecycle import ROOT

    run_in(host, "ip", "link", "add", "br0", "type", "bridge")
    veth = Bridge.open(host, "br0").connect(box, name="veth0")
    assert veth._holder is ROOT
    veth.delete()
    assert names(host) == ["lo", "br0"]


def test_open_says_what_is_wrong(host: Namespace) -> None:
    with pytest.raises(NotFoundError, match="'br0'"):
        Bridge.open(host, "br0")
    run_in(host, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    with pytest.raises(SpecError, match="'veth0' is a veth, not a bridge"):
        Bridge.open(host, "veth0")


def test_a_taken_name_says_where() -> None:
    with Namespace("host") as host:
        run_in(host, "ip", "link", "add", "br0", "type", "veth")
        before = ip(host, "address", "show")
        with pytest.raises(
            ExistsError, match=r"The name 'br0' is taken in namespace 'host'; Bridge.open\("
        ) as caught:
            Bridge(host, "br0", address="10.0.0.1/24").create()
        assert caught.value.netns == "namespace 'host'"
        assert ip(host, "address", "show") == before


def test_an_index_that_a_stranger_has(host: Namespace) -> None:
    index = host._live_runtime().new_index() + 1
    run_in(host, "ip", "link", "add", "mine", "index", str(index), "type", "bridge")
    before = link(host, "mine")
    with pytest.raises(KernelError) as caught:
        Bridge(host, "br0", address=["10.0.0.1/24", "fd00::1/64"]).create()
    assert "is taken" not in str(caught.value), "it is not the name"
    assert link(host, "mine") == before
    assert addresses(host, "mine") == []
    assert names(host) == ["lo", "mine"]


def test_a_refused_address_leaves_no_bridge(host: Namespace) -> None:
    run_in(host, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    with pytest.raises(KernelError, match="IPv6 is disabled"):
        Bridge(host, "br0", address=["10.0.0.1/24", "fd00::1/64"]).create()
    assert names(host) == ["lo"]


def test_detach_and_adopt(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0") as bridge:
        bridge.connect(box, name="veth0")
        bridge.detach()
    assert sorted(names(host)) == ["br0", "lo", "veth0"]
    assert link(host, "br0")["group"] == link(host, "veth0")["group"] == "default"
    Bridge.open(host, "br0").adopt().delete()
    assert names(host) == ["lo", "veth0"]
    assert "master" not in link(host, "veth0")


def test_deleted_by_others(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0") as bridge:
        bridge.connect(box, name="veth0")
        run_in(host, "ip", "link", "del", "br0")
        assert not bridge.exists
        with pytest.raises(NotFoundError):
            bridge.link.up()
    assert names(host) == names(box) == ["lo"]


def test_F43_name_and_index_reused_by_a_stranger_are_left_alone(host: Namespace) -> None:
    with Bridge(host, "br0") as bridge:
        index = bridge.link.ifindex
        run_in(host, "ip", "link", "del", "br0")
        run_in(host, "ip", "link", "add", "br0", "index", str(index), "type", "bridge")
        before = link(host, "br0")
        assert not bridge.exists
    assert link(host, "br0") == before


def test_renamed_by_others_still_goes(host: Namespace) -> None:
    with Bridge(host, "br0") as bridge:
        run_in(host, "ip", "link", "set", "br0", "down")  # what is up has no other name before Linux 6.2
        run_in(host, "ip", "link", "set", "br0", "name", "lan")
        assert bridge.link.name == "lan"
    assert names(host) == ["lo"]
