"""Snapshots of real namespaces: what they hold, when two are equal, and what comes in between."""

from __future__ import annotations

import copy
import dataclasses
import errno
import itertools
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from netkit import Bridge, Namespace, NatRule, RouteTable, Snapshot, VethPair
from netkit._netlink.link import get_link, set_link
from netkit._netlink.socket import NetlinkSocket, Reply
from netkit._netlink.transport import NETLINK_ROUTE
from netkit._netlink.wire import Request
from netkit.testing import FakeKernel
from tests.harness.oracle import Events, run_in


def test_it_holds_all_that_is_configured(host: Namespace) -> None:
    with (
        Bridge(host, "br0", address=["10.0.0.1/24", "fd00::1/64"], mac="02:00:00:00:00:01") as bridge,
        VethPair(host, host, name="a", peer_name="b", mtu=1400) as veth,
        RouteTable(host, 100) as table,
    ):
        bridge.add_port(veth.link, cost=7)
        veth.link.set(alias="uplink").altnames.add("another-name-of-a")
        table.add("10.9.0.0/16", via="10.0.0.2")
        host.rules.add(src="10.0.0.0/8", table=100, priority=50)
        host.neighbours.add("10.0.0.2", mac="02:00:00:00:00:02", dev="br0")
        snapshot = host.snapshot()
    link = snapshot.link("a")
    assert link is not None
    assert (link.kind, link.mtu, link.master, link.peer, link.alias) == ("veth", 1400, "br0", "b", "uplink")
    assert link.altnames == ("another-name-of-a",)
    assert link.port is not None
    assert (link.port.cost, link.bridge) == (7, None)
    assert snapshot.link("br0").mac == "02:00:00:00:00:01"  # type: ignore[union-attr]
    assert snapshot.link("nobody") is None
    held = [(each.link, str(each.address), each.scope) for each in snapshot.addresses]
    assert ("br0", "10.0.0.1/24", "global") in held
    assert ("br0", "fd00::1/64", "global") in held
    routes = [str(route) for route in snapshot.routes]
    assert "10.9.0.0/16 via 10.0.0.2 dev br0 table 100 proto netkit" in routes
    assert "50: from 10.0.0.0/8 lookup 100" in [str(rule) for rule in snapshot.rules]
    assert [str(each.address) for each in snapshot.neighbours if each.state == "permanent"] == ["10.0.0.2"]
    assert snapshot.consistent


def test_it_is_frozen_and_can_be_kept(host: Namespace) -> None:
    snapshot = host.snapshot()
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.links = ()  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(snapshot))
    assert again == snapshot
    assert len({again, snapshot}) == 1
    assert snapshot != "something else"
    assert isinstance(snapshot, Snapshot)


def test_a_change_that_is_undone_leaves_it_equal(host: Namespace) -> None:
    before = host.snapshot()
    with Bridge(host, "br0", address="10.0.0.1/24") as bridge, Namespace() as box:
        bridge.connect(box, name="p0", peer_address="10.0.0.2/24", default_route=True)
        assert host.snapshot() != before
    assert host.snapshot() == before
    assert before.diff(host.snapshot()) == []


def test_each_part_is_decoded_when_asked_for(host: Namespace) -> None:
    """And is what a snapshot has of which another part was asked for first."""
    run_in(host, "ip", "route", "add", "blackhole", "10.9.0.0/16")
    parts = ("links", "addresses", "routes", "rules", "neighbours")
    taken = [host.snapshot() for _ in range(2)]
    assert not set(parts) & set(vars(taken[0]))
    for part in parts:
        getattr(taken[0], part)
    for part in reversed(parts):
        assert getattr(taken[1], part) == getattr(taken[0], part)
    assert taken[0] == taken[1] == copy.deepcopy(taken[0]) == dataclasses.replace(taken[1])
    assert dataclasses.asdict(taken[1])["links"][0]["name"] == "lo"
    with pytest.raises(AttributeError, match="nothing"):
        taken[0].nothing  # type: ignore[attr-defined] # noqa: B018


def test_several_threads_may_ask_one_snapshot(host: Namespace) -> None:
    for _ in range(20):
        snapshot = host.snapshot()
        start = threading.Barrier(4)

        def ask(snapshot: Snapshot = snapshot, start: threading.Barrier = start) -> str:
            start.wait()
            return str(snapshot)

        with ThreadPoolExecutor(4) as pool:
            assert len({each.result() for each in [pool.submit(ask) for _ in range(4)]}) == 1


def test_counters_and_indexes_do_not_count(host: Namespace) -> None:
    with Namespace() as box, Events(host) as events:
        options = {"mac": "02:00:00:00:00:01", "peer_mac": "02:00:00:00:00:02", "address": "10.0.0.1/24"}
        taken = []
        for _ in range(2):
            veth = VethPair(host, box, name="a", peer_name="b", **options).create()  # type: ignore[arg-type]
            veth.link.set(group=5)
            veth.peer.addresses.add("10.0.0.2/24")
            assert host.ping("10.0.0.2").loss == 0
            # The route comes after the address, on a work queue.
            events.wait_until(lambda: any("fe80::ff:" in str(route.dst) for route in host.snapshot().routes))
            taken.append(host.snapshot())
            veth.delete()
    first, second = taken
    assert [link.index for link in first.links] != [link.index for link in second.links]
    assert first.diff(second) == []
    assert first == second
    assert hash(first) == hash(second)


def test_learnt_neighbours_do_not_count_but_are_there(host: Namespace) -> None:
    with (
        Namespace() as box,
        Events(host) as events,
        VethPair(host, box, name="a", peer_name="b", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
    ):
        # The local route of the link-local address comes after it, on a work queue.
        events.wait_until(lambda: any("local fe80::" in str(route) for route in host.snapshot().routes))
        before = host.snapshot()
        assert host.ping("10.0.0.2").loss == 0
        after = host.snapshot()
        assert "10.0.0.2" in [str(each.address) for each in after.neighbours]
        assert before.diff(after) == []
        assert after == before


def test_the_difference_in_words(host: Namespace) -> None:
    before = host.snapshot()
    run_in(host, "ip", "link", "set", "lo", "mtu", "9000")
    run_in(host, "ip", "address", "add", "10.0.0.1/32", "dev", "lo")
    run_in(host, "ip", "-6", "rule", "add", "priority", "7", "lookup", "100")
    lines = before.diff(host.snapshot())
    assert any(line.startswith("- link") and "mtu 65536" in line for line in lines)
    assert any(line.startswith("+ link") and "mtu 9000" in line for line in lines)
    assert "+ address   lo               10.0.0.1/32 scope global" in lines
    assert "+ rule      -6 7: from all lookup 100" in lines
    assert len([line for line in lines if line.startswith("-")]) == 1


def test_its_text_reads_like_ip(host: Namespace) -> None:
    text = str(host.snapshot())
    assert "links:\n  lo " in text
    assert "  lo               127.0.0.1/8 scope host" in text
    assert "  32766: from all lookup main" in text
    assert "nat:" not in text


# -- NAT --------------------------------------------------------------------------------


def test_nat_rules_of_ours_and_of_others(host: Namespace) -> None:
    before = host.snapshot()
    assert before.nat == ()
    with NatRule.masquerade(host, saddr="10.0.0.0/24", oif="lo") as rule:
        (own,) = host.snapshot().nat
        assert (own.rule, own.backend) == (str(rule.spec), "nftables")
        assert host.snapshot() == host.snapshot()
        run_in(
            host,
            "nft",
            "add table ip theirs;"
            "add chain ip theirs post { type nat hook postrouting priority 100 ; };"
            "add rule ip theirs post oifname lo counter masquerade;"
            "add rule ip theirs post counter accept",
        )
        nat = host.snapshot().nat
        assert len(nat) == 2
        assert [each.chain for each in nat if each != own] == ["ip theirs post"]
    run_in(host, "nft", "delete table ip theirs")
    assert host.snapshot() == before


# -- consistency ----------------------------------------------------------------------------


def test_a_change_meanwhile_is_read_again(host: Namespace) -> None:
    """Before the first dump is done, another change comes: the snapshot has it."""
    dump = NetlinkSocket.dump
    dumps: list[int] = []

    def disturbed(self: NetlinkSocket, request: Request) -> list[Reply]:
        found = dump(self, request)
        dumps.append(1)
        if len(dumps) == 3:  # links and addresses are read already
            run_in(host, "ip", "link", "set", "lo", "mtu", "9000")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetlinkSocket, "dump", disturbed)
        snapshot = host.snapshot()
    assert snapshot.consistent
    assert snapshot.link("lo").mtu == 9000  # type: ignore[union-attr]
    assert len(dumps) > 7


def test_endless_changes_are_said(host: Namespace) -> None:
    runtime = host._live_runtime()
    other = NetlinkSocket(runtime.opener.open_netlink(runtime.check(), NETLINK_ROUTE))
    dump = NetlinkSocket.dump
    mtus = itertools.count(9000)

    def disturbed(self: NetlinkSocket, request: Request) -> list[Reply]:
        other.request(set_link(1, mtu=next(mtus)))
        return dump(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetlinkSocket, "dump", disturbed)
        snapshot = host.snapshot()
    other.close()
    assert not snapshot.consistent
    assert "read while it changed" in str(snapshot)
    assert next(mtus) < 9100
    assert host.snapshot().consistent


def test_noise_of_learnt_neighbours_does_not_make_it_read_again(host: Namespace) -> None:
    with (
        Namespace() as box,
        VethPair(host, box, name="a", peer_name="b", address="10.0.0.1/24", peer_address="10.0.0.2/24"),
    ):
        stop = threading.Event()

        def churn() -> None:
            while not stop.is_set():
                run_in(
                    host, "ip", *"neighbour replace 10.0.0.7 lladdr 02:00:00:00:00:07 dev a nud stale".split()
                )

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            assert all(host.snapshot().consistent for _ in range(30))
        finally:
            stop.set()
            thread.join()


def test_a_snapshot_leaves_no_socket_open(host: Namespace) -> None:
    from tests.harness.leaks import Held, leaks

    host.snapshot()
    before = Held.now()
    for _ in range(5):
        host.snapshot()
    assert leaks(before) == []


# -- on the simulated kernel: what is hard to bring about ----------------------------------------


def test_F09_lost_events_count_as_a_change() -> None:
    with FakeKernel() as kernel:
        host = kernel.namespace()
        kernel.before(4, lambda: kernel.overrun(host))
        assert host.snapshot().consistent
        assert len(kernel.sent("RTM_GETLINK")) == 2
        for n in range(1, 200, 6):
            kernel.before(n, lambda: kernel.overrun(host))
        assert not host.snapshot().consistent


def test_a_refused_dump_closes_the_listener() -> None:
    from netkit import KernelError

    with FakeKernel() as kernel:
        host = kernel.namespace()
        host._live_runtime().route.get(get_link(index=1))
        transports = len(kernel._fake(host).transports)
        for n in range(1, 7):
            kernel.refuse(n, errno.EPERM)
            with pytest.raises(KernelError):
                host.snapshot()
            kernel.heal()
            assert len(kernel._fake(host).transports) == transports
