"""Policy rules against `ip rule`, and the tables that they choose."""

from __future__ import annotations

from typing import Any

import pytest

from netkit import ExistsError, KernelError, Namespace, NotFoundError, RouteTable, SpecError, VethPair
from tests.harness.oracle import ip, run_in

FAMILIES = [4, 6]
NET = {4: "10.0.0.0/24", 6: "fd00::/64"}
FAR = {4: "203.0.113.0/24", 6: "2001:db8::/32"}


def shown(ns: Namespace, family: int) -> list[dict[str, Any]]:
    return ip(ns, f"-{family}", "rule", "show")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_namespace_begins_with(host: Namespace, family: int) -> None:
    read = [(rule.priority, rule.table, rule.action) for rule in host.rules.filter(family=family)]  # type: ignore[arg-type]
    tables = {"local": 255, "main": 254, "default": 253}
    assert read == [(each["priority"], tables[each["table"]], "lookup") for each in shown(host, family)]


@pytest.mark.parametrize("family", FAMILIES)
def test_add_with_everything_and_delete(host: Namespace, family: int) -> None:
    before = shown(host, family)
    added = host.rules.add(
        src=NET[family], dst=FAR[family], iif="lo", oif="eth9", fwmark="0x10/0xf0", priority=77, table=1000
    )
    (rule,) = [each for each in shown(host, family) if each["priority"] == 77]
    net, _, length = NET[family].partition("/")
    assert (rule["src"], rule["srclen"]) == (net, int(length))
    assert f"{rule['dst']}/{rule['dstlen']}" == FAR[family]
    assert (rule["iif"], rule["oif"], rule["table"]) == ("lo", "eth9", "1000")
    assert (rule["fwmark"], rule["fwmask"]) == ("0x10", "0xf0")
    assert rule["protocol"] == "110"
    assert added in list(host.rules)
    host.rules.delete(added)
    assert shown(host, family) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_priority_the_kernel_chooses(host: Namespace, family: int) -> None:
    first = host.rules.add(src=NET[family], table=100)
    second = host.rules.add(dst=NET[family], table=101)
    said = {each["priority"]: each["table"] for each in shown(host, family)}
    assert first.priority is not None
    assert second.priority is not None
    assert (said[first.priority], said[second.priority]) == ("100", "101")
    assert second.priority < first.priority


@pytest.mark.parametrize("family", FAMILIES)
def test_family_where_nothing_says_so(host: Namespace, family: int) -> None:
    host.rules.add(fwmark=5, table=100, priority=10, family=family)  # type: ignore[arg-type]
    assert 10 in {each["priority"] for each in shown(host, family)}
    assert 10 not in {each["priority"] for each in shown(host, 10 - family)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("action", ["blackhole", "unreachable", "prohibit"])
def test_actions(host: Namespace, family: int, action: str) -> None:
    rule = host.rules.add(dst=FAR[family], action=action, priority=5)
    (said,) = [each for each in shown(host, family) if each["priority"] == 5]
    assert said["action"] == action
    with pytest.raises(KernelError) as caught:
        host.routes.get(FAR[family].partition("/")[0].rstrip("0") + "1")
    assert caught.value.errno == {"blackhole": 22, "unreachable": 101, "prohibit": 13}[action]
    host.rules.delete(rule)


def test_inverted(host: Namespace) -> None:
    rule = host.rules.add(src="10.0.0.0/24", table=100, priority=9, invert=True)
    (said,) = [each for each in shown(host, 4) if each["priority"] == 9]
    assert "not" in said
    assert rule in list(host.rules)


@pytest.mark.parametrize("family", FAMILIES)
def test_delete_by_what_it_matches(host: Namespace, family: int) -> None:
    before = shown(host, family)
    host.rules.add(src=NET[family], table=100, priority=40)
    host.rules.add(src=FAR[family], table=100, priority=41)
    host.rules.delete(src=NET[family], table=100)
    assert [each["priority"] for each in shown(host, family) if each not in before] == [41]
    host.rules.delete(priority=41, table=100, family=family)  # type: ignore[arg-type]
    assert shown(host, family) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_delete_by_priority_alone(host: Namespace, family: int) -> None:
    """`ip rule del pref 40` deletes the rule of that priority, whatever its table."""
    host.rules.add(src=NET[family], table=100, priority=40)
    host.rules.delete(priority=40, family=family)  # type: ignore[arg-type]
    assert 40 not in {each["priority"] for each in shown(host, family)}


def test_delete_by_nothing_deletes_nothing(host: Namespace) -> None:
    before = shown(host, 4), shown(host, 6)
    rule = host.rules.add(src="10.0.0.0/24", table=100, priority=40)
    for keywords in ({}, {"family": 6}):
        with pytest.raises(SpecError, match="needs at least one of"):
            host.rules.delete(**keywords)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="a Rule has everything"):
        host.rules.delete(rule, priority=40)
    host.rules.delete(rule)
    assert (shown(host, 4), shown(host, 6)) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_twice_is_exists_and_missing_is_not_found(host: Namespace, family: int) -> None:
    host.rules.add(src=NET[family], table=100, priority=40)
    with pytest.raises(ExistsError, match="lookup 100"):
        host.rules.add(src=NET[family], table=100, priority=40)
    host.rules.delete(src=NET[family], table=100, priority=40)
    with pytest.raises(NotFoundError, match="lookup 100"):
        host.rules.delete(src=NET[family], table=100, priority=40)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_kernel_follows_them(host: Namespace, family: int) -> None:
    with (
        Namespace() as box,
        VethPair(host, box, name="eth0", peer_name="eth0", address=["10.0.0.1/24", "fd00::1/64"]),
        RouteTable(host, 100) as table,
    ):
        via = {4: "10.0.0.2", 6: "fd00::2"}[family]
        ours = {4: "10.0.0.1", 6: "fd00::1"}[family]
        target = {4: "203.0.113.9", 6: "2001:db8::9"}[family]
        table.add("default", via=via)
        with pytest.raises(KernelError):
            host.routes.get(target)
        rule = host.rules.add(dst=FAR[family], table=100)
        assert str(host.routes.get(target, src=ours).via) == via
        (decision,) = ip(host, "route", "get", target)
        assert decision["gateway"] == via
        host.rules.delete(rule)
        with pytest.raises(KernelError):
            host.routes.get(target)


def test_iteration_reads_afresh_what_others_add(host: Namespace) -> None:
    run_in(host, "ip", "rule", "add", "from", "10.1.0.0/16", "to", "10.2.0.0/16", "lookup", "77", "pref", "3")
    (rule,) = [each for each in host.rules if each.priority == 3]
    assert (str(rule.src), str(rule.dst), rule.table) == ("10.1.0.0/16", "10.2.0.0/16", 77)
    assert len(host.rules) == len(shown(host, 4)) + len(shown(host, 6))
    host.rules.delete(rule)
    assert 3 not in {each["priority"] for each in shown(host, 4)}


def test_a_device_of_another_namespace_is_refused(host: Namespace) -> None:
    with Namespace() as box:
        for use in (host.rules.add, host.rules.delete):
            with pytest.raises(SpecError, match="another namespace"):
                use(iif=box.links["lo"], table=100)
        host.rules.add(iif=host.links["lo"], table=100, priority=8)
        assert [each["iif"] for each in shown(host, 4) if each["priority"] == 8] == ["lo"]
