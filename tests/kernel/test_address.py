"""Addresses against `ip address`, and used at once by sockets."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from netkit import Address, ExistsError, KernelError, Link, Namespace, NotFoundError, SpecError, VethPair
from tests.harness.oracle import Events, addresses, ip, run_in, words_of_kernel
from tests.harness.patience import AT_ONCE, in_time


@pytest.fixture
def eth0(host: Namespace) -> Link:
    run_in(host, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    run_in(host, "ip", "link", "set", "eth0", "up")
    run_in(host, "ip", "link", "set", "eth1", "up")
    return host.links["eth0"]


def info(host: Namespace, address: str, name: str = "eth0") -> dict[str, Any]:
    (found,) = ip(host, "address", "show", name)
    (one,) = [each for each in found["addr_info"] if each["local"] == address]
    return one


@pytest.mark.parametrize(
    "value",
    [
        "10.0.0.1/24",
        "10.0.0.1/32",
        "10.0.0.0/31",
        "fd00::1/64",
        "fd00::1/128",
        ipaddress.ip_interface("10.0.0.1/8"),
        ipaddress.ip_interface("fd00::a/48"),
        Address.parse("10.9.9.9/16"),
    ],
    ids=str,
)
def test_add_and_remove(host: Namespace, eth0: Link, value: Any) -> None:
    added = eth0.addresses.add(value)
    assert str(added) == str(value)
    assert addresses(host, "eth0") == [str(value)]
    assert str(value) in eth0.addresses
    assert value in eth0.addresses
    eth0.addresses.remove(value)
    assert addresses(host, "eth0") == []
    assert value not in eth0.addresses


def test_an_address_value(host: Namespace, eth0: Link) -> None:
    eth0.addresses.add("10.0.0.1/24", label="eth0:web", scope="link")
    (found,) = [each for each in eth0.addresses if each.version == 4]
    said = info(host, "10.0.0.1")
    assert (str(found), found.label, found.scope) == ("10.0.0.1/24", said["label"], said["scope"])
    assert (said["label"], said["scope"]) == ("eth0:web", "link")
    assert found == "10.0.0.1/24"
    assert found == ipaddress.ip_interface("10.0.0.1/24")
    assert str(found.broadcast) == said.get("broadcast", "None")


def test_broadcast_as_ip_would(host: Namespace, eth0: Link) -> None:
    """A host on the same link answers to the broadcast address only if the kernel has one."""
    eth0.addresses.add("10.0.0.1/24")
    assert info(host, "10.0.0.1").get("broadcast") in (None, "10.0.0.255")
    assert [each["dst"] for each in ip(host, "route", "show", "table", "local", "type", "broadcast")] == [
        "10.0.0.255",
        "127.255.255.255",
    ]


def test_flags_and_secondaries(host: Namespace, eth0: Link) -> None:
    eth0.addresses.add("10.0.0.1/24")
    second = eth0.addresses.add("10.0.0.2/24")
    assert "secondary" in second.flags
    assert info(host, "10.0.0.2")["secondary"]
    six = eth0.addresses.add("fd00::1/64")
    assert "tentative" not in six.flags
    assert "nodad" in six.flags
    assert info(host, "fd00::1")["nodad"]


def test_marked_as_netkits(host: Namespace, eth0: Link) -> None:
    """IFA_PROTO, which `ip` shows from version 6.3 on; pyroute2 reads it here."""
    eth0.addresses.add("10.0.0.1/24")
    eth0.addresses.add("fd00::1/64")
    with host.pyroute2() as ipr:
        found = {each.get("IFA_ADDRESS"): each.get("IFA_PROTO") for each in ipr.get_addr(index=eth0.ifindex)}
    assert found["10.0.0.1"] == found["fd00::1"] == 110


def test_replace_adds_and_changes(host: Namespace, eth0: Link) -> None:
    eth0.addresses.replace("10.0.0.1/24")
    eth0.addresses.replace("10.0.0.1/24")
    eth0.addresses.replace("fd00::1/64")
    eth0.addresses.replace("fd00::1/64", nodad=True)
    assert addresses(host, "eth0") == ["10.0.0.1/24", "fd00::1/64"]


@pytest.mark.parametrize("value", ["10.0.0.1/24", "fd00::1/64"])
def test_F46_twice_is_exists_and_missing_is_not_found(host: Namespace, eth0: Link, value: str) -> None:
    eth0.addresses.add(value)
    with pytest.raises(ExistsError, match=value) as caught:
        eth0.addresses.add(value)
    assert caught.value.errno == 17
    # Linux 6.1 has no words of its own for either.
    assert caught.value.extack == words_of_kernel(host, "ip", "address", "add", value, "dev", "eth0")
    eth0.addresses.remove(value)
    with pytest.raises(NotFoundError, match=value) as missing:
        eth0.addresses.remove(value)
    assert missing.value.extack == words_of_kernel(host, "ip", "address", "del", value, "dev", "eth0")


def test_length_counts_in_remove(host: Namespace, eth0: Link) -> None:
    eth0.addresses.add("10.0.0.1/24")
    with pytest.raises(NotFoundError):
        eth0.addresses.remove("10.0.0.1/25")
    assert addresses(host, "eth0") == ["10.0.0.1/24"]


def test_without_a_prefix_both_lengths_are_proposed(host: Namespace, eth0: Link) -> None:
    with pytest.raises(SpecError, match=r"10\.0\.0\.1/24.*10\.0\.0\.1/32"):
        eth0.addresses.add("10.0.0.1")
    with pytest.raises(SpecError, match=r"fd00::1/64.*fd00::1/128"):
        eth0.addresses.add("fd00::1")
    assert addresses(host, "eth0") == []


def test_a_label_for_ipv6_is_refused(host: Namespace, eth0: Link) -> None:
    with pytest.raises(SpecError, match="label"):
        eth0.addresses.add("fd00::1/64", label="eth0:web")
    assert addresses(host, "eth0") == []


@pytest.mark.parametrize("turn", range(10))  # it was one in ten that was not
def test_F47_an_ipv6_address_is_usable_at_once(host: Namespace, turn: int) -> None:
    with Namespace() as box:
        veth = VethPair(
            host, box, name="eth0", peer_name="eth0", address="fd00::1/64", peer_address="fd00::2/64"
        )
        with veth, box.socket(socket.AF_INET6, socket.SOCK_DGRAM) as there:
            there.bind(("fd00::2", 4000))  # EADDRNOTAVAIL while duplicate detection runs
            with host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as here:
                here.bind(("fd00::1", 0))
                here.sendto(b"at once", ("fd00::2", 4000))
                there.settimeout(AT_ONCE)  # a lost solicitation costs a second
                assert there.recvfrom(100)[0] == b"at once"
        with veth:
            assert host.ping("fd00::2", timeout=AT_ONCE).loss == 0
            assert box.ping("fd00::1", timeout=AT_ONCE).loss == 0
            assert not [i for i in ip(box, "address", "show", "eth0")[0]["addr_info"] if "tentative" in i]


def test_link_local_addresses_are_usable_at_once(host: Namespace) -> None:
    """What forwarding solicits from: while it is tentative, the first packet through takes seconds."""
    in_time(lambda: _a_link_local_address_is_usable(host))


def _a_link_local_address_is_usable(host: Namespace) -> None:
    with Namespace() as box, VethPair(host, box, name="eth0", peer_name="eth0"):
        (found,) = ip(host, "address", "show", "eth0")
        (own,) = [each for each in found["addr_info"] if each["scope"] == "link"]
        with Events(host) as events:  # the kernel ends what is left of the detection on a work queue
            events.wait_until(
                lambda: "tentative" not in str(ip(host, "address", "show", "eth0")), timeout=AT_ONCE
            )
        with host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind((own["local"], 0, 0, found["ifindex"]))


def test_an_address_added_later_is_usable_at_once(host: Namespace, eth0: Link) -> None:
    eth0.addresses.add("fd00:9::1/64")
    with host.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.bind(("fd00:9::1", 0))


def test_F47_ipv6_disabled_names_the_kernels_reason(host: Namespace, eth0: Link) -> None:
    run_in(host, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
    with pytest.raises(KernelError, match="IPv6 is disabled") as caught:
        eth0.addresses.add("fd00::1/64")
    assert not isinstance(caught.value, PermissionError)  # no capability would help
    assert "disable_ipv6" in str(caught.value)


def test_neighbours_find_an_address_added_later_at_once(host: Namespace) -> None:
    with Namespace() as box, VethPair(host, box, name="eth0", peer_name="eth0", address="fd00::1/64") as veth:
        for number in range(2, 12):
            veth.peer.addresses.add(f"fd00::{number:x}/64")
            assert host.ping(f"fd00::{number:x}", timeout=AT_ONCE).loss == 0


def test_loopback_takes_addresses_of_both_families(host: Namespace) -> None:
    """It joins no solicited-node group: nothing to wait for."""
    for value in ("10.255.0.1/32", "fd00:ffff::1/128"):
        host.links["lo"].addresses.add(value)
        assert value in addresses(host, "lo")
        assert host.ping(value.partition("/")[0], timeout=AT_ONCE).loss == 0


@pytest.mark.parametrize("mtu", [1279, 1280])
def test_ipv6_on_a_link_with_too_small_an_mtu(host: Namespace, mtu: int) -> None:
    """The kernel refuses with EINVAL and no word."""
    run_in(host, *"ip link add v0 type veth peer name v1".split())
    link = host.links["v0"].set(mtu=mtu).up()
    if mtu == 1280:
        assert link.addresses.add("fd00::1/64") in link.addresses
        return
    with pytest.raises(
        KernelError, match=r"EINVAL\). IPv6 needs an MTU of 1280, and it is 1279: set\(mtu=1280\)"
    ):
        link.addresses.add("fd00::1/64")
    assert link.addresses.add("10.0.0.1/24") in link.addresses
