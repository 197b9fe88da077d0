"""The commands that `netkit demo` shows beside its own lines make the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from netkit import Namespace, Scope
from netkit._demo import packets, scenes, twins
from tests.harness import oracle, place
from tests.harness.demo import reading_is_warm
from tests.harness.tools import BACKENDS, needs

__all__ = ["reading_is_warm"]  # the fixture

pytestmark = pytest.mark.usefixtures("reading_is_warm")


@pytest.fixture
def typed() -> Iterator[Any]:
    """Runs a twin's commands as a shell does; the names they made are deleted at the end."""

    def run(commands: str, *names: str) -> dict[str, Namespace]:
        subprocess.run(place.there("sh", "-e", "-c", commands), check=True, capture_output=True)
        return {name: Namespace.open(name) for name in names}

    yield run
    for name in place.names():
        subprocess.run(place.there("ip", "netns", "delete", name), check=True)


def described(ns: Namespace) -> dict[str, Any]:
    """What `ip` says of a namespace, without what is chance or the tool's own default."""
    links = {
        link["ifname"]: (link.get("master"), _can_send(link), oracle.addresses(ns, link["ifname"]))
        for link in oracle.ip(ns, "address", "show")
    }
    routes = {
        (route["dst"], route.get("dev"), route.get("gateway"), route.get("scope"), route.get("metric"))
        for route in oracle.ip(ns, "-4", "route", "show")
    }
    return {"links": links, "routes": routes}


def test_the_twin_of_scene_1_makes_the_same(typed: Any) -> None:
    theirs = typed(twins.VETH, "ns1", "ns2")
    with Scope() as lab:
        ours = scenes.veth(lab)
        for ns in theirs.values():
            _until_settled(ns)
        assert [described(ns) for ns in ours] == [described(ns) for ns in theirs.values()]
    _close(theirs)


@pytest.mark.parametrize(
    ("build", "twin"), [(scenes.bridge, twins.BRIDGE), (scenes.route_table, twins.ROUTE_TABLE)]
)
def test_the_twins_of_scenes_2_and_3_make_the_same(typed: Any, build: Any, twin: str) -> None:
    theirs = typed(twin, "host", "outside", "ns1")
    with Scope() as lab:
        ours = build(lab)[:3]
        for ns in theirs.values():
            _until_settled(ns)
        assert [described(ns) for ns in ours] == [described(ns) for ns in theirs.values()]
    _close(theirs)


@pytest.mark.parametrize("backend", [pytest.param("nftables", marks=needs("nft")), BACKENDS[1]])
def test_the_twins_of_scenes_4_and_5_make_the_same(typed: Any, backend: Any) -> None:
    commands = (twins.ROUTE_TABLE, twins.FORWARDING, twins.MASQUERADE[backend], twins.DNAT[backend])
    theirs = typed("".join(commands), "host", "outside", "ns1")
    with Scope() as lab:
        host, outside, ns1 = scenes.route_table(lab)
        scenes.masquerade(lab, host, backend)
        scenes.dnat(lab, host, backend)
        assert _rules(host, backend) == _rules(theirs["host"], backend)
        for key in ("net.ipv4.ip_forward", "net.ipv4.conf.br0.proxy_arp", "net.ipv4.neigh.br0.proxy_delay"):
            assert host.sysctl[key] == theirs["host"].sysctl[key]
        assert packets.who_am_i(ns1, outside) == "192.168.122.220"
    assert packets.who_am_i(theirs["ns1"], theirs["outside"]) == "192.168.122.220"
    assert packets.get_page(theirs["ns1"], theirs["outside"]).startswith("200 OK")
    _close(theirs)


def _close(opened: dict[str, Namespace]) -> None:
    for ns in opened.values():
        ns.close()


def _can_send(link: dict[str, Any]) -> bool:
    return {"UP", "LOWER_UP"} <= set(link["flags"])


def _until_settled(ns: Namespace) -> None:
    """The carrier of what `ip` made comes by a work queue of the kernel."""
    with oracle.Events(ns) as events:
        events.wait_until(lambda: all(_can_send(link) for link in oracle.ip(ns, "link", "show")))


def _rules(host: Namespace, backend: str) -> Any:
    if backend == "iptables":
        return oracle.iptables_legacy(host)
    rules = [item["rule"] for item in oracle.nft(host) if "rule" in item]
    return sorted(
        sorted(json.dumps(part, sort_keys=True) for part in rule["expr"] if "counter" not in part)
        for rule in rules
    )
