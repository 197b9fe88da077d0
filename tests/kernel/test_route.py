"""Route tables against `ip route`, and the ways that packets take."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest

from netkit import (
    ExistsError,
    KernelError,
    Namespace,
    NextHop,
    NotFoundError,
    RouteTable,
    Scope,
    SpecError,
    StateError,
    VethPair,
)
from tests.harness.oracle import ip, run_in
from tests.harness.packets import bound, tcp
from tests.harness.patience import AT_ONCE

FAMILIES = [4, 6]
# Per family: network, gateway, another gateway, our address, a host behind.
NET = {4: "10.9.0.0/16", 6: "fd09::/48"}
VIA = {4: "10.0.0.2", 6: "fd00::2"}
VIA2 = {4: "10.0.0.3", 6: "fd00::3"}
OURS = {4: "10.0.0.1", 6: "fd00::1"}
FAR = {4: "10.9.1.1", 6: "fd09::1:1"}
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


@pytest.fixture
def box() -> Iterator[Namespace]:
    with Namespace() as ns:
        yield ns


@pytest.fixture
def wired(host: Namespace, box: Namespace) -> Iterator[VethPair]:
    """host eth0 10.0.0.1, fd00::1 -- box eth0 10.0.0.2, .3, fd00::2, ::3"""
    veth = VethPair(
        host, box, name="eth0", peer_name="eth0", address=["10.0.0.1/24", "fd00::1/64"],
        peer_address=["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64", "fd00::3/64"],
    )  # fmt: skip
    with veth:
        yield veth


def said(ns: Namespace, family: int, dst: str, table: str = "main") -> dict[str, Any]:
    """The one route to a destination that `ip -d route` shows."""
    (found,) = [each for each in shown(ns, family, table) if each["dst"] == dst]
    return found


def shown(ns: Namespace, family: int, table: str = "main") -> list[dict[str, Any]]:
    return ip(ns, f"-{family}", "route", "show", "table", table)


# -- add, replace, delete -------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_add_with_everything(host: Namespace, wired: VethPair, family: int) -> None:
    added = host.routes.add(
        NET[family], via=VIA[family], dev="eth0", src=OURS[family], metric=50, mtu=1300, proto="static"
    )
    route = said(host, family, NET[family])
    assert (route["gateway"], route["dev"], route["prefsrc"]) == (VIA[family], "eth0", OURS[family])
    assert (route["metric"], route["metrics"], route["protocol"]) == (50, [{"mtu": 1300}], "static")
    assert added in list(host.routes)
    assert added.via == ipaddress.ip_address(VIA[family])
    assert added.dst == ipaddress.ip_network(NET[family])
    host.routes.delete(added)
    assert NET[family] not in {each["dst"] for each in shown(host, family)}


@pytest.mark.parametrize("family", FAMILIES)
def test_default_by_gateway_and_by_device(host: Namespace, wired: VethPair, family: int) -> None:
    host.routes.add("default", via=VIA[family])
    assert said(host, family, "default")["gateway"] == VIA[family]
    host.routes.delete("default", family=family)  # type: ignore[arg-type]
    host.routes.add("default", dev=wired.link, family=family)  # type: ignore[arg-type]
    route = said(host, family, "default")
    assert route["dev"] == "eth0"
    assert "gateway" not in route
    if family == 4:
        assert route["scope"] == "link"
    assert [each.dst for each in host.routes.filter(family=family, dst="default")] == ["default"]  # type: ignore[arg-type]
    host.routes.delete(EVERYWHERE[family])
    assert "default" not in {each["dst"] for each in shown(host, family)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
def test_types_that_lead_nowhere(host: Namespace, wired: VethPair, family: int, kind: str) -> None:
    host.routes.add(NET[family], type=kind)
    assert said(host, family, NET[family])["type"] == kind
    (read,) = host.routes.filter(type=kind)
    assert (str(read.dst), read.type, read.via) == (NET[family], kind, None)
    expected = {"blackhole": 22, "unreachable": 113, "prohibit": 13}[kind]
    with (
        host.socket({4: 2, 6: 10}[family], 2) as sock,
        pytest.raises(OSError) as caught,  # noqa: PT011
    ):
        sock.connect((FAR[family], 9))
    assert caught.value.errno == expected
    host.routes.delete(NET[family])
    assert host.routes.filter(type=kind) == []


def test_marked_as_netkits_unless_said_otherwise(host: Namespace, wired: VethPair) -> None:
    host.routes.add("10.9.0.0/16", via="10.0.0.2")
    assert said(host, 4, "10.9.0.0/16")["protocol"] == "110"
    host.routes.replace("10.9.0.0/16", via="10.0.0.2", proto=77)
    assert said(host, 4, "10.9.0.0/16")["protocol"] == "77"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_add_returns_is_what_is_read(host: Namespace, wired: VethPair, family: int) -> None:
    """IPv6 has a metric of its own choice, and a gateway's device is the kernel's to find."""
    added = host.routes.add(NET[family], via=VIA[family])
    assert added in host.routes
    (read,) = host.routes.filter(dst=NET[family])
    assert read == added
    assert read.dev == added.dev == "eth0"


@pytest.mark.parametrize("family", FAMILIES)
def test_twice_is_exists_and_missing_is_not_found(host: Namespace, wired: VethPair, family: int) -> None:
    host.routes.add(NET[family], via=VIA[family])
    with pytest.raises(ExistsError, match=NET[family]):
        host.routes.add(NET[family], via=VIA[family])
    host.routes.add(NET[family], via=VIA2[family], metric=2000)  # another metric is another route
    assert len(host.routes.filter(dst=NET[family])) == 2
    host.routes.delete(NET[family], metric=2000)
    host.routes.delete(NET[family], via=VIA[family])
    with pytest.raises(NotFoundError, match=NET[family]) as caught:
        host.routes.delete(NET[family])
    assert "No such process" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_delete_goes_by_what_is_given(host: Namespace, wired: VethPair, family: int) -> None:
    host.routes.add(NET[family], via=VIA[family], metric=10)
    host.routes.add(NET[family], via=VIA2[family], metric=20)
    asked = f"delete route {NET[family]} via {VIA2[family]} dev eth0 metric 10 in .*: there is none such"
    with pytest.raises(NotFoundError, match=asked):
        host.routes.delete(NET[family], via=VIA2[family], dev="eth0", metric=10)
    host.routes.delete(NET[family], via=VIA2[family])
    assert said(host, family, NET[family])["metric"] == 10


@pytest.mark.parametrize("family", FAMILIES)
def test_replace_changes_the_way(host: Namespace, wired: VethPair, family: int) -> None:
    host.routes.replace(NET[family], via=VIA[family])
    host.routes.replace(NET[family], via=VIA2[family])
    assert said(host, family, NET[family])["gateway"] == VIA2[family]


def test_scope(host: Namespace, wired: VethPair) -> None:
    host.routes.add("10.9.0.0/16", dev="eth0", scope="link")
    host.routes.add("10.10.0.0/16", dev="eth0", scope="host")
    assert said(host, 4, "10.9.0.0/16")["scope"] == "link"
    assert said(host, 4, "10.10.0.0/16")["scope"] == "host"
    assert {str(each.dst): each.scope for each in host.routes}["10.10.0.0/16"] == "host"


@pytest.mark.parametrize("family", FAMILIES)
def test_onlink_takes_a_gateway_that_no_network_holds(host: Namespace, wired: VethPair, family: int) -> None:
    gateway = {4: "192.0.2.99", 6: "2001:db8::99"}[family]
    with pytest.raises(KernelError, match=r"(?i)nexthop has invalid gateway|no route to host|unreachable"):
        host.routes.add(NET[family], via=gateway, dev="eth0")
    host.routes.add(NET[family], via=gateway, dev="eth0", onlink=True)
    route = said(host, family, NET[family])
    assert route["gateway"] == gateway
    assert "onlink" in route["flags"]
    (read,) = host.routes.filter(dst=NET[family])
    assert read.onlink


# -- multipath ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_multipath_with_weights(host: Namespace, wired: VethPair, family: int) -> None:
    hops = [NextHop(via=VIA[family], weight=3), NextHop(via=VIA2[family], dev=wired.link)]
    added = host.routes.add(NET[family], nexthops=hops, metric=7)
    ways = said(host, family, NET[family])["nexthops"]
    assert [(way["gateway"], way["weight"], way["dev"]) for way in ways] == [
        (VIA[family], 3, "eth0"),
        (VIA2[family], 1, "eth0"),
    ]
    (read,) = host.routes.filter(dst=NET[family])
    assert [(str(hop.via), hop.dev, hop.weight) for hop in read.nexthops] == [
        (VIA[family], "eth0", 3),
        (VIA2[family], "eth0", 1),
    ]
    assert added == read
    assert host.routes.filter(via=VIA2[family]) == [read]
    host.routes.delete(read)
    assert NET[family] not in {each["dst"] for each in shown(host, family)}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_greatest_weight(host: Namespace, wired: VethPair, family: int) -> None:
    host.routes.add(NET[family], nexthops=[NextHop(via=VIA[family], weight=256), NextHop(via=VIA2[family])])
    assert said(host, family, NET[family])["nexthops"][0]["weight"] == 256


# -- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("table", [100, 253, "default", 4_000_000_000])
def test_tables_by_number_and_name(host: Namespace, wired: VethPair, family: int, table: Any) -> None:
    with RouteTable(host, table) as routes:
        assert list(routes) == []
        routes.add(NET[family], via=VIA[family])
        assert said(host, family, NET[family], str(table))["gateway"] == VIA[family]
        assert [str(each.dst) for each in routes] == [NET[family]]
        assert len(routes) == 1
        assert NET[family] in routes
        assert NET[family] not in host.routes
    assert shown(host, family, str(table)) == []


def test_a_table_named_in_rt_tables(host: Namespace) -> None:
    for name, number in (("local", 255), ("main", 254), ("default", 253)):
        assert RouteTable(host, name).table == number
    with pytest.raises(SpecError, match="rt_tables"):
        RouteTable(host, "no-such-table")


def test_reading_the_local_table(host: Namespace, wired: VethPair) -> None:
    read = {str(each.dst): each.type for each in RouteTable(host, "local").filter(family=4)}
    said = {each["dst"]: each["type"] for each in shown(host, 4, "local")}
    assert read == {dst if "/" in dst else f"{dst}/32": kind for dst, kind in said.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_main_is_what_ip_says(host: Namespace, wired: VethPair, family: int) -> None:
    host.routes.add("default", via=VIA[family])
    host.routes.add(NET[family], type="unreachable", metric=9)
    routes = host.routes.filter(family=family)  # type: ignore[arg-type]
    read = {(str(each.dst), str(each.via or ""), each.metric or 0) for each in routes}
    said = shown(host, family)
    assert read == {(each["dst"], each.get("gateway", ""), each.get("metric", 0)) for each in said}


def test_filters(host: Namespace, wired: VethPair) -> None:
    host.routes.add("10.9.0.0/16", via="10.0.0.2", proto="static")
    host.routes.add("fd09::/48", via="fd00::2")
    assert [str(each.dst) for each in host.routes.filter(proto="static")] == ["10.9.0.0/16"]
    assert [str(each.dst) for each in host.routes.filter(via="fd00::2")] == ["fd09::/48"]
    assert {each.family for each in host.routes.filter(family=6)} == {6}
    assert host.routes.filter(dev="lo", family=4) == []
    assert {each.dev for each in host.routes.filter(dev=wired.link)} == {"eth0"}


def test_host_routes(host: Namespace, wired: VethPair) -> None:
    host.routes.add("203.0.113.7", via="10.0.0.2")
    host.routes.add("2001:db8::7", via="fd00::2")
    assert said(host, 4, "203.0.113.7")["gateway"] == "10.0.0.2"
    assert said(host, 6, "2001:db8::7")["gateway"] == "fd00::2"
    assert "203.0.113.7/32" in host.routes


# -- the kernel's own decision ----------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_get_is_the_kernels_decision(host: Namespace, wired: VethPair, family: int) -> None:
    host.routes.add(NET[family], via=VIA[family], metric=50)
    found = host.routes.get(FAR[family])
    (decision,) = ip(host, "route", "get", FAR[family])
    assert (str(found.via), found.dev, str(found.src)) == (
        decision["gateway"],
        decision["dev"],
        decision["prefsrc"],
    )
    assert host.routes.get(OURS[family]).dev == "lo"
    with pytest.raises(KernelError, match=r"(?i)unreachable|no route") as caught:
        host.routes.get({4: "192.0.2.1", 6: "2001:db8::1"}[family])
    assert caught.value.errno in (101, 113)


@pytest.mark.parametrize("family", FAMILIES)
def test_get_with_a_mark(host: Namespace, wired: VethPair, family: int) -> None:
    with RouteTable(host, 100) as table:
        table.add(NET[family], via=VIA2[family])
        host.routes.add(NET[family], via=VIA[family])
        run_in(host, "ip", f"-{family}", "rule", "add", "fwmark", "7", "table", "100")
        assert str(host.routes.get(FAR[family]).via) == VIA[family]
        assert str(host.routes.get(FAR[family], mark=7).via) == VIA2[family]
        assert str(host.routes.get(FAR[family], src=OURS[family], oif="eth0").via) == VIA[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_packets_take_the_route(host: Namespace, box: Namespace, wired: VethPair, family: int) -> None:
    # Not by ip(8), which would not wait for it.
    box.links["lo"].addresses.add(f"{FAR[family]}/{32 if family == 4 else 128}")
    host.routes.add(NET[family], via=VIA[family], src=OURS[family])
    with bound(box, FAR[family], 80) as server:
        assert tcp(host, FAR[family], 80, server) == OURS[family]
    assert host.ping(FAR[family], timeout=AT_ONCE).loss == 0


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
    if host.run(["sh", "-c", script], capture_output=True).returncode:
        pytest.skip(f"this kernel or ip has no such route: {words}")


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


# -- what is refused ------------------------------------------------------------------------------------


def test_F51_refusals_carry_the_kernels_words(host: Namespace, wired: VethPair) -> None:
    with pytest.raises(KernelError, match="Nexthop has invalid gateway") as caught:
        host.routes.add("10.9.0.0/16", via="192.0.2.1")
    assert caught.value.errno == 101
    assert "add route 10.9.0.0/16" in caught.value.operation
    with pytest.raises(NotFoundError, match="'eth9'"):
        host.routes.add("10.9.0.0/16", dev="eth9")
    with pytest.raises(KernelError, match=r"(?i)prefsrc|preferred source|invalid"):
        host.routes.add("10.9.0.0/16", via="10.0.0.2", src="192.0.2.9")
    assert "10.9.0.0/16" not in host.routes


def test_a_device_of_another_namespace_is_refused(host: Namespace, box: Namespace, wired: VethPair) -> None:
    """Its name is taken here too, and would be another device."""
    before = shown(host, 4)
    for use in (
        lambda: host.routes.add("10.9.0.0/16", dev=wired.peer),
        lambda: host.routes.replace("10.9.0.0/16", dev=wired.peer),
        lambda: host.routes.delete("10.0.0.0/24", dev=wired.peer),
        lambda: host.routes.filter(dev=wired.peer),
        lambda: host.routes.get("10.9.0.1", oif=wired.peer),
        lambda: host.routes.add("10.9.0.0/16", nexthops=[NextHop(dev=wired.peer)]),
    ):
        with pytest.raises(SpecError, match="another namespace"):
            use()
    assert shown(host, 4) == before
