"""Neighbours against `ip neighbour`, and what they do to packets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from netkit import ExistsError, Namespace, NotFoundError, SpecError, VethPair
from tests.harness.oracle import ip, run_in
from tests.harness.packets import bound, reached, udp
from tests.harness.patience import AT_ONCE

ADDRESS = {4: "10.0.0.9", 6: "fd00::9"}
MAC = "02:00:00:00:00:77"


@pytest.fixture
def wired(host: Namespace, box: Namespace) -> Iterator[VethPair]:
    veth = VethPair(
        host, box, name="eth0", peer_name="eth0", address=["10.0.0.1/24", "fd00::1/64"],
        peer_address=["10.0.0.2/24", "fd00::2/64"],
    )  # fmt: skip
    with veth:
        yield veth


def said(ns: Namespace, address: str) -> dict[str, Any] | None:
    found = [each for each in ip(ns, "neighbour", "show") if each["dst"] == address]
    return found[0] if found else None


def test_what_ip_shows_and_no_more(host: Namespace, wired: VethPair) -> None:
    """Not the kernel's own entries of multicast addresses, of which there are some after IPv6 was up."""
    host.neighbours.add(ADDRESS[4], mac=MAC, dev=wired.link)
    assert reached(host, "10.0.0.2")
    hidden = {each["dst"] for each in ip(host, "neighbour", "show", "nud", "noarp")}
    assert hidden, "nothing to leave out"
    found = {str(each.address): each.state for each in host.neighbours}
    assert found == {each["dst"]: each["state"][0].lower() for each in ip(host, "neighbour", "show")}
    assert not hidden & set(found)


@pytest.mark.parametrize("family", [4, 6])
def test_add_replace_delete(host: Namespace, wired: VethPair, family: int) -> None:
    address = ADDRESS[family]
    added = host.neighbours.add(address, mac=MAC.upper(), dev=wired.link)
    entry = said(host, address)
    assert entry is not None
    assert (entry["lladdr"], entry["dev"], entry["state"]) == (MAC, "eth0", ["PERMANENT"])
    assert added in list(host.neighbours)
    with pytest.raises(ExistsError, match=address):
        host.neighbours.add(address, mac=MAC, dev="eth0")
    host.neighbours.replace(address, mac="02:00:00:00:00:78", dev="eth0")
    entry = said(host, address)
    assert entry is not None
    assert entry["lladdr"] == "02:00:00:00:00:78"
    host.neighbours.delete(address, dev="eth0")
    assert said(host, address) is None
    with pytest.raises(NotFoundError, match=address):
        host.neighbours.delete(address, dev="eth0")


@pytest.mark.parametrize("family", [4, 6])
def test_replace_adds_too(host: Namespace, wired: VethPair, family: int) -> None:
    host.neighbours.replace(ADDRESS[family], mac=MAC, dev="eth0")
    assert said(host, ADDRESS[family]) is not None


@pytest.mark.parametrize("family", [4, 6])
def test_learnt_entries_are_read(host: Namespace, wired: VethPair, family: int) -> None:
    far = {4: "10.0.0.2", 6: "fd00::2"}[family]
    assert host.ping(far, timeout=AT_ONCE).loss == 0
    (found,) = [each for each in host.neighbours if str(each.address) == far]
    assert (found.mac, found.dev) == (wired.peer.mac, "eth0")
    entry = said(host, far)
    assert entry is not None
    assert [found.state.upper()] == entry["state"]


@pytest.mark.parametrize("family", [4, 6])
def test_packets_go_where_it_says(host: Namespace, box: Namespace, wired: VethPair, family: int) -> None:
    """A wrong address makes the peer deaf, the right one lets it hear an address it never announced."""
    far = {4: "10.0.0.2", 6: "fd00::2"}[family]
    host.neighbours.replace(far, mac=MAC, dev="eth0")
    assert host.ping(far, timeout=0.15).loss == 1
    assert wired.peer.mac is not None
    host.neighbours.replace(far, mac=wired.peer.mac, dev="eth0")
    with bound(box, far, 53, socket.SOCK_DGRAM) as server:
        assert udp(host, far, 53, server) in ("10.0.0.1", "fd00::1")


def test_iteration_is_what_ip_says(host: Namespace, wired: VethPair) -> None:
    run_in(host, "ip", "neigh", "add", "10.0.0.9", "lladdr", MAC, "dev", "eth0")
    run_in(host, "ip", "neigh", "add", "fd00::9", "lladdr", MAC, "dev", "eth0")
    read = {(str(each.address), each.mac, each.dev) for each in host.neighbours if each.state == "permanent"}
    assert read == {("10.0.0.9", MAC, "eth0"), ("fd00::9", MAC, "eth0")}
    assert len(host.neighbours) >= 2


def test_unknown_devices_and_foreign_ones(host: Namespace, wired: VethPair) -> None:
    with pytest.raises(NotFoundError, match="'eth9'"):
        host.neighbours.add("10.0.0.9", mac=MAC, dev="eth9")
    for use in (
        lambda: host.neighbours.add("10.0.0.9", mac=MAC, dev=wired.peer),
        lambda: host.neighbours.replace("10.0.0.9", mac=MAC, dev=wired.peer),
        lambda: host.neighbours.delete("10.0.0.9", dev=wired.peer),
    ):
        with pytest.raises(SpecError, match="another namespace"):
            use()
    assert said(host, "10.0.0.9") is None
