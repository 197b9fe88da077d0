"""A route table as a scope: what it added goes, what it replaced is back; and routes added elsewhere."""

from __future__ import annotations

import pytest

from netkit import (
    ExistsError,
    Namespace,
    NextHop,
    NotFoundError,
    RouteTable,
    Scope,
    SpecError,
    StateError,
    VethPair,
)
from tests.harness.oracle import lacks, run_in
from tests.harness.routes import FAMILIES, NET, OURS, VIA, VIA2, said, shown, wired

__all__ = ["wired"]  # the fixture

# -- a scope ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["with", "own", "close", "flush", "close alone", "flush alone"])
def test_what_was_added_goes_and_nothing_else(
    host: Namespace, wired: VethPair, family: int, how: str
) -> None:
    theirs = [NET[family], "via", VIA[family], "metric", "5", "table", "100"]
    run_in(host, "ip", f"-{family}", "route", "add", *theirs)
    before = shown(host, family, "100")
    table = RouteTable(host, 100)

    def use() -> None:
        table.add(NET[family], via=VIA2[family], metric=6)
        table.add(NET[family], type="blackhole", metric=7)
        table.add("default", via=VIA[family])
        assert len(shown(host, family, "100")) == 4

    if how == "with":
        with table:
            use()
    elif how == "own":
        with Scope() as lab:
            lab.own(table)
            use()
    else:
        if "alone" not in how:
            table.__enter__()
        use()
        if "flush" in how:
            table.flush()
            assert shown(host, family, "100") == before
        table.close()
        table.close()  # a second call does nothing
    assert shown(host, family, "100") == before


@pytest.mark.parametrize("family", FAMILIES)
def test_replace_gives_back_what_it_replaced(host: Namespace, wired: VethPair, family: int) -> None:
    run_in(
        host, "ip", f"-{family}", "route", "add", NET[family], "via", VIA[family], "metric", "5", "mtu",
        "1400", "proto", "static", "table", "100",
    )  # fmt: skip
    before = shown(host, family, "100")
    with RouteTable(host, 100) as table:
        table.replace(NET[family], via=VIA2[family], metric=5)
        assert said(host, family, NET[family], "100")["gateway"] == VIA2[family]
        table.replace(NET[family], type="blackhole", metric=5)
        assert said(host, family, NET[family], "100")["type"] == "blackhole"
    assert shown(host, family, "100") == before


def test_without_a_block_close_gives_back_too(host: Namespace, wired: VethPair) -> None:
    run_in(host, "ip", "route", "add", NET[4], "via", VIA[4], "table", "100")
    before = shown(host, 4, "100")
    table = RouteTable(host, 100)
    table.replace(NET[4], via=VIA2[4])
    table.close()
    assert shown(host, 4, "100") == before
    with pytest.raises(StateError, match="closed"):
        table.add("default", via=VIA[4])


@pytest.mark.parametrize("family", FAMILIES)
def test_replace_gives_back_a_multipath_route(host: Namespace, wired: VethPair, family: int) -> None:
    run_in(
        host, "ip", f"-{family}", "route", "add", NET[family], "metric", "5", "table", "100",
        "nexthop", "via", VIA[family], "weight", "2", "nexthop", "via", VIA2[family],
    )  # fmt: skip
    before = shown(host, family, "100")
    with RouteTable(host, 100) as table:
        table.replace(NET[family], via=VIA2[family], metric=5)
        assert "nexthops" not in said(host, family, NET[family], "100")
    assert shown(host, family, "100") == before


# Routes of other programs with more to them than a Route says: `ip` words, and how a replace names them.
_OF_OTHERS = {
    "metrics of TCP": (4, "10.9.0.0/16 via 10.0.0.2 mtu lock 1300 advmss 1000 initcwnd 20"),
    "a realm": (4, "10.9.0.0/16 via 10.0.0.2 realm 5"),
    "a next-hop object": (4, "10.9.0.0/16 nhid 5"),
    "a group of them": (4, "10.9.0.0/16 nhid 7"),
    "an object that is a blackhole": (4, "10.9.0.0/16 nhid 9"),
    "next hops of their own realms": (
        4, "10.9.0.0/16 nexthop via 10.0.0.2 realm 3 weight 2 nexthop via 10.0.0.3 realm 4 weight 9"
    ),
    "for one TOS": (4, "10.9.0.0/16 tos 0x10 via 10.0.0.2"),
    "a gateway of the other family": (4, "10.9.0.0/16 via inet6 fd00::2 dev eth0"),
    "a preference": (6, "fd09::/48 via fd00::2 metric 5 pref high"),
    "for one source": (6, "fd09::/48 from fd99::/64 via fd00::2 metric 5"),
    "metrics of TCP by IPv6": (6, "fd09::/48 via fd00::2 metric 5 advmss 1000 initcwnd 20"),
}  # fmt: skip


def _add_by_ip(host: Namespace, family: int, words: str) -> None:
    script = (
        "ip nexthop add id 5 via 10.0.0.2 dev eth0 && ip nexthop add id 6 via 10.0.0.3 dev eth0 && "
        f"ip nexthop add id 7 group 5,3/6,2 && ip nexthop add id 9 blackhole; ip -{family} route add {words}"
    )
    if reason := lacks(host, "sh", "-c", script):
        pytest.skip(f"this kernel or ip has no such route: {words}: {reason}")


@pytest.mark.parametrize("what", _OF_OTHERS)
def test_replace_gives_back_all_there_is_to_a_route(host: Namespace, wired: VethPair, what: str) -> None:
    family, words = _OF_OTHERS[what]
    _add_by_ip(host, family, words)
    before = shown(host, family)
    with RouteTable(host) as table:
        table.replace(NET[family], type="unreachable", metric=5 if family == 6 else None)
        assert shown(host, family) != before
    assert shown(host, family) == before


@pytest.mark.parametrize("what", _OF_OTHERS)
def test_a_route_that_was_read_can_be_deleted(host: Namespace, wired: VethPair, what: str) -> None:
    family, words = _OF_OTHERS[what]
    before = shown(host, family)
    _add_by_ip(host, family, words)
    (route,) = host.routes.filter(dst=NET[family])
    host.routes.delete(route)
    assert shown(host, family) == before
    with pytest.raises(NotFoundError, match="none such"):
        host.routes.delete(route)


def test_replace_gives_back_the_first_of_those_appended(host: Namespace, wired: VethPair) -> None:
    """Of several IPv4 routes with one destination and metric the kernel replaces the first."""
    run_in(host, "ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.2")
    run_in(host, "ip", "route", "append", "10.9.0.0/16", "via", "10.0.0.3")
    before = shown(host, 4)
    with RouteTable(host) as table:
        table.replace("10.9.0.0/16", type="blackhole")
        assert len(host.routes.filter(dst="10.9.0.0/16")) == 2
    assert shown(host, 4) == before


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_replaced_is_not_given_back_without_its_link(
    host: Namespace, wired: VethPair, family: int, hops: int
) -> None:
    """It would have gone with it. Of the gateway the kernel says then that it is unreachable."""
    ways = [word for via in (VIA[family], VIA2[family])[:hops] for word in ("nexthop", "via", via)]
    run_in(host, "ip", f"-{family}", "route", "add", NET[family], "metric", "5", "table", "100", *ways)
    with RouteTable(host, 100) as table:
        table.replace(NET[family], type="blackhole", metric=5)
        wired.delete()
    assert shown(host, family, "100") == []


def test_replace_of_nothing_is_removed(host: Namespace, wired: VethPair) -> None:
    with RouteTable(host) as table:
        table.replace("10.9.0.0/16", via="10.0.0.2")
    assert "10.9.0.0/16" not in {each["dst"] for each in shown(host, 4)}


def test_a_refused_add_is_not_undone_later(host: Namespace, wired: VethPair) -> None:
    """The route that was there is somebody's: it stays."""
    run_in(host, "ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.2")
    before = shown(host, 4)
    with RouteTable(host) as table, pytest.raises(ExistsError):
        table.add("10.9.0.0/16", via="10.0.0.2")
    assert shown(host, 4) == before


def test_ns_routes_is_no_scope(host: Namespace, wired: VethPair) -> None:
    host.routes.add("10.9.0.0/16", via="10.0.0.2")
    assert "10.9.0.0/16" in host.routes


def test_routes_gone_by_others_are_no_error(host: Namespace, wired: VethPair) -> None:
    with RouteTable(host, 100) as table:
        table.add("10.9.0.0/16", via="10.0.0.2")
        table.add("10.10.0.0/16", via="10.0.0.2")
        run_in(host, "ip", "route", "del", "10.9.0.0/16", "table", "100")
        run_in(host, "ip", "link", "set", "eth0", "down")  # takes the other
    assert shown(host, 4, "100") == []


def test_a_route_that_others_put_in_its_place_stays(host: Namespace, wired: VethPair) -> None:
    with RouteTable(host, 100) as table:
        table.add("10.9.0.0/16", via="10.0.0.2")
        run_in(host, "ip", "route", "replace", "10.9.0.0/16", "via", "10.0.0.3", "table", "100")
    assert said(host, 4, "10.9.0.0/16", "100")["gateway"] == "10.0.0.3"


def test_deleted_by_hand_is_not_deleted_again(host: Namespace, wired: VethPair) -> None:
    with RouteTable(host, 100) as table:
        route = table.add("10.9.0.0/16", via="10.0.0.2")
        table.delete(route)
        run_in(host, "ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.2", "table", "100")
    assert said(host, 4, "10.9.0.0/16", "100")["gateway"] == "10.0.0.2"


def test_F50_routes_without_a_device_outlive_it_and_are_removed(host: Namespace) -> None:
    """F50: a blackhole is nobody's when the devices go."""
    with RouteTable(host, 100) as table:
        table.add("10.9.0.0/16", type="blackhole")
        table.add("fd09::/48", type="prohibit")
    assert shown(host, 4, "100") == shown(host, 6, "100") == []


def test_closed_is_closed(host: Namespace) -> None:
    table = RouteTable(host, 100)
    with table:
        pass
    with pytest.raises(StateError, match="closed"):
        table.add("10.9.0.0/16", type="blackhole")
    with pytest.raises(StateError, match="closed"):
        table.__enter__()
    assert list(table) == []


# -- from one namespace to another ---------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_dumped_route_can_be_added_elsewhere(
    host: Namespace, box: Namespace, wired: VethPair, family: int
) -> None:
    plan = [
        {"via": VIA[family], "metric": 5, "mtu": 1300, "src": OURS[family]},
        {"type": "unreachable", "metric": 6},
        {"nexthops": [NextHop(via=VIA[family], weight=4), NextHop(via=VIA2[family])], "metric": 7},
        {"via": VIA[family], "dev": "eth0", "onlink": True, "metric": 8},
    ]
    for keywords in plan:
        host.routes.add(NET[family], **keywords)  # type: ignore[arg-type]
    with Namespace() as third, Namespace() as far:
        veth = VethPair(third, far, name="eth0", peer_name="x", address=["10.0.0.1/24", "fd00::1/64"])
        with veth:
            for route in host.routes.filter(dst=NET[family]):
                third.routes.add(route)
                RouteTable(third, 100).add(route)
            want = [each for each in shown(host, family) if each["dst"] == NET[family]]
            assert [each for each in shown(third, family) if each["dst"] == NET[family]] == want
            assert shown(third, family, "100") == want
            with pytest.raises(SpecError, match="a Route has everything"):
                third.routes.add(route, metric=9)


def test_all_dumped_routes_of_main_can_be_added_to_another_table(host: Namespace, wired: VethPair) -> None:
    """Those that the kernel made for addresses too."""
    host.routes.add("default", via="10.0.0.2")
    host.routes.add("default", via="fd00::2")
    with RouteTable(host, 100) as table:
        for route in host.routes:
            table.add(route)
        for family in FAMILIES:
            for one, other in zip(shown(host, family), shown(host, family, "100"), strict=True):
                assert {key: one[key] for key in ("dst", "dev", "protocol")} == {
                    key: other[key] for key in ("dst", "dev", "protocol")
                }
