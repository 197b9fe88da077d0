"""Links against `ip -d link`."""

from __future__ import annotations

import socket

import pytest

from netkit import (
    BusyError,
    ExistsError,
    KernelError,
    Link,
    Namespace,
    NotFoundError,
    SpecError,
    StateError,
    VethPair,
)
from tests.harness.oracle import Events, addresses, ip, link, run_in, succeeds


@pytest.fixture
def eth0(host: Namespace) -> Link:
    run_in(host, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    return host.links["eth0"]


# -- reading ---------------------------------------------------------------------


def test_reads_what_ip_reads(host: Namespace, eth0: Link) -> None:
    run_in(
        host, "ip", "link", "set", "eth0", "mtu", "1400", "address", "02:00:00:00:AB:01",
        "alias", "the uplink", "group", "7", "txqueuelen", "77", "up",
    )  # fmt: skip
    said = link(host, "eth0")
    assert (eth0.name, eth0.ifindex, eth0.kind) == ("eth0", said["ifindex"], "veth")
    assert (eth0.mtu, eth0.mac, eth0.alias) == (1400, "02:00:00:00:ab:01", "the uplink")
    assert (eth0.group, eth0.txqlen) == (7, 77)
    assert eth0.netns is host
    assert eth0.is_up
    assert not eth0.carrier  # eth1 is down
    assert eth0.state == said["operstate"].lower() == "lowerlayerdown"


def test_state_in_the_words_of_ip(host: Namespace, eth0: Link) -> None:
    assert eth0.state == link(host, "eth0")["operstate"].lower() == "down"
    run_in(host, "ip", "link", "set", "eth1", "up")
    with Events(host) as events:
        eth0.up()
        events.wait_until(lambda: link(host, "eth0")["operstate"] == "UP")
    assert eth0.state == "up"
    assert eth0.carrier
    assert host.links["lo"].state == link(host, "lo")["operstate"].lower() == "unknown"


def test_loopback_is_up_and_has_no_kind_and_no_mac_but_zeroes(host: Namespace) -> None:
    lo = host.links["lo"]
    assert (lo.kind, lo.ifindex, lo.is_up) == (None, 1, True)
    assert lo.mac == link(host, "lo")["address"]
    assert lo.peer is None
    assert lo.master is None


def test_statistics_are_the_kernels(host: Namespace) -> None:
    before = host.links["lo"].stats
    run_in(host, "ping", "-c", "3", "-i", "0.002", "127.0.0.1")
    after = host.links["lo"].stats
    (said,) = ip(host, "-s", "link", "show", "lo")
    assert after.rx_packets == said["stats64"]["rx"]["packets"] >= before.rx_packets + 6
    assert after.tx_bytes == said["stats64"]["tx"]["bytes"]


def test_master_and_peer(host: Namespace, eth0: Link) -> None:
    run_in(host, "ip", "link", "add", "br0", "type", "bridge")
    assert eth0.master is None
    run_in(host, "ip", "link", "set", "eth0", "master", "br0")
    assert eth0.master == host.links["br0"]
    assert eth0.peer == host.links["eth1"]
    assert eth0.peer is not None
    assert eth0.peer.peer == eth0


def test_peer_in_another_namespace(host: Namespace) -> None:
    with Namespace() as box, VethPair(host, box, name="a", peer_name="b") as veth:
        peer = host.links["a"].peer
        assert peer == veth.peer
        assert peer is not None
        assert peer.netns is box
        assert peer.ifindex == link(box, "b")["ifindex"]


# -- the collection ------------------------------------------------------------------


def test_links_are_a_mapping_that_yields_links(host: Namespace, eth0: Link) -> None:
    names = [item["ifname"] for item in ip(host, "link", "show")]
    assert [each.name for each in host.links] == names == list(host.links.keys())
    assert len(host.links) == len(names)
    assert "eth0" in host.links
    assert "eth9" not in host.links
    assert host.links.get("eth9") is None
    assert host.links["eth0"] == eth0 == host.link("eth0")
    assert all(each in host.links for each in host.links)
    with Namespace() as box, VethPair(host, box, name="a", peer_name="eth0") as veth:
        assert veth.peer not in host.links
        assert veth.link in host.links
        gone = veth.link
    assert gone not in host.links
    assert {each.name: each for each in host.links} == dict(host.links.items())


def test_a_missing_link_is_a_readable_key_error(host: Namespace) -> None:
    with pytest.raises(KeyError) as caught:
        host.links["eth9"]
    assert isinstance(caught.value, NotFoundError)
    assert "'eth9'" in str(caught.value)
    assert "namespace" in str(caught.value)


def test_alternative_names(host: Namespace, eth0: Link) -> None:
    long = "a-name-of-more-than-fifteen-bytes"
    eth0.altnames.add(long)
    assert link(host, "eth0")["altnames"] == [long]
    assert host.links[long] == eth0
    assert long in host.links
    run_in(host, "ip", "link", "property", "add", "dev", "eth0", "altname", "other")
    assert sorted(eth0.altnames) == sorted(link(host, "eth0")["altnames"])
    eth0.altnames.remove(long)
    assert link(host, "eth0")["altnames"] == ["other"]
    with pytest.raises(NotFoundError, match=long):
        eth0.altnames.remove(long)
    with pytest.raises(ExistsError):
        host.links["eth1"].altnames.add("other")


# -- changing ---------------------------------------------------------------------


def test_set_changes_all_that_is_given(host: Namespace, eth0: Link) -> None:
    assert eth0.set(mtu=1300, mac="02-00-00-00-00-0A", alias="weiß", txqlen=5, group=9) is eth0
    said = link(host, "eth0")
    assert (said["mtu"], said["address"], said["ifalias"]) == (1300, "02:00:00:00:00:0a", "weiß")
    assert (said["txqlen"], said["group"]) == (5, "9")
    eth0.set(alias="")
    assert "ifalias" not in link(host, "eth0")
    assert eth0.alias is None


def test_up_and_down(host: Namespace, eth0: Link) -> None:
    assert eth0.up() is eth0
    assert "UP" in link(host, "eth0")["flags"]
    assert eth0.down() is eth0
    assert "UP" not in link(host, "eth0")["flags"]


def test_rename_and_the_handle_follows(host: Namespace, eth0: Link) -> None:
    other = host.links["eth0"]
    assert eth0.rename("lan0") is eth0
    assert link(host, "lan0")["ifindex"] == eth0.ifindex
    assert eth0.name == other.name == "lan0"
    eth0.up()
    if succeeds(host, "ip", "link", "set", "lan0", "name", "lan2"):  # Linux 6.2 and newer
        eth0.rename("lan1")
        assert link(host, "lan1")["ifindex"] == eth0.ifindex
    else:
        with pytest.raises(BusyError, match="only while it is down"):
            eth0.rename("lan1")


def test_F44_move_and_the_handle_follows(host: Namespace, eth0: Link) -> None:
    with Namespace() as box:
        run_in(box, "ip", "link", "add", "x", "index", str(eth0.ifindex), "type", "bridge")
        assert eth0.move(box) is eth0
        assert eth0.netns is box
        assert link(box, "eth0")["ifindex"] == eth0.ifindex  # another one: the old was taken
        assert [item["ifname"] for item in ip(host, "link", "show")] == ["lo", "eth1"]
        eth0.set(mtu=1234)
        assert link(box, "eth0")["mtu"] == 1234


def test_delete_takes_both_ends(host: Namespace, eth0: Link) -> None:
    eth0.delete()
    assert [item["ifname"] for item in ip(host, "link", "show")] == ["lo"]
    assert not eth0.exists
    for use in (lambda: eth0.name, lambda: eth0.up(), lambda: eth0.delete(), lambda: eth0.set(mtu=1400)):
        with pytest.raises(NotFoundError, match="eth0"):
            use()


# -- behind our back (F42, F43) ------------------------------------------------------


def test_F42_a_rename_by_others_is_followed(host: Namespace, eth0: Link) -> None:
    run_in(host, "ip", "link", "set", "eth0", "name", "wan0")
    assert eth0.name == "wan0"
    assert eth0.set(mtu=1290).mtu == link(host, "wan0")["mtu"] == 1290


def test_a_device_moved_away_by_others_is_gone(host: Namespace, eth0: Link) -> None:
    with Namespace("elsewhere"):
        run_in(host, "ip", "link", "set", "eth0", "netns", "elsewhere")
        assert not eth0.exists
        with pytest.raises(NotFoundError):
            eth0.down()


def test_equal_handles(host: Namespace, eth0: Link) -> None:
    same = host.links["eth0"]
    assert eth0 == same
    assert hash(eth0) == hash(same)
    assert eth0 != host.links["eth1"]
    with Namespace() as box:
        assert box.links["lo"] != host.links["lo"]


def test_the_same_namespace_by_two_handles(host: Namespace, eth0: Link) -> None:
    with Namespace.from_fd(host.fileno()) as again:
        assert again.links["eth0"] == eth0


def test_a_borrowed_namespace_that_is_closed(host: Namespace, eth0: Link) -> None:
    again = Namespace.from_fd(host.fileno())
    borrowed = again.links["eth0"]
    again.close()
    with pytest.raises(StateError):
        borrowed.up()
    assert eth0.exists


# -- what the kernel refuses ------------------------------------------------------------


def test_F48_refusals_carry_the_kernels_words(host: Namespace, eth0: Link) -> None:
    with pytest.raises(ExistsError, match="eth1"):
        eth0.rename("eth1")
    run_in(host, "ip", "link", "add", "t0", "type", "vxlan", "id", "9", "dstport", "4789", "dev", "eth0")
    with pytest.raises(KernelError, match="Invalid argument") as caught:
        host.links["t0"].set(mtu=9000)  # valid, but not above the mtu of eth0: only the kernel knows
    assert caught.value.errno == 22
    assert "set link 't0'" in caught.value.operation
    with Namespace() as box:
        run_in(box, "ip", "link", "add", "eth0", "type", "bridge")
        with pytest.raises(ExistsError) as taken:
            eth0.move(box)
        assert "same name exists" in str(taken.value)
    assert eth0.netns is host
    assert link(host, "eth0")["ifindex"] == eth0.ifindex


def test_a_failed_change_changes_nothing(host: Namespace, eth0: Link) -> None:
    before = link(host, "eth0")
    for bad in ({"mtu": 10}, {"mac": "01:00:00:00:00:00"}, {"alias": "x" * 256}, {"mtu": 1400, "mac": "no"}):
        with pytest.raises(SpecError):
            eth0.set(**bad)  # type: ignore[arg-type]
    assert link(host, "eth0") == before


def test_F45_down_keeps_ipv4_addresses_and_up_settles(host: Namespace, eth0: Link) -> None:
    eth0.addresses.add("10.0.0.1/24")
    host.links["eth1"].up()
    eth0.up()
    assert eth0.carrier
    eth0.down()
    assert addresses(host, "eth0") == ["10.0.0.1/24"]
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("10.0.0.1", 0))
