"""Routes, addresses and the like detached and adopted one by one or whole; what never is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netkit import Bridge, Link, Namespace, NotFoundError, RouteTable, Scope, StateError, Topology, VethPair
from tests.harness.oracle import ip, link, run_in, sorted_names
from tests.harness.ownership import elsewhere


def routes(ns: Namespace) -> list[str]:
    return sorted(item["dst"] for item in ip(ns, "route", "show", "table", "100"))


def test_routes_are_detached_and_adopted_one_by_one(host: Namespace) -> None:
    with RouteTable(host, 100) as table:
        for number in range(4):
            table.add(f"10.{number}.0.0/16", type="blackhole")
        kept = table.add("10.9.0.0/16", type="blackhole", metric=5)
        assert table.detach("10.0.0.0/16").detach(kept) is table
    assert routes(host) == ["10.0.0.0/16", "10.9.0.0/16"]
    elsewhere("with RouteTable(host, 100) as t: t.add('10.8.0.0/16', type='blackhole'); t.detach()", host)
    assert routes(host) == ["10.0.0.0/16", "10.8.0.0/16", "10.9.0.0/16"]
    run_in(host, "ip", "route", "add", "blackhole", "10.7.0.0/16", "table", "100", "metric", "7")
    with RouteTable(host, 100) as table:
        for each in table.filter(proto="netkit"):
            table.adopt(each)
        assert table.adopt("10.7.0.0/16", metric=7).metric == 7
        for missing in ("10.77.0.0/16", "default"):
            with pytest.raises(NotFoundError):
                table.adopt(missing)
        with pytest.raises(NotFoundError):
            table.adopt("10.7.0.0/16", metric=8)
    assert routes(host) == []


def test_a_whole_table_is_detached(host: Namespace) -> None:
    with Scope() as lab:
        lab.own(RouteTable(host, 100)).add("10.1.0.0/16", type="blackhole")
        lab.own(Bridge(host, "br0"))
        assert lab.detach() is lab
        lab.own(Bridge(host, "br1"))
    assert routes(host) == ["10.1.0.0/16"]
    assert sorted_names(host) == ["br0", "lo"]


ADDITIONS: dict[str, Callable[[Any, Link, int], Any]] = {
    "rules": lambda scope, port, n: scope.add(src=f"10.{n}.0.0/16", table=100, priority=700 + n),
    "neighbours": lambda scope, port, n: scope.add(f"10.0.0.{n + 9}", mac=f"02:00:00:00:00:0{n}", dev=port),
    "addresses": lambda scope, port, n: scope.add(f"10.0.0.{n + 9}/24"),
}


def ours(scope: Any) -> list[str]:
    """Without what the kernel adds by itself: neighbours."""
    return [text for text in map(str, scope) if re.search(r"\b10\.(0\.0\.1[01]|[12]\.0\.0)\b", text)]


@pytest.mark.parametrize("what", ADDITIONS)
def test_what_was_added_is_detached(what: str, host: Namespace) -> None:
    add = ADDITIONS[what]
    with Bridge(host, "br0", address="10.0.0.1/24") as bridge:
        scopes: dict[str, Any] = {
            "rules": host.rules, "neighbours": host.neighbours, "addresses": bridge.link.addresses,
        }  # fmt: skip
        scope = scopes[what]
        with pytest.raises(StateError, match="owns nothing"):
            scope.detach()
        with scope:
            add(scope, bridge.link, 1)
            assert scope.detach() is scope
            add(scope, bridge.link, 2)
            assert len(ours(scope)) == 2
        assert len(ours(scope)) == 1


def test_the_main_table_owns_nothing(host: Namespace) -> None:
    route = host.routes.add("10.1.0.0/16", type="blackhole")
    for refused in (host.routes.adopt, host.routes.detach):
        with pytest.raises(StateError, match="with RouteTable"):
            refused(route)
    with RouteTable(host) as table:
        table.adopt(route)
    assert len(host.routes) == 0


def test_a_scope_with_an_anonymous_namespace_detaches_nothing() -> None:
    with Scope() as lab:
        _, bridge = lab.own(host := Namespace(), Bridge(host, "br0"))
        with pytest.raises(StateError, match="anonymous"):
            lab.detach()
        assert link(host, "br0")["group"] != "default"
        bridge.delete()  # owned as before


@pytest.mark.capable
def test_what_cannot_be_detached_whole_is_not_detached_at_all() -> None:
    plan = Topology.line(2)
    with Scope() as lab, Namespace("red") as red:
        lab.own(red)
        bridge, network = lab.own(Bridge(red, "br0"), plan.create())
        pair = lab.own(VethPair(red, red, name="v0", peer_name="v1"))
        with pytest.raises(StateError, match="named=True"):
            lab.detach()
        with pytest.raises(StateError, match="named=True"):
            network.detach()
        for each in (red, bridge, pair, network):
            with pytest.raises(StateError, match="created"):
                each.adopt()  # owned as before
        assert Path("/run/netns/red").is_symlink()
    assert not Path("/run/netns/red").is_symlink()


def test_a_sysctl_is_not_adopted(host: Namespace) -> None:
    """What it was before is known to who set it alone."""
    with host.sysctl.override("net.ipv4.ip_default_ttl", 77) as override:
        override.detach()
        with pytest.raises(StateError, match="forgotten"):
            override.adopt()
    with pytest.raises(StateError, match="forgotten"):
        host.sysctl.override("net.ipv4.ip_default_ttl", 77).adopt()
    assert host.sysctl["net.ipv4.ip_default_ttl"] == "77"
