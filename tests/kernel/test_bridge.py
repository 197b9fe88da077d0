"""Bridges against `ip -d link`: what they are made with, borrowing, their end, and others at work."""

from __future__ import annotations

import pytest

from netkit import (
    Bridge,
    ExistsError,
    KernelError,
    Namespace,
    NotFoundError,
    SpecError,
    StateError,
    UnsupportedError,
)
from tests.harness.bridges import data, port_data
from tests.harness.oracle import VLAN_FILTERING, addresses, ip, lacks, link, names, run_in
from tests.harness.patience import AT_ONCE

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
    if lacks(host, *VLAN_FILTERING) is None:
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
