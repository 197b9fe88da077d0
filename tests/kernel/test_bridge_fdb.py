"""A bridge's forwarding database against bridge(8)."""

from __future__ import annotations

import pytest

from netkit import Bridge, ExistsError, KernelError, Namespace, NotFoundError
from tests.harness.bridges import fdb
from tests.harness.oracle import VLAN_FILTERING, lacks, run_in
from tests.harness.packets import reached
from tests.harness.patience import AT_ONCE


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
    if reason := lacks(host, *VLAN_FILTERING):
        pytest.skip(f"needs a kernel with CONFIG_BRIDGE_VLAN_FILTERING: {reason}")
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
    if reason := lacks(host, *VLAN_FILTERING):
        pytest.skip(f"needs a kernel with CONFIG_BRIDGE_VLAN_FILTERING: {reason}")
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
