"""VethPair against `ip -d link` and packets: what it makes, and that nothing is moved."""

from __future__ import annotations

import socket

import pytest

from netkit import Namespace, SpecError, VethPair
from netkit._netlink.socket import NetlinkSocket
from tests.harness.oracle import addresses, link, names
from tests.harness.packets import bound, tcp, udp
from tests.harness.pairs import BOTH, the_pair
from tests.harness.patience import AT_ONCE

# -- what it makes -----------------------------------------------------------------


def test_equal_names_in_two_namespaces(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box) as veth:
        for ns, end in ((host, veth.link), (box, veth.peer)):
            said = link(ns, "eth0")
            assert said["linkinfo"]["info_kind"] == "veth"
            assert (end.name, end.ifindex, end.mac) == ("eth0", said["ifindex"], said["address"])
            assert said["operstate"] == "UP"
            assert end.netns is ns
        assert link(host, "eth0")["link_index"] == veth.peer.ifindex
        assert link(box, "eth0")["link_index"] == veth.link.ifindex
        assert addresses(host, "eth0") == BOTH["address"]
        assert addresses(box, "eth0") == BOTH["peer_address"]
    assert names(host) == names(box) == ["lo"]


def test_packets_at_once_both_ways(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box):
        for near, far in (("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")):
            with bound(box, far, 80) as server:
                assert tcp(host, far, 80, server) == near
            with bound(host, near, 53, socket.SOCK_DGRAM) as server:
                assert udp(box, near, 53, server) == far
            assert host.ping(far, timeout=AT_ONCE).loss == 0


def test_both_ends_in_one_namespace(host: Namespace) -> None:
    with VethPair(host, host, name="a", peer_name="b") as (near, far):
        assert names(host) == ["lo", "b", "a"] or names(host) == ["lo", "a", "b"]
        assert link(host, "a")["link"] == "b"
        assert near.peer == far
        assert near.carrier
        assert far.carrier
    assert names(host) == ["lo"]


def test_ends_in_two_namespaces_other_than_the_callers(host: Namespace, box: Namespace) -> None:
    before = Namespace.current()
    with before:
        here = names(before)
        with the_pair(host, box):
            assert names(before) == here


def test_both_ends_by_two_handles_on_one_namespace(host: Namespace) -> None:
    with Namespace.from_fd(host.fileno()) as again:
        with VethPair(host, again, name="a", peer_name="b") as veth:
            assert veth.link.peer == veth.peer
        with pytest.raises(SpecError, match="same namespace"):
            VethPair(host, again, name="a", peer_name="a")


def test_what_is_asked_for_both_ends(host: Namespace, box: Namespace) -> None:
    veth = VethPair(
        host, box, name="a", peer_name="b", mtu=1400, peer_mtu=1300, mac="02:00:00:00:00:01",
        peer_mac="02:00:00:00:00:02", txqlen=11, peer_txqlen=22, queues=3,
    )  # fmt: skip
    with veth:
        near, far = link(host, "a"), link(box, "b")
        assert (near["mtu"], far["mtu"]) == (1400, 1300)
        assert (near["address"], far["address"]) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
        assert (near["txqlen"], far["txqlen"]) == (11, 22)
        for said in (near, far):
            assert said["num_tx_queues"] == said["num_rx_queues"] == 3


def test_the_peer_has_the_same_mtu_when_only_one_is_given(host: Namespace, box: Namespace) -> None:
    with VethPair(host, box, name="a", peer_name="b", mtu=9000):
        assert link(host, "a")["mtu"] == link(box, "b")["mtu"] == 9000


def test_F71_random_macs_are_local_unicast_and_differ(host: Namespace, box: Namespace) -> None:
    with VethPair(host, box, name="a", peer_name="b") as veth:
        assert veth.link.mac != veth.peer.mac
        for end in veth:
            assert end.mac is not None
            assert int(end.mac[:2], 16) & 3 == 2


def test_not_up(host: Namespace, box: Namespace) -> None:
    with VethPair(host, box, name="a", peer_name="b", up=False, address="10.0.0.1/24"):
        for ns, name in ((host, "a"), (box, "b")):
            assert "UP" not in link(ns, name)["flags"]
        assert addresses(host, "a") == ["10.0.0.1/24"]


# -- one message, nothing moved ----------------------------------------------------------


class Watch:
    """The rtnetlink events of a namespace, as `ip monitor` would see them."""

    def __init__(self, ns: Namespace) -> None:
        self.socket = ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.socket.bind((0, 1))  # RTMGRP_LINK
        self.socket.setblocking(False)

    def messages(self) -> list[tuple[int, int]]:
        """(type, index of the link) of each event so far."""
        found: list[tuple[int, int]] = []
        while True:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return found
            while data:
                length = int.from_bytes(data[:4], "little")
                kind = int.from_bytes(data[4:6], "little")
                found.append((kind, int.from_bytes(data[20:24], "little")))
                data = data[(length + 3) & ~3 :]


def test_nothing_is_made_elsewhere_and_moved(
    host: Namespace, box: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Namespace.current() as here:
        watches = [Watch(ns) for ns in (here, host, box)]
        kinds: list[int] = []
        real = NetlinkSocket._exchange

        def spy(self, requests, *rest, **how):  # type: ignore[no-untyped-def]
            kinds.extend(request.kind for request in requests)
            return real(self, requests, *rest, **how)

        monkeypatch.setattr(NetlinkSocket, "_exchange", spy)
        with the_pair(host, box) as veth:
            made = kinds[:]
            seen = [watch.messages() for watch in watches]
            own = {index for _, index in seen[0]}  # of the caller's namespace, which never saw either end
            assert not own & {end.ifindex for end in veth}
            for events, end in zip(seen[1:], veth, strict=True):
                assert {index for kind, index in events if kind == 16} == {end.ifindex}
                assert 17 not in [kind for kind, _ in events]  # RTM_DELLINK: what a move sends
        assert made.count(16) <= 2  # one that makes both ends, one that sets the far end up
        for watch in watches:
            watch.socket.close()
