"""iptables rules as text, as JSON-able values and as the kernel's bytes; no privilege needed."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._nat.iptables_decode import decode, header_rule
from netkit._nat.iptables_entry import canonical, counters, encode
from netkit._nat.iptables_layout import ENTRY
from netkit._nat.iptables_rules import command_text, rule_text, rules_for
from netkit._spec.nat import dnat, masquerade, redirect, snat

if TYPE_CHECKING:
    from netkit._nat.iptables_rules import Rule
    from netkit._spec.nat import NatSpec

TEXTS = [
    (
        masquerade(saddr="172.18.0.0/24", oif="enp1s0"),
        "-A POSTROUTING -s 172.18.0.0/24 -o enp1s0 -j MASQUERADE",
    ),
    (masquerade(), "-A POSTROUTING -j MASQUERADE"),
    (masquerade(saddr="10.0.0.1"), "-A POSTROUTING -s 10.0.0.1/32 -j MASQUERADE"),
    (masquerade(saddr="0.0.0.0/0"), "-A POSTROUTING -j MASQUERADE"),
    (masquerade(daddr="!= 0.0.0.0/0"), "-A POSTROUTING ! -d 0.0.0.0/0 -j MASQUERADE"),
    (masquerade(proto="icmpv6"), "-A POSTROUTING -p ipv6-icmp -j MASQUERADE"),
    (
        masquerade(saddr="!= 10.0.0.0/8", oif="!= br0", proto="tcp", to="1024-2048"),
        "-A POSTROUTING ! -s 10.0.0.0/8 ! -o br0 -p tcp -j MASQUERADE --to-ports 1024-2048",
    ),
    (
        dnat(proto="tcp", dport=80, to="172.18.0.2:80"),
        "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80",
    ),
    (
        dnat(proto="tcp", dport=80, to="[fd00::2]:80"),
        "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00::2]:80",
    ),
    (dnat(daddr="fd00::1", to="fd00::2"), "-A PREROUTING -d fd00::1/128 -j DNAT --to-destination fd00::2"),
    (
        dnat(proto="udp", sport="!= 53", dport="9000-9002", to="172.18.0.2:100-102"),
        "-A PREROUTING -p udp -m udp ! --sport 53 --dport 9000:9002"
        " -j DNAT --to-destination 172.18.0.2:100-102/9000",
    ),
    (
        dnat(proto="tcp", dport="8000-8010", to="172.18.0.2:8000-8010"),
        "-A PREROUTING -p tcp -m tcp --dport 8000:8010 -j DNAT --to-destination 172.18.0.2:8000-8010",
    ),
    (
        snat(saddr="10.0.0.0/8", to="192.0.2.1-192.0.2.4"),
        "-A POSTROUTING -s 10.0.0.0/8 -j SNAT --to-source 192.0.2.1-192.0.2.4",
    ),
    (
        redirect(proto="tcp", iif="eth0", dport=80, to=8080),
        "-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080",
    ),
]


# What is printed with options of NatSpec's, checked with iptables-legacy 1.8.9.
OPTIONS = [
    (
        masquerade(saddr="10.0.0.0/24", daddr=["!= 10.0.0.0/24", "!= 224.0.0.0/4"], fully_random=True),
        "-A POSTROUTING -s 10.0.0.0/24 ! -d 10.0.0.0/24 -m iprange ! --dst-range 224.0.0.0-239.255.255.255"
        " -j MASQUERADE --random-fully",
    ),
    (
        snat(to="192.0.2.1-192.0.2.4", persistent=True, random=True),
        "-A POSTROUTING -j SNAT --to-source 192.0.2.1-192.0.2.4 --random --persistent",
    ),
    (
        snat(saddr="fd00::/48", to="2001:db8::/48", prefix=True),
        "-A POSTROUTING -s fd00::/48 -j NETMAP --to 2001:db8::/48",
    ),
    (
        dnat(proto="tcp", dport=80, to=["10.0.0.2:80", "10.0.0.3:80"], spread="inc"),
        "-A PREROUTING -p tcp -m tcp --dport 80 -m statistic --mode nth --every 2 --packet 0"
        " -j DNAT --to-destination 10.0.0.2:80",
    ),
    (
        dnat(to=["10.0.0.2", "10.0.0.3", "10.0.0.4"], spread="random"),
        "-A PREROUTING -m statistic --mode random --probability 0.33333333349"
        " -j DNAT --to-destination 10.0.0.2",
    ),
]


@pytest.mark.parametrize(("spec", "text"), OPTIONS, ids=[text for _, text in OPTIONS])
def test_text_of_options(spec: NatSpec, text: str) -> None:
    rules = rules_for(spec)
    assert rule_text(rules[0]) == text
    for rule in rules:
        assert decode(encode(rule), rule["family"], "nat", rule["chain"]) == rule


@pytest.mark.parametrize(("spec", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_text_is_that_of_iptables(spec: NatSpec, text: str) -> None:
    rules = rules_for(spec)
    assert {rule_text(rule) for rule in rules} == {text}
    assert [rule["family"] for rule in rules] == ([spec.family] if spec.family else [4, 6])


def test_local_adds_output() -> None:
    spec = dnat(proto="tcp", dport=80, to="172.18.0.2", local=True)
    assert [rule["chain"] for rule in rules_for(spec)] == ["PREROUTING", "OUTPUT"]


def test_a_rule_of_no_family_is_one_of_each() -> None:
    assert [rule["family"] for rule in rules_for(masquerade())] == [4, 6]
    assert [rule["family"] for rule in rules_for(masquerade(), [4])] == [4]
    assert [rule["family"] for rule in rules_for(masquerade(family=6))] == [6]


def test_command_names_the_program_of_the_family() -> None:
    rule = rules_for(masquerade(oif="eth0", family=6))[0]
    assert command_text(rule) == "ip6tables-legacy -t nat -A POSTROUTING -o eth0 -j MASQUERADE"


_PROTOCOLS = Path("/etc/protocols")


@pytest.mark.skipif(not _PROTOCOLS.exists(), reason="needs Debian's netbase (no /etc/protocols)")
def test_number_of_a_protocol_is_shown_by_its_name() -> None:
    lines = _PROTOCOLS.read_text().splitlines()
    name = next(line.split()[0] for line in lines if line.split()[1:2] == ["112"])
    assert rule_text(rules_for(masquerade(proto=112))[0]) == f"-A POSTROUTING -p {name} -j MASQUERADE"


BYTES = {
    # linux/netfilter_ipv4/ip_tables.h on a 64-bit machine: ipt_entry is 112 bytes, ip6t_entry 168.
    (4, "MASQUERADE"): 112 + 56,
    (6, "MASQUERADE"): 168 + 72,
    (4, "DNAT"): 112 + 80,
    (6, "DNAT"): 168 + 80,
}


@pytest.mark.skipif(struct.calcsize("P") != 8, reason="sizes of a 64-bit kernel")
@pytest.mark.parametrize(("family", "target"), BYTES)
def test_sizes_are_the_kernels(family: int, target: str) -> None:
    to = {"to": "10.0.0.1" if family == 4 else "fd00::1"} if target == "DNAT" else {}
    rule: Any = {"family": family, "table": "nat", "chain": "C", "position": "append", "target": target, **to}
    assert len(encode(rule)) == BYTES[family, target]


ports = st.integers(1, 65535)


def ranges(separator: str) -> st.SearchStrategy[str]:
    pairs = st.tuples(ports, ports).map(sorted)
    return st.one_of(
        ports.map(str), pairs.filter(lambda p: p[0] < p[1]).map(lambda p: f"{p[0]}{separator}{p[1]}")
    )


def negated(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.sampled_from(["", "!"]), values).map("".join)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    family = draw(st.sampled_from([4, 6]))
    target = draw(st.sampled_from(["MASQUERADE", "SNAT", "DNAT", "REDIRECT"]))
    rule: Any = {"family": family, "table": "nat", "chain": "C", "position": "append", "target": target}
    networks = st.ip_addresses(v=family).map(lambda a: f"{a}/{a.max_prefixlen}")
    names = st.text("abcXYZ019.-_", min_size=1, max_size=15)
    optional = {
        "src": negated(networks),
        "dst": negated(networks),
        "in_interface": negated(names),
        "out_interface": negated(names),
    }
    protocol = draw(st.sampled_from(["", "tcp", "udp", "sctp", "!tcp", "112", "icmp"]))
    if protocol:
        rule["protocol"] = protocol
    if protocol in ("tcp", "udp", "sctp"):
        optional |= {"sport": negated(ranges(":")), "dport": negated(ranges(":")), "to_ports": ranges("-")}
    if target in ("SNAT", "DNAT"):
        rule["to"] = str(draw(st.ip_addresses(v=family)))
    ends = networks.map(lambda text: "-".join([text.split("/")[0]] * 2))
    outside = st.lists(ends, min_size=1, max_size=3).map(",".join)
    optional |= {"src_outside": outside, "dst_outside": outside}
    optional["share"] = st.sampled_from(["nth 2 0", "nth 3 2", "random 2", "random 3", "random 64"])
    optional["flags"] = st.sampled_from(["--random", "--random-fully --persistent"])
    optional["comment"] = st.sampled_from(["netkit-0123456789abcdef"])
    for field, values in optional.items():
        if draw(st.booleans()):
            rule[field] = draw(values)
    result: Rule = rule
    return result


@given(rules())
def test_bytes_and_back(rule: Rule) -> None:
    raw = encode(rule)
    assert canonical(raw, rule["family"]) == raw
    assert decode(raw, rule["family"], "nat", "C") == rule


@given(rules(), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(min_size=20, max_size=20))
def test_what_the_kernel_writes_does_not_make_another_rule(
    rule: Rule, packets: int, size: int, garbage: bytes
) -> None:
    raw, family = encode(rule), rule["family"]
    fields = list(ENTRY[family].unpack_from(raw))
    fields[-6], fields[-3:] = 7, [9, packets, size]
    # After a name's NUL libiptc leaves what its memory held.
    target_at = fields[-5]
    name_end = raw.index(b"\0", target_at + 2) + 1
    dirty = raw[:name_end] + garbage[: target_at + 31 - name_end] + raw[min(name_end + 20, target_at + 31) :]
    dirty = ENTRY[family].pack(*fields) + dirty[ENTRY[family].size :]
    assert len(dirty) == len(raw)
    assert canonical(dirty, family) == raw
    assert counters(dirty, family) == (packets, size)


@given(rules(), st.data())
def test_a_changed_byte_is_never_taken_for_the_same_rule(rule: Rule, data: st.DataObject) -> None:
    raw = bytearray(encode(rule))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    found = decode(bytes(raw), rule["family"], "nat", "C")
    if found is not None:
        assert encode(found) == canonical(bytes(raw), rule["family"])


@given(st.binary(min_size=168, max_size=400), st.sampled_from([4, 6]))
def test_hostile_bytes_are_no_rule(raw: bytes, family: int) -> None:
    found = decode(raw, family, "nat", "C")
    assert found is None or encode(found) == canonical(raw, family)


def test_header_of_a_foreign_rule_is_shown_whatever_its_mask() -> None:
    raw = bytearray(encode({**rules_for(masquerade(saddr="10.0.1.0/24"))[0]}))
    raw[8:12] = bytes([255, 0, 255, 0])
    rule = header_rule(bytes(raw), 4, "nat", "POSTROUTING")
    assert rule_text({**rule, "target": "X"}).startswith("-A POSTROUTING -s 10.0.1.0/255.0.255.0 -j X")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"src": "fd00::/64"}, "not an IPv4 network"),
        ({"src": "nonsense"}, "nonsense"),
        ({"out_interface": "a" * 16}, "longer than 15 bytes"),
        ({"dport": "80"}, "ports need protocol tcp, udp or sctp"),
        ({"dport": "80", "protocol": "!tcp"}, "ports need protocol"),
        ({"target": ""}, "no verdict, and no name of a chain"),
        ({"target": "N" * 29}, "no verdict, and no name of a chain"),
        ({"dst_type": "FAR"}, "none of UNICAST, LOCAL"),
        ({"ctstate": "NEW,OLD"}, "'OLD' is none of INVALID, NEW"),
        ({"target": "SNAT", "to": "fd00::1"}, "not of IPv4"),
        ({"to_ports": "1-2/3", "protocol": "tcp"}, "takes no port offset"),
        ({"protocol": "300"}, "not 1 to 255"),
    ],
)
def test_what_no_entry_can_say(change: dict[str, str], message: str) -> None:
    rule: Any = {**rules_for(masquerade())[0], **change}
    with pytest.raises(ValueError, match=message):
        encode(rule)
