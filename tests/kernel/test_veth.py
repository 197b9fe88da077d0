"""VethPair against `ip -d link` and packets."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netkit import (
    Bridge,
    ExistsError,
    KernelError,
    Link,
    Namespace,
    NatRule,
    NotFoundError,
    RouteTable,
    Scope,
    SpecError,
    StateError,
    UnsupportedError,
    VethPair,
)
from netkit._netlink.socket import NetlinkSocket
from tests.harness import place
from tests.harness.oracle import addresses, ip, link, nft, run_in
from tests.harness.packets import bound, tcp, udp
from tests.harness.patience import AT_ONCE
from tests.harness.tools import needs

BOTH = {
    "address": ["10.0.0.1/24", "fd00::1/64"],
    "peer_address": ["10.0.0.2/24", "fd00::2/64"],
}


@pytest.fixture
def box() -> Iterator[Namespace]:
    with Namespace() as ns:
        yield ns


def names(ns: Namespace) -> list[str]:
    return [item["ifname"] for item in ip(ns, "link", "show")]


def the_pair(host: Namespace, box: Namespace) -> VethPair:
    return VethPair(host, box, name="eth0", peer_name="eth0", **BOTH)  # type: ignore[arg-type]


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


# -- what goes wrong -------------------------------------------------------------------


@pytest.mark.parametrize("where", ["near", "far"])
def test_F40_a_taken_name_says_which_and_where(where: str) -> None:
    with Namespace("host") as host, Namespace("box") as box:
        taken = host if where == "near" else box
        run_in(taken, "ip", "link", "add", "eth0", "type", "bridge")
        before = link(taken, "eth0")
        veth = the_pair(host, box)
        with pytest.raises(ExistsError) as caught:
            veth.create()
        assert "'eth0'" in str(caught.value)
        assert f"namespace '{'host' if where == 'near' else 'box'}'" in str(caught.value)
        assert names(taken) == ["lo", "eth0"]
        assert names(box if where == "near" else host) == ["lo"]
        assert link(taken, "eth0") == before
        run_in(taken, "ip", "link", "del", "eth0")
        with veth:  # again, after a create that failed
            assert host.ping("10.0.0.2", timeout=AT_ONCE).loss == 0


def test_a_master_that_is_no_bridge(host: Namespace, box: Namespace) -> None:
    with VethPair(host, box, name="v0", peer_name="eth0") as (no_bridge, _):
        pair = VethPair(host, box, name="v1", peer_name="eth1", master=no_bridge)
        with pytest.raises(UnsupportedError, match=r"Is link 'v0', which is to be its master, a bridge\?"):
            pair.create()
        assert names(host) == ["lo", "v0"]


@pytest.mark.parametrize("side", ["address", "peer_address"])
def test_an_address_that_the_kernel_refuses_leaves_neither_end(
    host: Namespace, box: Namespace, side: str
) -> None:
    refusing = host if side == "address" else box
    run_in(refusing, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    with pytest.raises(OSError, match="IPv6 is disabled"):
        the_pair(host, box).create()
    assert names(host) == names(box) == ["lo"]


@pytest.mark.parametrize("where", ["near", "far"])
def test_an_index_that_a_stranger_has(where: str) -> None:
    """The kernel goes on after the refusal: the stranger must not end up with our addresses."""
    with Namespace() as host, Namespace() as box:
        taken = host if where == "near" else box
        index = taken._live_runtime().new_index()
        for step, name in ((1, "mine"), (2, "mine2")):  # whichever is meant for this namespace
            run_in(taken, "ip", "link", "add", name, "index", str(index + step), "type", "bridge")
        before = ip(taken, "address", "show")
        with pytest.raises(KernelError):
            the_pair(host, box).create()
        assert ip(taken, "address", "show") == before
        with the_pair(host, box):  # the next indexes are free
            assert host.ping("fd00::2", timeout=AT_ONCE).loss == 0
        assert ip(taken, "address", "show") == before


# -- its end, with others at work (F42, F43) ------------------------------------------------


def test_deleted_by_others_is_no_error(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box) as veth:
        run_in(box, "ip", "link", "del", "eth0")
        assert not veth.exists
        assert names(host) == ["lo"]
    with the_pair(host, box):
        run_in(host, "ip", "link", "del", "eth0")


def test_F43_name_and_index_reused_by_a_stranger_are_left_alone(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box) as veth:
        index, far = veth.link.ifindex, veth.peer.ifindex
        run_in(host, "ip", "link", "del", "eth0")
        run_in(
            host, "ip", "link", "add", "eth0", "index", str(index), "type", "veth",
            "peer", "name", "eth1",
        )  # fmt: skip
        run_in(box, "ip", "link", "add", "eth0", "index", str(far), "type", "bridge")
        before = link(host, "eth0"), link(box, "eth0")
        assert not veth.exists
    assert (link(host, "eth0"), link(box, "eth0")) == before


def test_F42_renamed_by_others_still_goes(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box) as veth:
        run_in(host, "ip", "link", "set", "eth0", "down")  # what is up has no other name before Linux 6.2
        run_in(host, "ip", "link", "set", "eth0", "name", "lan0")
        assert veth.link.name == "lan0"
        assert veth.exists
    assert names(host) == names(box) == ["lo"]


def test_F42_an_end_moved_away_by_others_still_goes(host: Namespace, box: Namespace) -> None:
    with Namespace("third") as third:
        with the_pair(host, box) as veth:
            run_in(host, "ip", "link", "set", "eth0", "netns", "third")
            assert not veth.link.exists
        assert names(third) == names(host) == names(box) == ["lo"]


@pytest.mark.parametrize("ends", [(0,), (1,), (0, 1), (1, 0)])
@pytest.mark.parametrize("owner", ["with", "scope", "delete"])
def test_F44_the_pair_goes_wherever_its_ends_were_moved(
    host: Namespace, box: Namespace, ends: tuple[int, ...], owner: str
) -> None:
    """The third namespace lives on: what was moved there is as much ours as before."""
    with Namespace() as third, Scope() as lab:
        veth = VethPair(host, box, name="near0", peer_name="far0")
        lab.own(veth) if owner == "scope" else veth.create()
        # An index that is taken there: the links get others.
        run_in(third, "ip", "link", "add", "x", "index", str(veth.link.ifindex), "type", "bridge")
        for end in ends:
            (veth.link, veth.peer)[end].move(third)
        places = [third if end in ends else before for end, before in enumerate((host, box))]
        assert [veth.link.netns, veth.peer.netns] == places
        assert [veth.link.name, veth.peer.name, veth.link.peer] == ["near0", "far0", veth.peer]
        assert veth.exists
        if owner == "scope":
            lab.__exit__(None, None, None)
        elif owner == "delete":
            veth.delete()
        else:
            with veth:
                pass
        assert names(third) == ["lo", "x"]
        assert names(host) == names(box) == ["lo"]


def test_F44_in_a_borrowed_namespace_too_whose_handle_is_closed(host: Namespace, box: Namespace) -> None:
    veth = VethPair(host, box, name="near0", peer_name="far0").create()
    with Namespace() as third:
        with Namespace.from_fd(third.fileno()) as handle:
            veth.link.move(handle)
            veth.peer.move(handle)
        assert sorted(names(third)) == ["far0", "lo", "near0"]
        veth.delete()
        assert names(third) == ["lo"]


def test_an_adopted_link_is_undone_where_it_was_moved(host: Namespace, box: Namespace) -> None:
    run_in(host, *"ip link add vx0 type vxlan id 7 dstport 4789".split())
    with host.links["vx0"].adopt() as owned:
        host.links["vx0"].move(box)
        assert owned.link.netns is box
        assert owned.exists
    assert names(host) == names(box) == ["lo"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_group_and_macs_of_the_users_own_do_not_make_it_a_strangers(
    host: Namespace, box: Namespace, at_once: bool
) -> None:
    """Both marks by which it was known are gone then, but netkit has set the new ones itself."""
    run_in(host, *"ip link add vx0 type vxlan id 7 dstport 4789".split())
    with the_pair(host, box) as veth, Bridge(host, "br0") as bridge, host.links["vx0"].adopt() as adopted:
        for n, each in enumerate((veth.link, veth.peer, bridge.link, adopted.link), 1):
            if at_once:
                each.set(group=5, mac=f"02:00:00:00:00:{n:02}")
            else:
                each.set(mac=f"02:00:00:00:00:{n:02}").set(group=5)
        assert (veth.exists, bridge.exists, adopted.exists) == (True, True, True)
    assert names(host) == names(box) == ["lo"]


def test_a_refused_move_leaves_it_where_it_is(host: Namespace, box: Namespace) -> None:
    run_in(box, *"ip link add near0 type bridge".split())
    with VethPair(host, box, name="near0", peer_name="far0") as veth:
        with pytest.raises(ExistsError, match="near0"):
            veth.link.move(box)
        assert veth.link.netns is host
        assert veth.exists
    assert (names(host), names(box)) == (["lo"], ["lo", "near0"])


def test_names_are_free_when_the_block_ends(host: Namespace) -> None:
    for _ in range(5):  # F35: an end whose namespace was dropped lingers for milliseconds
        with Namespace() as box, the_pair(host, box):
            assert "eth0" in host.links
        assert names(host) == ["lo"]


def test_F35_names_are_free_when_only_the_other_namespace_goes(host: Namespace) -> None:
    for _ in range(3):
        with Scope() as lab:
            lab.own(the_pair(host, lab.own(Namespace())))
        assert names(host) == ["lo"]


# -- the verbs --------------------------------------------------------------------------


def test_create_delete_create(host: Namespace, box: Namespace) -> None:
    veth = the_pair(host, box)
    assert not veth.exists
    with pytest.raises(StateError):
        veth.link  # noqa: B018
    assert veth.create() is veth
    assert veth.exists
    with pytest.raises(StateError):
        veth.create()
    veth.delete()
    assert names(host) == ["lo"]
    with pytest.raises(StateError):
        veth.delete()
    with pytest.raises(StateError):
        veth.peer  # noqa: B018
    with veth:
        assert "eth0" in names(host)


def test_detach_outlives_the_block_and_adopt_ends_it(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box) as veth:
        veth.detach()
    assert names(host) == names(box) == ["lo", "eth0"]
    assert link(host, "eth0")["group"] == link(box, "eth0")["group"] == "default"
    assert veth.link.mtu == 1500  # a borrowed handle now
    with pytest.raises(StateError, match="borrowed"):
        veth.delete()
    veth.adopt().delete()
    assert names(host) == names(box) == ["lo"]


def test_a_detached_one_replaced_by_a_stranger_is_not_ours(host: Namespace, box: Namespace) -> None:
    veth = the_pair(host, box).create().detach()
    index = veth.link.ifindex
    run_in(host, "ip", "link", "del", "eth0")
    assert not veth.exists
    run_in(host, "ip", "link", "add", "eth0", "index", str(index), "type", "veth", "peer", "name", "x")
    assert not veth.exists
    before = names(host)
    with pytest.raises(NotFoundError):
        veth.adopt()
    assert names(host) == before
    assert link(host, "eth0")["group"] == "default"


def test_the_bodys_exception_propagates(host: Namespace, box: Namespace) -> None:
    problem = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, the_pair(host, box):
        raise problem
    assert caught.value is problem
    assert not getattr(problem, "__notes__", [])
    assert names(host) == ["lo"]


# -- ns.connect -----------------------------------------------------------------------


def test_connect_is_undone_with_the_namespace(box: Namespace) -> None:
    with Namespace() as red:
        veth = red.connect(box, name="eth0", peer_name="eth0", **BOTH)  # type: ignore[arg-type]
        assert isinstance(veth.link, Link)
        assert red.ping("fd00::2", timeout=AT_ONCE).loss == 0
    assert names(box) == ["lo"]
    assert not veth.exists


def test_connect_moves_to_a_scope(box: Namespace) -> None:
    with Namespace() as red:
        with Scope() as lab:
            lab.own(red.connect(box, name="eth0", peer_name="eth0"))
            assert names(red) == ["lo", "eth0"]
        assert names(red) == names(box) == ["lo"]


def test_connect_from_a_borrowed_namespace_ends_with_the_program(host: Namespace, box: Namespace) -> None:
    """The borrowed namespace is not ours to end, the pair is."""
    from netkit._lifecycle import ROOT

    with Namespace.from_fd(host.fileno()) as borrowed:
        veth = borrowed.connect(box, name="eth0", peer_name="eth0")
        assert veth._holder is ROOT  # what is undone at exit
        assert names(host) == ["lo", "eth0"]
        veth.delete()
    assert names(host) == ["lo"]


def test_an_owned_pair_outlives_the_handles_on_borrowed_namespaces(host: Namespace, box: Namespace) -> None:
    with Namespace.from_fd(host.fileno()) as one, Namespace.from_fd(box.fileno()) as other:
        veth = the_pair(one, other).create()
    veth.delete()
    assert names(host) == names(box) == ["lo"]


def test_connect_undoes_all_when_a_part_fails(host: Namespace, box: Namespace) -> None:
    run_in(box, "ip", "link", "add", "eth0", "type", "bridge")
    with pytest.raises(ExistsError, match="eth0"):
        host.connect(box, name="veth0", peer_name="eth0")
    assert names(host) == ["lo"]
    assert names(box) == ["lo", "eth0"]


@needs("nft")
def test_what_is_owned_in_a_foreign_namespace_outlives_the_handle_on_it(box: Namespace) -> None:
    """Namespaces made by others: nothing but our handle keeps them open for us."""
    with sleeper() as process:
        foreign = Namespace.from_pid(place.main_of(process.pid))
        veth = the_pair(foreign, box).create()
        rule = NatRule.masquerade(foreign, oif="eth0").create()
        routes = RouteTable(foreign, 100).__enter__()
        routes.add("10.9.0.0/16", type="blackhole")
        foreign.close()
        with Namespace.from_pid(place.main_of(process.pid)) as again:
            assert names(again) == ["lo", "eth0"]
            rule.delete()
            routes.close()
            assert ip(again, "route", "show", "table", "100") == []
            assert nft(again) == []
            veth.delete()
            assert names(again) == ["lo"]


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[str]]:
    """A process in a namespace that netkit did not make."""
    command = place.there("unshare", "--net", "sh", "-c", "ip link set lo up; echo ready; exec cat")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate()


def test_what_was_in_a_namespace_that_is_gone_does_not_exist(box: Namespace) -> None:
    with Namespace() as red:
        veth = the_pair(red, box).create()
        bridge = Bridge(red, "br0").create()
        end = veth.link
        assert veth.exists
        assert bridge.exists
    assert not veth.exists
    assert not bridge.exists
    with pytest.raises(StateError, match="deleted"):
        end.up()
    veth.delete()  # gone already is success
    bridge.delete()
    assert names(box) == ["lo"]
