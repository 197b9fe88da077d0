"""`ns.nat`: every NAT rule of a namespace with whose it is, and what of ours somebody has removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from netkit import (
    Bridge,
    Namespace,
    NatRule,
    PortMapping,
    Scope,
    SpecError,
    StateError,
    WaitTimeout,
    wait_for,
)
from netkit._spec.nat_entry import NatEntry
from tests.harness.calls import at_once
from tests.harness.oracle import iptables_legacy, nft_text, run_in
from tests.harness.patience import LONG
from tests.harness.tools import BACKENDS, IPTABLES, MISSING, needs, needs_iptables

pytestmark = needs("nft")
backends = pytest.mark.parametrize("backend", BACKENDS)
OTHERS = """
table ip other {
  chain post { type nat hook postrouting priority 100;
    oifname "eth1" ip saddr 10.0.0.0/8 masquerade random
    tcp dport 22 accept
  }
}
table inet firewalld {
  chain nat_POST { type nat hook postrouting priority 110; ip6 daddr fd00::/64 snat ip6 to fd01::1; }
}
table ip6 netavark { chain d { tcp dport { 80, 81 } dnat to [fd00::2]:80; }; }
"""


def said(ns: Namespace, commands: str) -> str:
    return run_in(ns, "sh", "-ec", commands)


def flush(ns: Namespace) -> None:
    said(ns, "nft flush ruleset")
    if "iptables-legacy" not in MISSING:
        said(ns, "for i in iptables ip6tables; do $i-legacy -t nat -F; $i-legacy -t nat -X; done")


def test_an_empty_namespace(host: Namespace) -> None:
    assert [*host.nat] == []
    assert len(host.nat) == 0
    assert (host.nat.verify(), host.nat.ensure()) == ((), ())
    assert "anonymous namespace" in repr(host.nat)


def test_rules_of_nftables_and_whose_they_are(host: Namespace) -> None:
    host.run(["nft", "-f", "-"], input=OTHERS.encode(), check=True)
    with NatRule.masquerade(host, saddr="172.18.0.0/24", oif="eth0"):
        left = NatRule.snat(host, saddr="fd00::/64", to="fd01::1").create().detach()
        found = {entry.rule: entry for entry in host.nat}
        assert {rule: (entry.ours, entry.by) for rule, entry in found.items()} == {
            'oifname "eth1" ip saddr 10.0.0.0/8 masquerade random': (False, None),
            "ip6 daddr fd00::/64 snat to fd01::1": (False, "firewalld"),
            "tcp dport @__set0 dnat to [fd00::2]:80": (False, "podman"),
            'ip saddr 172.18.0.0/24 oifname "eth0" masquerade': (True, "netkit"),
            "ip6 saddr fd00::/64 snat to fd01::1": (False, "netkit"),
        }
        ours = found['ip saddr 172.18.0.0/24 oifname "eth0" masquerade']
        assert (ours.backend, ours.chain) == ("nftables", "postrouting")
        assert ours.table.startswith("ip netkit-")
        assert found["ip6 daddr fd00::/64 snat to fd01::1"].table == "inet firewalld"
        left.adopt().delete()
    assert all(not entry.ours for entry in host.nat)
    assert len(host.nat) == 3


@needs("iptables-nft")
def test_rules_of_iptables_nft(host: Namespace) -> None:
    said(
        host,
        """
        iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
        iptables-nft -t nat -N DOCKER
        iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
        iptables-nft -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
        iptables-nft -t nat -A PREROUTING -p udp --dport 53 -m conntrack --ctstate NEW \\
            -j REDIRECT --to-ports 5353
        ip6tables-nft -t nat -A POSTROUTING -s fd00::/64 -p tcp -j SNAT --to-source [fd01::1]:5-9 --random
        """,
    )
    assert {(entry.rule, entry.by, entry.table, entry.chain) for entry in host.nat} == {
        (
            'oifname != "docker0" ip saddr 172.17.0.0/16 xt target MASQUERADE',
            "docker", "ip nat", "POSTROUTING",
        ),
        (
            'iifname != "docker0" tcp dport 8080 xt target DNAT --to-destination 172.17.0.2:80',
            "docker", "ip nat", "DOCKER",
        ),
        (
            "udp dport 53 xt match conntrack --ctstate NEW xt target REDIRECT --to-ports 5353",
            "iptables-nft", "ip nat", "PREROUTING",
        ),
        (
            "meta l4proto tcp ip6 saddr fd00::/64 xt target SNAT --to-source [fd01::1]:5-9 --random",
            "iptables-nft", "ip6 nat", "POSTROUTING",
        ),
    }  # fmt: skip


@needs_iptables
def test_rules_of_the_legacy_tables(host: Namespace) -> None:
    same = "-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE"
    said(host, f"iptables-legacy -t nat {same}; ip6tables-legacy -t nat -N CNI-abc")
    said(host, "ip6tables-legacy -t nat -A CNI-abc -d fd00::1 -j DNAT --to-destination fd00::2")
    said(host, "ip6tables-legacy -t nat -A PREROUTING -m conntrack --ctstate DNAT -j CNI-abc")
    with NatRule.masquerade(host, saddr="10.0.0.0/8", backend="iptables"):
        assert [*host.nat] == [
            NatEntry(same, "iptables", "ip nat", "POSTROUTING", False, None),
            NatEntry(same, "iptables", "ip nat", "POSTROUTING", True, "netkit"),
            NatEntry(
                "-A CNI-abc -d fd00::1/128 -j DNAT --to-destination fd00::2",
                "iptables", "ip6 nat", "CNI-abc", False, "cni",
            ),
        ]  # fmt: skip
    assert [entry.ours for entry in host.nat] == [False, False]


def tables_used(ns: Namespace) -> str:
    return said(ns, "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null || true")


def test_to_look_makes_no_legacy_tables(host: Namespace) -> None:
    before = tables_used(host)
    assert [*host.nat] == []
    assert tables_used(host) == before


@backends
def test_published_ports(host: Namespace, backend: Any) -> None:
    with (
        Bridge(host, "br0", address=["172.18.0.1/24", "fd18::1/64"]),
        host.publish(8080, to="172.18.0.2:80", backend=backend),
        host.publish(8081, to="[fd18::2]:80", backend=backend),
    ):
        found = [entry for entry in host.nat if "80" in entry.rule]
        assert all(entry.ours and entry.backend == backend for entry in found)
        if backend == "nftables":
            assert [entry.rule for entry in found] == [
                "publish tcp 8080 -> 172.18.0.2:80", "publish tcp 8081 -> [fd18::2]:80",
            ]  # fmt: skip
        else:
            assert any("--dport 8080 -j DNAT --to-destination 172.18.0.2:80" in e.rule for e in found)
    assert [*host.nat] == []


def test_odd_rules_are_told_as_far_as_they_are_known(host: Namespace) -> None:
    rules = """table ip odd { map m { type inet_service : ipv4_addr; }
        chain post { type nat hook postrouting priority 100;
        ip ttl 5 meta skuid 0 ct mark 7 limit rate 5/second masquerade
        ip protocol tcp ip length 20-30 tcp flags syn snat to tcp dport map @m
        }; }"""
    host.run(["nft", "-f", "-"], input=rules.encode(), check=True)
    first, second = host.nat
    assert first.rule.endswith("ct mark 7 [limit] masquerade")
    assert second.rule == "@1,9,1 6 @1,2,2 20-30 @2,13,1 != 0 snat to th dport map @m"


# -- verify and ensure ---------------------------------------------------------------------------


def adopt_and_delete(each: NatRule | PortMapping) -> None:
    each.adopt().delete()


@pytest.fixture
def all_kinds(host: Namespace) -> Iterator[dict[str, Any]]:
    """What can be lost, and what cannot."""
    said(host, "nft add table inet fw")
    close = "nft add chain inet fw f '{ type filter hook forward priority 0; policy drop; }'"
    said(host, close)
    with Scope() as lab, ExitStack() as stack:
        lab.own(Bridge(host, "br0", address="172.18.0.1/24"))
        made: dict[str, Any] = {
            "owned": lab.own(NatRule.masquerade(host, oif="eth0")),
            "published": lab.own(host.publish(8080, to="172.18.0.2:80", open_forward=True)),
        }
        left: dict[str, NatRule | PortMapping] = {
            "detached": NatRule.dnat(host, to=["10.0.0.2", "10.0.0.3"], spread="inc").create().detach(),
            "left": host.publish(8082, to="172.18.0.2:80", open_forward=False).create().detach(),
        }
        for each in left.values():
            stack.callback(adopt_and_delete, each)
        made |= left
        if IPTABLES:
            made["legacy"] = lab.own(NatRule.snat(host, saddr="fd00::/64", to="fd00::9", backend="iptables"))
            made["ports"] = lab.own(
                host.publish(8081, to="172.18.0.2:80", backend="iptables", open_forward=False)
            )
        made["reopen"] = f"nft add table inet fw; {close}"
        yield made


def test_F61_what_was_flushed_is_found_missing_and_put_back(
    host: Namespace, all_kinds: dict[str, Any]
) -> None:
    before, reopen = both(host), all_kinds.pop("reopen")
    assert host.nat.verify() == ()
    assert host.nat.ensure() == ()
    assert both(host) == before
    flush(host)
    said(host, reopen)
    opened = next(each for each in all_kinds["published"]._held if "OpenedForward" in repr(each))
    lost = {
        opened,
        *[all_kinds[name] for name in ("detached", "left", "legacy", "ports") if name in all_kinds],
    }
    assert set(host.nat.verify()) == lost
    assert set(host.nat.ensure()) == lost
    assert host.nat.verify() == ()
    assert both(host) == before
    assert all(each.exists for each in all_kinds.values())


def both(ns: Namespace) -> list[str]:
    """The rule sets, without handles and marks of a second making."""
    nft = [line.partition(" comment ")[0] for line in nft_text(ns).splitlines()]
    legacy: list[str] = []
    for family in (4, 6) if "iptables-legacy" not in MISSING else ():
        legacy += iptables_legacy(ns, family=family)
    return sorted(nft) + sorted(legacy)


def test_what_was_deleted_is_not_put_back(host: Namespace) -> None:
    rule = NatRule.masquerade(host, oif="eth0").create().detach()
    gone = NatRule.masquerade(host, oif="eth1").create()
    gone.delete()
    del gone
    said(host, "nft delete table ip netkit 2>/dev/null || nft delete table inet netkit")
    assert host.nat.ensure() == (rule,)
    assert [entry.rule for entry in host.nat] == ['oifname "eth0" masquerade']
    rule.adopt().delete()
    assert host.nat.ensure() == ()


def test_a_part_that_is_missing_is_put_back_once(host: Namespace) -> None:
    rule = NatRule.dnat(host, proto="tcp", dport=80, to=["10.0.0.2", "10.0.0.3"], spread="inc").create()
    rule.detach()
    before = both(host)
    handle = nft_handles(host)[0]
    said(host, f"nft delete rule ip netkit prerouting handle {handle}")
    assert not rule.exists
    assert host.nat.ensure() == (rule,)
    assert both(host) == before
    rule.adopt().delete()


# What takes a part of detached ports away: one family, one port, what leads to them, what they need besides.
PARTS = {
    "nftables": [
        "nft delete table ip6 netkit",
        "nft delete element ip netkit ports '{ tcp . 8080 }'",
        "nft flush table ip netkit",
        "nft delete chain ip netkit publish_output",
        "nft flush set ip netkit localnet",
        "nft flush set ip6 netkit subnets_64",
    ],
    "iptables": [
        "ip6tables-legacy -t nat -F; ip6tables-legacy -t nat -X",
        "iptables-legacy -t nat -F",
        "iptables-legacy -t nat -D NETKIT-PORTS 1",
        "ip6tables-legacy -t nat -F PREROUTING",
        "iptables-legacy -t nat -F NETKIT-MASQ",
        "iptables-legacy -t raw -F; iptables-legacy -t raw -X",
    ],
}


@backends
def test_F61_of_detached_ports_what_is_missing_is_put_back(host: Namespace, backend: Any) -> None:
    with Scope() as lab:
        box = lab.own(Namespace())
        bridge = lab.own(Bridge(host, "br0", address=["172.18.0.1/24", "fd18::1/64"]))
        bridge.connect(box, name="port2", peer_address=["172.18.0.2/24", "fd18::2/64"])
        mapping = host.publish(8080, to=(box, 80), proto=["tcp", "udp"], backend=backend).create().detach()
        before = both(host)
        for command in PARTS[backend]:
            said(host, command)
            assert host.nat.verify() == (mapping,), command
            assert host.nat.ensure() == (mapping,), command
            assert sorted(set(both(host))) == sorted(set(before)), command
            assert host.nat.verify() == (), command
        mapping.adopt().delete()
    assert list(host.nat) == []


def nft_handles(ns: Namespace) -> list[str]:
    listed = said(ns, "nft -a list table ip netkit").splitlines()
    return [line.rsplit(" ", 1)[1] for line in listed if "dnat to" in line]


# -- watch ---------------------------------------------------------------------------------------


@backends
def test_F61_watched_for(host: Namespace, backend: Any) -> None:
    """nf_tables tells of the flush; of that of the legacy tables nobody does.

    The rule is of one family: two are flushed one after the other, and may be put back in between.
    """
    with ExitStack() as stack:
        rule = NatRule.masquerade(host, saddr="10.0.0.0/8", oif="eth0", backend=backend).create()
        stack.callback(lambda: rule.adopt().delete() if backend == "nftables" else rule.delete())
        if backend == "nftables":
            rule.detach()
        with host.nat.watch(interval=0.05) as watch:
            for count in (1, 2, 3):
                flush(host)
                watch.wait(count, timeout=LONG)
            assert wait_for(lambda: rule.exists, timeout=LONG)
    assert watch.restored == 3
    assert [*host.nat] == []


def test_what_was_lost_before_is_put_back_at_once(host: Namespace) -> None:
    rule = NatRule.masquerade(host, oif="eth0").create().detach()
    flush(host)
    with host.nat.watch() as watch:
        watch.wait(timeout=LONG)
    rule.adopt().delete()


@pytest.mark.parametrize("interval", [0, -1, 1e9, float("nan"), "1", True])
def test_an_interval_that_is_none(host: Namespace, interval: Any) -> None:
    with pytest.raises(SpecError, match="interval"):
        host.nat.watch(interval)


def test_nobody_watches_before_the_block(host: Namespace) -> None:
    with pytest.raises(StateError, match="does not watch: it begins with `with`"):
        host.nat.watch().wait()


def test_nothing_to_wait_for(host: Namespace) -> None:
    with host.nat.watch() as watch, pytest.raises(WaitTimeout, match=r"0 were put back within 0.01 seconds"):
        watch.wait(timeout=0.01)
    assert "0 put back" in repr(watch)


@needs_iptables
def test_a_watch_brings_nothing_back_that_is_being_deleted(host: Namespace) -> None:
    """Rules come and go in one thread, and are looked after in another."""

    def come_and_go(number: int) -> None:
        for step in range(6):
            backend: Any = "iptables" if step % 2 else "nftables"
            with Scope() as lab:
                saddr = f"10.{number}.{step}.0/24"
                lab.own(NatRule.masquerade(host, saddr=saddr, backend=backend))

    with host.nat.watch(interval=0.001):
        assert at_once(3, come_and_go) == []
    assert [*host.nat] == []


@pytest.mark.parametrize(("count", "lines"), [(3, 3), (500, 1)])
def test_ports_that_another_process_has_published(host: Namespace, count: int, lines: int) -> None:
    """Each of a few, of many how many; what this process has detached stands among them."""
    with (
        Bridge(host, "br0", address=["172.18.0.1/16", "fd18::1/64"]),
        host.publish(53, to="[fd18::2]:5353", proto="udp", host_ip="fd18::1", reserve=False) as mapping,
    ):
        ports = {8000 + n: f"172.18.1.2:{n + 1}" for n in range(count)}
        many = host.publish_many(ports, reserve=False).create().detach()
        mapping.detach()
        found = [entry for entry in host.nat if entry.rule.startswith("publish ")]
        assert [(entry.ours, entry.by, entry.chain) for entry in found] == [
            (False, "netkit", "publish_prerouting")
        ] * (lines + 1)
        words = [entry.rule for entry in found]
        assert "publish udp [fd18::1]:53 -> [fd18::2]:5353" in words
        if count == 3:
            assert "publish tcp 8002 -> 172.18.1.2:3" in words
        else:
            first = "tcp 8000 -> 172.18.1.2:1, tcp 8001 -> 172.18.1.2:2, tcp 8002 -> 172.18.1.2:3"
            assert f"publish {first} and {count - 3} more" in words
        many.adopt().delete()
        mapping.adopt()
