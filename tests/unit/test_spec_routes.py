from __future__ import annotations

import ipaddress
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._spec.neighbours import FdbEntry, Neighbour
from netkit._spec.routes import NextHop, Route
from netkit._spec.rules import Rule
from netkit.errors import SpecError


class Link:
    name, ifindex = "eth0", 2


@pytest.mark.parametrize(
    ("arguments", "text", "family"),
    [
        (
            {"dst": "10.9.0.0/16", "via": "172.18.0.1", "metric": 50},
            "10.9.0.0/16 via 172.18.0.1 proto netkit metric 50",
            4,
        ),
        ({"dst": "default", "via": "fd00::1"}, "default via fd00::1 proto netkit", 6),
        ({"dst": "default", "dev": Link()}, "default dev eth0 proto netkit scope link", 4),
        ({"dst": "default", "dev": "eth0", "family": 6}, "default dev eth0 proto netkit", 6),
        ({"dst": "0.0.0.0/0", "dev": "eth0"}, "default dev eth0 proto netkit scope link", 4),
        ({"dst": "::/0", "dev": "eth0"}, "default dev eth0 proto netkit", 6),
        ({"dst": "default", "dev": "eth0", "src": "fd00::9"}, "default dev eth0 proto netkit src fd00::9", 6),
        ({"dst": "10.0.0.0/8", "type": "blackhole"}, "blackhole 10.0.0.0/8 proto netkit", 4),
        (
            {"dst": "default", "type": "prohibit", "family": 6, "table": 100},
            "prohibit default table 100 proto netkit",
            6,
        ),
        (
            {
                "dst": "10.0.0.1",
                "via": "10.1.1.1",
                "dev": "eth0",
                "onlink": True,
                "proto": "static",
                "mtu": 1400,
            },
            "10.0.0.1/32 via 10.1.1.1 dev eth0 proto static mtu 1400 onlink",
            4,
        ),
        (
            {
                "dst": "fd00:1::/64",
                "nexthops": [NextHop("fd00::2", weight=3), NextHop(via="fd00::3", dev="b")],
            },
            "fd00:1::/64 proto netkit nexthop via fd00::2 weight 3 nexthop via fd00::3 dev b weight 1",
            6,
        ),
        (
            {"dst": "default", "nexthops": [NextHop(via="fd00::2")]},
            "default proto netkit nexthop via fd00::2 weight 1",
            6,
        ),
        (
            {"dst": "10.0.0.0/8", "dev": "eth0", "scope": "global", "table": "local", "metric": 0},
            "10.0.0.0/8 dev eth0 table local proto netkit",
            4,
        ),
    ],
)
def test_routes(arguments: dict[str, Any], text: str, family: int) -> None:
    route = Route.build(**arguments)
    assert str(route) == text
    assert route.family == family
    assert pickle.loads(pickle.dumps(route)) == route


def test_the_fields_are_values() -> None:
    route = Route.build("10.9.0.0/16", via="172.18.0.1", dev=Link(), src="172.18.0.2", table="main")
    assert route.dst == ipaddress.ip_network("10.9.0.0/16")
    assert route.via == ipaddress.ip_address("172.18.0.1")
    assert route.src == ipaddress.ip_address("172.18.0.2")
    assert (route.dev, route.table, route.metric, route.type) == ("eth0", 254, None, "unicast")
    assert Route.build("default", via="10.0.0.1").dst == "default"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"dst": "10.9.0.1/16", "via": "10.0.0.1"}, "dst .* write '10.9.0.0/16'"),
        ({"dst": "10.0.0.0/8", "via": "fd00::1"}, "via 'fd00::1' is IPv6, but dst '10.0.0.0/8' is IPv4"),
        ({"dst": "default", "via": "fd00::1", "family": 4}, "via 'fd00::1' is IPv6, but family=4 is IPv4"),
        ({"dst": "default", "via": "fd00::1", "src": "10.0.0.1"}, "src '10.0.0.1' is IPv4"),
        ({"dst": "default"}, "needs via=, dev= or nexthops="),
        ({"dst": "default", "nexthops": []}, "nexthops is empty"),
        ({"dst": "default", "nexthops": "10.0.0.1"}, "no list of NextHop"),
        ({"dst": "default", "nexthops": ["10.0.0.1"]}, "next hop '10.0.0.1' is a str: give NextHop"),
        ({"dst": "default", "nexthops": 5}, "no list of NextHop"),
        ({"dst": "default", "nexthops": [NextHop(dev="a")], "via": "10.0.0.1"}, "put them into a NextHop"),
        ({"dst": "10.0.0.0/8", "nexthops": [NextHop(via="fd00::1")]}, "next hop via 'fd00::1' is IPv6"),
        ({"dst": "default", "type": "blackhole", "via": "10.0.0.1"}, "type='blackhole' leads nowhere"),
        ({"dst": "default", "type": "unreachable", "dev": "eth0"}, "type='unreachable' leads nowhere"),
        ({"dst": "default", "type": "throw", "dev": "eth0"}, "type 'throw' cannot be added: unicast"),
        ({"dst": "default", "type": "local"}, "type='local' is for addresses of this machine: give dev="),
        ({"dst": "default", "type": "local", "via": "10.0.0.1", "dev": "lo"}, "no via="),
        ({"dst": "default", "via": "10.0.0.1", "onlink": True}, "onlink=True needs via= and dev="),
        ({"dst": "default", "via": "10.0.0.1", "dev": "eth0", "onlink": 1}, "onlink 1 is an int"),
        ({"dst": "default", "via": "0.0.0.0"}, "unspecified address"),
        ({"dst": "default", "via": "224.0.0.1"}, "multicast address"),
        ({"dst": "default", "via": "10.0.0.1/24"}, "via '10.0.0.1/24' is no IP address: write '10.0.0.1'"),
        ({"dst": "default", "via": "10.0.0.1", "metric": -1}, "metric -1 is out of range"),
        ({"dst": "default", "via": "10.0.0.1", "metric": True}, "metric True is a bool"),
        ({"dst": "default", "via": "10.0.0.1", "mtu": 67}, "mtu 67 is out of range"),
        ({"dst": "default", "via": "fd00::1", "mtu": 1279}, "mtu 1279 is out of range: 1280"),
        ({"dst": "default", "via": "10.0.0.1", "table": 0}, "table 0 is no table"),
        ({"dst": "default", "via": "10.0.0.1", "table": 2**32}, "table 4294967296 is out of range"),
        ({"dst": "default", "via": "10.0.0.1", "scope": "near"}, "scope 'near' is unknown"),
        ({"dst": "default", "via": "10.0.0.1", "proto": 256}, "proto 256 is out of range"),
        ({"dst": "default", "via": "10.0.0.1", "family": 10}, "family 10 is neither 4 nor 6"),
        ({"dst": "default", "via": "10.0.0.1", "family": True}, "family True is neither"),
        ({"dst": "default", "dev": ""}, "dev '' is empty"),
        ({"dst": "default", "dev": 3}, "dev 3 is no device"),
        ({"dst": None, "dev": "eth0"}, "dst None is a NoneType"),
    ],
)
def test_bad_routes(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        Route.build(**arguments)


def test_flags_do_not_count() -> None:
    plain = Route("default", 4, dev="eth0")
    assert plain == Route("default", 4, dev="eth0", flags=frozenset({"linkdown"}))
    assert plain != Route("default", 6, dev="eth0")
    assert plain.in_table(100).table == 100
    assert plain.in_table(254) == plain


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "leads nowhere"),
        ({"via": "10.0.0.1", "weight": 0}, "weight 0 is out of range: 1 to 256"),
        ({"via": "10.0.0.1", "weight": 257}, "weight 257"),
        ({"via": "10.0.0.1", "weight": 1.0}, "weight 1.0 is a float"),
        ({"via": "nonsense"}, "via 'nonsense'"),
        ({"dev": "a/b"}, "dev 'a/b' contains '/'"),
    ],
)
def test_bad_next_hops(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        NextHop(**arguments)


@pytest.mark.parametrize(
    ("arguments", "text", "family"),
    [
        ({}, "from all lookup main", 4),
        ({"family": 6}, "from all lookup main", 6),
        ({"src": "fd00::/64", "table": 100}, "from fd00::/64 lookup 100", 6),
        (
            {
                "src": "10.0.0.1",
                "dst": "10.1.0.0/16",
                "iif": "a",
                "oif": Link(),
                "priority": 7,
                "invert": True,
            },
            "7: not from 10.0.0.1/32 to 10.1.0.0/16 iif a oif eth0 lookup main",
            4,
        ),
        ({"fwmark": 1}, "from all fwmark 0x1 lookup main", 4),
        ({"fwmark": "0x10/0xf0"}, "from all fwmark 0x10/0xf0 lookup main", 4),
        ({"fwmark": "16", "fwmask": 255}, "from all fwmark 0x10/0xff lookup main", 4),
        ({"src": "0.0.0.0/0", "action": "blackhole"}, "from all blackhole", 4),
    ],
)
def test_rules(arguments: dict[str, Any], text: str, family: int) -> None:
    rule = Rule.build(**arguments)
    assert str(rule) == text
    assert repr(rule) == (f"<Rule {text}>" if family == 4 else f"<Rule {text} (IPv6)>")
    assert rule.family == family
    assert pickle.loads(pickle.dumps(rule)) == rule


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"src": "10.0.0.0/8", "dst": "fd00::/64"}, "dst 'fd00::/64' is IPv6, but src '10.0.0.0/8' is IPv4"),
        ({"src": "10.0.0.1/8"}, "write '10.0.0.0/8'"),
        ({"src": "all"}, "leave src= out"),
        ({"fwmark": -1}, "fwmark -1 is out of range"),
        ({"fwmark": "mark"}, "fwmark 'mark' is no number"),
        ({"fwmark": "1/mask"}, "no number"),
        ({"fwmark": "1/2", "fwmask": 3}, "give the mask once"),
        ({"fwmask": 3}, "a mask alone selects nothing"),
        ({"priority": 2**32}, "priority 4294967296 is out of range"),
        ({"table": 0}, "table 0 is no table"),
        ({"action": "goto"}, "action 'goto' cannot be added"),
        ({"iif": "a b"}, "iif 'a b' contains a space"),
        ({"invert": 1}, "invert 1 is an int"),
        ({"family": 5}, "family 5 is neither"),
    ],
)
def test_bad_rules(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        Rule.build(**arguments)


def test_neighbours() -> None:
    entry = Neighbour.build("fd00::2", mac="02-00-00-00-00-0A", dev=Link())
    assert str(entry) == "fd00::2 dev eth0 lladdr 02:00:00:00:00:0a permanent"
    assert entry.family == 6
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert entry == Neighbour(entry.address, entry.mac, "eth0", flags=frozenset({"router"}))
    assert str(Neighbour(ipaddress.ip_address("10.0.0.2"), None, "a", "failed")) == "10.0.0.2 dev a failed"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"address": "10.0.0.2", "mac": None, "dev": "a"}, "a permanent neighbour needs mac="),
        ({"address": "10.0.0.2", "mac": "02:00:00:00:00:01", "dev": None}, "dev is missing"),
        ({"address": "10.0.0.2", "mac": "01:00:00:00:00:01", "dev": "a"}, "multicast"),
        ({"address": "0.0.0.0", "mac": "02:00:00:00:00:01", "dev": "a"}, "unspecified"),
        ({"address": "224.0.0.1", "mac": "02:00:00:00:00:01", "dev": "a"}, "multicast"),
        ({"address": "10.0.0.2", "mac": "02:00:00:00:00:01", "dev": "a", "state": "happy"}, "state 'happy'"),
    ],
)
def test_bad_neighbours(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        Neighbour.build(**arguments)


def test_forwarding_entries() -> None:
    entry = FdbEntry.build("02:00:00:00:00:01", dev="veth0", vlan=10)
    assert str(entry) == "02:00:00:00:00:01 dev veth0 vlan 10 static"
    assert pickle.loads(pickle.dumps(entry)) == entry
    for bad, why in (
        ({"vlan": 4095}, "vlan 4095"),
        ({"state": "stale"}, "state 'stale'"),
        ({"dev": ""}, "dev ''"),
    ):
        with pytest.raises(SpecError, match=why):
            FdbEntry.build("02:00:00:00:00:01", **{"dev": "veth0", **bad})  # type: ignore[arg-type]


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=16),
    st.lists(st.integers(), max_size=2),
    st.builds(object),
    st.ip_addresses(),
    st.sampled_from(
        ["default", "10.0.0.0/8", "fd00::/64", "eth0", "blackhole", "unicast", 4, 6, [NextHop(dev="a")]]
    ),
)
ROUTE_FIELDS = (
    "dst",
    "via",
    "dev",
    "src",
    "metric",
    "scope",
    "proto",
    "mtu",
    "onlink",
    "type",
    "nexthops",
    "table",
    "family",
)
RULE_FIELDS = (
    "src",
    "dst",
    "iif",
    "oif",
    "fwmark",
    "fwmask",
    "priority",
    "table",
    "action",
    "family",
    "invert",
)


@given(st.fixed_dictionaries({"dst": JUNK}, optional=dict.fromkeys(ROUTE_FIELDS[1:], JUNK)))
def test_junk_routes(arguments: dict[str, Any]) -> None:
    try:
        route = Route.build(**arguments)
    except SpecError:
        return
    assert route.family in (4, 6)
    assert hash(route) == hash(pickle.loads(pickle.dumps(route)))
    assert str(route)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(RULE_FIELDS, JUNK)))
def test_junk_rules(arguments: dict[str, Any]) -> None:
    try:
        rule = Rule.build(**arguments)
    except SpecError:
        return
    assert hash(rule) == hash(pickle.loads(pickle.dumps(rule)))
    assert str(rule)
