"""Route tables by number and name, what is read of them, and the ways that packets take."""

from __future__ import annotations

from typing import Any

import pytest

from netkit import KernelError, Namespace, RouteTable, SpecError, VethPair
from tests.harness.oracle import ip, run_in
from tests.harness.packets import bound, tcp
from tests.harness.patience import AT_ONCE
from tests.harness.routes import FAMILIES, FAR, NET, OURS, VIA, VIA2, said, shown, wired

__all__ = ["wired"]  # the fixture

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
