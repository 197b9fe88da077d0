from __future__ import annotations

import ipaddress
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._spec import nat
from netkit._spec._nat_match import protocol_value
from netkit._spec.nat import NatSpec, dnat, masquerade, redirect, snat
from netkit.errors import SpecError


@pytest.mark.parametrize(
    ("spec", "text", "family"),
    [
        (masquerade(), "masquerade", None),
        (masquerade(oif="eth0"), 'oifname "eth0" masquerade', None),
        (
            masquerade(saddr="172.18.0.0/24", oif="!= br0"),
            'oifname != "br0" ip saddr 172.18.0.0/24 masquerade',
            4,
        ),
        (masquerade(saddr="!= fd00::/64", family=6), "ip6 saddr != fd00::/64 masquerade", 6),
        (masquerade(proto="tcp", to="1024-65535"), "meta l4proto tcp masquerade to :1024-65535", None),
        (masquerade(proto="icmpv6"), "meta l4proto icmpv6 masquerade", 6),
        (masquerade(proto=1), "meta l4proto icmp masquerade", 4),
        (masquerade(proto="!= 89"), "meta l4proto != 89 masquerade", None),
        (snat(to="192.0.2.1", oif="eth0"), 'oifname "eth0" snat to 192.0.2.1', 4),
        (snat(to="192.0.2.1-192.0.2.4"), "snat to 192.0.2.1-192.0.2.4", 4),
        (snat(to="192.0.2.1:1000-2000", proto="udp"), "meta l4proto udp snat to 192.0.2.1:1000-2000", 4),
        (snat(to="fd00::1-fd00::4"), "snat to fd00::1-fd00::4", 6),
        (snat(to=0xC0000201), "snat to 192.0.2.1", 4),
        (snat(to="192.0.2.1-192.0.2.1"), "snat to 192.0.2.1", 4),
        (dnat(proto="tcp", dport=80, to="172.18.0.2:80"), "tcp dport 80 dnat to 172.18.0.2:80", 4),
        (dnat(proto="tcp", dport="80", to="[fd00::2]:80"), "tcp dport 80 dnat to [fd00::2]:80", 6),
        (dnat(to="[fd00::2]"), "dnat to fd00::2", 6),
        (dnat(to="fd00::2"), "dnat to fd00::2", 6),
        (dnat(to=ipaddress.ip_address("172.18.0.2"), iif="eth0"), 'iifname "eth0" dnat to 172.18.0.2', 4),
        (dnat(to=("172.18.0.2", 80), proto="sctp"), "meta l4proto sctp dnat to 172.18.0.2:80", 4),
        (dnat(to=("fd00::2", "8000-8010"), proto="tcp"), "meta l4proto tcp dnat to [fd00::2]:8000-8010", 6),
        (dnat(to=("172.18.0.2", (80, 81)), proto=6), "meta l4proto tcp dnat to 172.18.0.2:80-81", 4),
        (
            dnat(to="[fd00::1]-[fd00::4]:80", proto="tcp"),
            "meta l4proto tcp dnat to [fd00::1]-[fd00::4]:80",
            6,
        ),
        (
            dnat(proto="TCP", sport="!= 1-9", dport=(1, 9), daddr="10.0.0.1", to="10.0.0.2"),
            "ip daddr 10.0.0.1/32 tcp sport != 1-9 tcp dport 1-9 dnat to 10.0.0.2",
            4,
        ),
        (redirect(proto="tcp", dport=80, to=8080), "tcp dport 80 redirect to :8080", None),
        (redirect(proto="udp", dport=53, to=":5353", local=True), "udp dport 53 redirect to :5353", None),
        (redirect(iif="br0"), 'iifname "br0" redirect', None),
    ],
)
def test_specs(spec: NatSpec, text: str, family: int | None) -> None:
    assert str(spec) == text
    assert spec.family == family
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert hash(again) == hash(spec)


def test_the_fields() -> None:
    spec = dnat(proto="tcp", dport="!= 80", to="172.18.0.2:8000-8010", local=True)
    assert (spec.kind, spec.hook, spec.local) == ("dnat", "prerouting", True)
    assert spec.dport is not None
    assert (spec.dport.value, spec.dport.negated) == ((80, 80), True)
    assert (spec.to, spec.to_high, spec.to_ports) == (ipaddress.ip_address("172.18.0.2"), None, (8000, 8010))
    assert spec.saddr is None
    assert masquerade().hook == snat(to="10.0.0.1").hook == "postrouting"
    assert spec != dnat(proto="tcp", dport=80, to="172.18.0.2:8000-8010", local=True)
    assert repr(spec) == "<NatSpec tcp dport != 80 dnat to 172.18.0.2:8000-8010 local>"


def test_options() -> None:
    out = masquerade(saddr="10.0.0.0/8", daddr=["!= 10.0.0.0/8", "!= 224.0.0.0/4"], fully_random=True)
    assert str(out) == (
        "ip saddr 10.0.0.0/8 ip daddr != 10.0.0.0/8 ip daddr != 224.0.0.0/4 masquerade fully-random"
    )
    assert out.outside == (("daddr", ipaddress.ip_network("224.0.0.0/4")),)
    prefix = snat(saddr="fd00::/48", to="2001:db8::/48", prefix=True)
    assert str(prefix) == "ip6 saddr fd00::/48 snat prefix to 2001:db8::/48"
    assert (prefix.family, prefix.to_high) == (6, ipaddress.ip_address("2001:db8:0:ffff:ffff:ffff:ffff:ffff"))
    for spec in (out, prefix):
        assert pickle.loads(pickle.dumps(spec)) == spec
    assert masquerade(random=True) != masquerade()


def test_spreading_is_a_rule_for_each_target() -> None:
    to = ["10.0.0.2:80", "10.0.0.3:81", "10.0.0.4-10.0.0.9:82"]
    spec = dnat(proto="tcp", dport=80, to=to, spread="inc")
    assert str(spec) == (
        "tcp dport 80 dnat to numgen inc mod 3 map "
        "{ 0 : 10.0.0.2:80, 1 : 10.0.0.3:81, 2 : 10.0.0.4-10.0.0.9:82 }"
    )
    assert [str(part) for part in spec.parts()] == [
        "tcp dport 80 numgen inc mod 3 0 dnat to 10.0.0.2:80",
        "tcp dport 80 numgen inc mod 2 0 dnat to 10.0.0.3:81",
        "tcp dport 80 dnat to 10.0.0.4-10.0.0.9:82",
    ]
    hashed = dnat(to=["fd00::2", "fd00::3"], spread="jhash")
    assert [part.share for part in hashed.parts()] == [(2, 0), (2, 1)]
    assert str(hashed) == "dnat to jhash ip6 saddr mod 2 map { 0 : fd00::2, 1 : fd00::3 }"
    assert masquerade().parts() == (masquerade(),)


BAD: list[tuple[Callable[..., NatSpec], dict[str, Any], str]] = [
    (masquerade, {"random": True, "fully_random": True}, "two ways to choose a port"),
    (masquerade, {"random": 1}, "random 1 is an int: give True or False"),
    (masquerade, {"daddr": ["!= 10.0.0.0/8", "224.0.0.0/4"]}, "daddr has '224.0.0.0/4' among several"),
    (masquerade, {"daddr": []}, "daddr"),
    (masquerade, {"daddr": ["!= 10.0.0.0/8", "!= fd00::/8"]}, "choose one family"),
    (snat, {"to": "192.0.2.1", "prefix": True}, "with prefix=True is no network: write snat\\(saddr="),
    (snat, {"to": None, "prefix": True}, "to None with prefix=True is no network"),
    (snat, {"to": "192.0.2.0/24", "prefix": 1}, "prefix 1 is an int"),
    (snat, {"to": "192.0.2.0/24"}, "to '192.0.2.0/24' is no IP address"),
    (snat, {"to": "192.0.2.0/24", "saddr": "10.0.0.0/25", "prefix": True}, "another of the same size"),
    (snat, {"to": "192.0.2.0/24", "saddr": "fd00::/24", "prefix": True}, "choose one family"),
    (dnat, {"to": "fd00::/64", "daddr": "fd01::/48", "prefix": True}, "to 'fd00::/64' is a /64, but daddr"),
    (dnat, {"to": ["10.0.0.1", "10.0.0.2"]}, "spread None with 2 targets: give 'inc' \\(in turn\\)"),
    (dnat, {"to": ["10.0.0.1", "10.0.0.2"], "spread": "rr"}, "spread 'rr' with 2 targets"),
    (dnat, {"to": "10.0.0.1", "spread": "inc"}, "spread='inc' with one target"),
    (dnat, {"to": ["10.0.0.1"], "spread": "inc"}, "to has 1 targets to spread over: give 2 to 64"),
    (dnat, {"to": ["10.0.0.1", "fd00::1"], "spread": "inc"}, "choose one family"),
    (dnat, {"to": ["10.0.0.1:80", "10.0.0.2"], "spread": "inc", "proto": "tcp"}, "all or none of them"),
    (dnat, {"to": "10.0.0.0/24", "prefix": True, "spread": "inc"}, "spread='inc' with prefix=True"),
    (masquerade, {"saddr": "fe80::1%eth0"}, "saddr 'fe80::1%eth0' names a device: write 'fe80::1'$"),
    (masquerade, {"proto": ["tcp", "udp"]}, "is a list: give a name or a number, one for each rule"),
    (masquerade, {"iif": "eth0"}, "iif= with masquerade: .* use oif="),
    (snat, {"iif": "eth0", "to": "10.0.0.1"}, "iif= with snat: .* use oif="),
    (dnat, {"oif": "eth0", "to": "10.0.0.1"}, "oif= with dnat: .* use iif="),
    (redirect, {"oif": "eth0"}, "oif= with redirect: .* use iif="),
    (dnat, {"iif": "eth0", "to": "10.0.0.1", "local": True}, "iif= with local=True"),
    (dnat, {"to": "10.0.0.1", "local": 1}, "local 1 is an int"),
    (dnat, {}, "dnat without a target: give to='ADDRESS'.* redirect"),
    (snat, {}, "snat without a target: .* masquerade"),
    (dnat, {"to": ":80", "proto": "tcp"}, "to ':80' has no address; redirect"),
    (dnat, {"to": 80, "proto": "tcp"}, "to 80 has no address; redirect"),
    (dnat, {"to": ""}, "to '' is no IP address"),
    (dnat, {"to": "10.0.0.1:"}, "to '10.0.0.1:': port ''"),
    (dnat, {"to": "10.0.0.1:0", "proto": "tcp"}, "to '10.0.0.1:0': port 0 is out of range"),
    (dnat, {"to": "10.0.0.1:http", "proto": "tcp"}, "to '10.0.0.1:http': port 'http' is not a number"),
    (dnat, {"to": "10.0.0.1/32"}, "to '10.0.0.1/32' is no IP address: write '10.0.0.1'"),
    (dnat, {"to": "[10.0.0.1]:80", "proto": "tcp"}, "brackets, which are for IPv6: write '10.0.0.1'"),
    (dnat, {"to": "[fd00::1"}, "no target: write"),
    (dnat, {"to": "[fd00::1]80"}, "no target: write"),
    (dnat, {"to": "0.0.0.0"}, "unspecified"),
    (dnat, {"to": ("10.0.0.1",)}, "give \\(address, port\\)"),
    (dnat, {"to": ("10.0.0.1", True), "proto": "tcp"}, "port True is a bool"),
    (dnat, {"to": True}, "to True has no address"),
    (dnat, {"to": 1.5}, "to 1.5 is a float"),
    (snat, {"to": "10.0.0.4-10.0.0.1"}, "runs backwards: write '10.0.0.1-10.0.0.4'"),
    (snat, {"to": "10.0.0.4-fd00::1"}, "mixes IPv4 and IPv6"),
    (
        dnat,
        {"to": "10.0.0.1:80", "dport": 80},
        "dport and a port in to with no proto: ports without a protocol",
    ),
    (masquerade, {"sport": 80}, "sport with no proto: ports without a protocol that has ports"),
    (masquerade, {"sport": 80, "proto": "icmp"}, "with proto 'icmp': ports without"),
    (masquerade, {"sport": 80, "proto": "!= tcp"}, "with proto '!= tcp': ports without"),
    (redirect, {"to": 8080}, "a port in to with no proto"),
    (masquerade, {"proto": "carrier-pigeon"}, "proto 'carrier-pigeon' is unknown"),
    (masquerade, {"proto": 256}, "proto 256 is out of range"),
    (masquerade, {"proto": True}, "proto True is a bool"),
    (masquerade, {"proto": "icmp", "saddr": "fd00::/64"}, "IPv6 addresses: use proto='icmpv6'"),
    (masquerade, {"proto": "icmpv6", "family": 4}, "IPv4 addresses: use proto='icmp'"),
    (dnat, {"to": "fd00::1", "daddr": "10.0.0.1"}, "to 'fd00::1' is IPv6, but daddr"),
    (snat, {"to": "10.0.0.1", "family": 6}, "to '10.0.0.1' is IPv4, but family=6 is IPv6"),
    (masquerade, {"saddr": "10.0.0.1/8"}, "write '10.0.0.0/8'"),
    (masquerade, {"oif": "!=br0"}, "negate with '!= ', as in '!= br0'"),
    (masquerade, {"oif": "! br0"}, "negate with '!= ', as in '!= br0'"),
    (masquerade, {"oif": "veth*"}, "would match every name that begins with 'veth'"),
    (masquerade, {"oif": "veth+"}, "would match every name"),
    (masquerade, {"oif": ""}, "oif '' is empty"),
    (masquerade, {"to": "10.0.0.1"}, "takes a port only; snat"),
    (redirect, {"to": "10.0.0.1:80", "proto": "tcp"}, "takes a port only; dnat"),
    (redirect, {"to": 70000, "proto": "tcp"}, "to 70000 is out of range"),
    (
        dnat,
        {"proto": "tcp", "dport": "1-3", "to": "10.0.0.1:1-2"},
        "dport 1-3 is 3 ports, but the target has 2",
    ),
    (dnat, {"proto": "tcp", "dport": 80.0, "to": "10.0.0.1"}, "dport 80.0 is a float"),
]


@pytest.mark.parametrize(("build", "arguments", "why"), BAD)
def test_bad_specs(build: Callable[..., NatSpec], arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        build(**arguments)


def test_an_unknown_keyword_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="source"):
        masquerade(source="10.0.0.0/8")  # type: ignore[call-arg]


def test_a_moved_range_is_one_spec_per_port() -> None:
    moved = dnat(proto="tcp", dport="9000-9002", to="10.0.0.2:100-102").one_to_one()
    assert [str(spec) for spec in moved] == [
        "tcp dport 9000 dnat to 10.0.0.2:100",
        "tcp dport 9001 dnat to 10.0.0.2:101",
        "tcp dport 9002 dnat to 10.0.0.2:102",
    ]
    assert moved[1] == dnat(proto="tcp", dport=9001, to="10.0.0.2:101")
    assert len(redirect(proto="tcp", dport="1-2", to="3-4").one_to_one()) == 2
    for whole in (
        dnat(proto="tcp", dport="9000-9002", to="10.0.0.2:9000-9002"),
        dnat(proto="tcp", dport="9000-9002", to="10.0.0.2:80"),
        dnat(proto="tcp", dport=80, to="10.0.0.2:8000-8010"),
        dnat(proto="tcp", dport="9000-9002", to="10.0.0.2"),
        masquerade(proto="tcp", dport="1-2", to="3-4"),
    ):
        assert whole.one_to_one() == (whole,)


def test_protocols_have_numbers() -> None:
    for name, number in (("tcp", 6), ("icmpv6", 58), ("89", 89)):
        assert protocol_value(name) == number
    spec = masquerade(proto="ipv6-icmp")
    assert spec.proto is not None
    assert spec.proto.value == "icmpv6"


HOSTS = st.ip_addresses().filter(lambda address: not address.is_multicast and not address.is_unspecified)
PORTS = st.integers(1, 65535)


@given(HOSTS, st.tuples(PORTS, PORTS))
def test_targets_round_trip(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, ports: tuple[int, int]
) -> None:
    span = (min(ports), max(ports))
    spec = dnat(proto="tcp", to=(address, span))
    text = str(spec).partition(" to ")[2]
    assert dnat(proto="tcp", to=text) == spec
    assert (spec.to, spec.to_ports) == (address, span)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=16),
    st.text(alphabet="0123456789abcdef.:/-%[]!= ", max_size=20),
    st.tuples(st.text(max_size=5), st.integers()),
    st.lists(st.integers(), max_size=2),
    st.builds(object),
    st.ip_addresses(),
    st.sampled_from(["10.0.0.0/8", "!= fd00::/64", "eth0", "!= br0", "tcp", "udp", 80, "1-9", 4, 6, True]),
)
FIELDS = {
    "masquerade": ("saddr", "daddr", "oif", "iif", "proto", "sport", "dport", "to", "family"),
    "snat": ("saddr", "daddr", "oif", "iif", "proto", "sport", "dport", "to", "family"),
    "dnat": ("saddr", "daddr", "oif", "iif", "proto", "sport", "dport", "to", "local", "family"),
    "redirect": ("saddr", "daddr", "oif", "iif", "proto", "sport", "dport", "to", "local", "family"),
}


@given(st.data(), st.sampled_from(sorted(FIELDS)))
def test_junk_is_only_ever_a_spec_error(data: st.DataObject, kind: str) -> None:
    arguments = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS[kind], JUNK)))
    try:
        spec = getattr(nat, kind)(**arguments)
    except SpecError:
        return
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert str(spec)
