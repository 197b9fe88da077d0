"""Routes against `ip route`: added, replaced, deleted, over several hops, refused."""

from __future__ import annotations

import ipaddress

import pytest

from netkit import ExistsError, KernelError, Namespace, NextHop, NotFoundError, SpecError, VethPair
from tests.harness.routes import EVERYWHERE, FAMILIES, FAR, NET, OURS, VIA, VIA2, said, shown, wired

__all__ = ["wired"]  # the fixture

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
