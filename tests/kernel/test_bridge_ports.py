"""Ports of bridges, and the frames that come through."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from netkit import Bridge, KernelError, Namespace, NotFoundError, SpecError, VethPair
from tests.harness.bridges import port_data
from tests.harness.oracle import link, names, run_in
from tests.harness.packets import QUIET, TIMEOUT, bound, comes_through
from tests.harness.patience import AT_ONCE

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
