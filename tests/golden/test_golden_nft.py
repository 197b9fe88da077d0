"""A rule of ours is byte for byte the rule that nft(8) compiles from the text a person would write."""

from __future__ import annotations

import json
import re
import socket
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netkit._nat.nftables_compile import CHAINS, compiled
from netkit._nat.nftables_text import rule_words
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.socket import NetlinkSocket
from netkit._spec.nat import NatSpec, dnat, masquerade, redirect, snat
from netkit.errors import ProtocolError
from tests.harness.nftables import netfilter, sockets
from tests.harness.patience import LONG
from tests.harness.tools import needs

__all__ = ["netfilter", "sockets"]  # the fixtures

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.capable,
    needs("nft"),
]

# What is asked of netkit, and the same in nft's words; a counter stands before each action.
RULES: list[tuple[NatSpec, str]] = [
    (masquerade(saddr="172.18.0.0/24", oif="enp1s0"), 'ip saddr 172.18.0.0/24 oifname "enp1s0" masquerade'),
    (masquerade(), "masquerade"),
    (masquerade(oif="!= br0"), 'oifname != "br0" masquerade'),
    (masquerade(family=4), "meta nfproto ipv4 masquerade"),
    (
        masquerade(family=6, proto="tcp", to="1024-65535"),
        "meta nfproto ipv6 meta l4proto tcp masquerade to :1024-65535",
    ),
    (masquerade(proto="udp", to=4000), "meta l4proto udp masquerade to :4000"),
    (masquerade(proto="icmp"), "meta l4proto icmp masquerade"),
    (masquerade(proto="icmpv6"), "meta l4proto ipv6-icmp masquerade"),
    (masquerade(proto="!= tcp"), "meta l4proto != tcp masquerade"),
    (masquerade(proto=99), "meta l4proto 99 masquerade"),
    (
        masquerade(saddr="10.0.0.0/8", daddr="!= 10.0.0.0/8"),
        "ip saddr 10.0.0.0/8 ip daddr != 10.0.0.0/8 masquerade",
    ),
    (masquerade(saddr="10.0.16.0/20"), "ip saddr 10.0.16.0/20 masquerade"),
    (masquerade(saddr="!= 10.0.16.0/21"), "ip saddr != 10.0.16.0/21 masquerade"),
    (masquerade(saddr="10.0.0.1", daddr="10.0.0.2"), "ip saddr 10.0.0.1 ip daddr 10.0.0.2 masquerade"),
    (masquerade(saddr="128.0.0.0/1"), "ip saddr 128.0.0.0/1 masquerade"),
    (masquerade(daddr="0.0.0.0/0"), "ip daddr 0.0.0.0/0 masquerade"),
    (
        masquerade(saddr="fd00::/64", oif="a-15-byte-name0"),
        'ip6 saddr fd00::/64 oifname "a-15-byte-name0" masquerade',
    ),
    (
        masquerade(saddr="fd00::/61", daddr="!= fd00::/61"),
        "ip6 saddr fd00::/61 ip6 daddr != fd00::/61 masquerade",
    ),
    (masquerade(saddr="fd00::1", daddr="::/0"), "ip6 saddr fd00::1 ip6 daddr ::/0 masquerade"),
    (snat(to="192.0.2.1"), "snat ip to 192.0.2.1"),
    (
        snat(saddr="10.0.0.0/8", to="192.0.2.1-192.0.2.4"),
        "ip saddr 10.0.0.0/8 snat ip to 192.0.2.1-192.0.2.4",
    ),
    (snat(proto="tcp", to="192.0.2.1:1024-2047"), "meta l4proto tcp snat ip to 192.0.2.1:1024-2047"),
    (
        snat(proto="udp", oif="eth0", dport=53, to="192.0.2.1-192.0.2.4:1024-2047"),
        'oifname "eth0" udp dport 53 snat ip to 192.0.2.1-192.0.2.4:1024-2047',
    ),
    (snat(saddr="fd00::/8", to="2001:db8::1"), "ip6 saddr fd00::/8 snat ip6 to 2001:db8::1"),
    (
        snat(proto="sctp", sport="!= 5000-6000", to="[2001:db8::1]:99"),
        "sctp sport != 5000-6000 snat ip6 to [2001:db8::1]:99",
    ),
    (dnat(proto="tcp", dport=80, to="172.18.0.2:80"), "tcp dport 80 dnat ip to 172.18.0.2:80"),
    (dnat(proto="udp", dport="80-90", to="172.18.0.2:80-90"), "udp dport 80-90 dnat ip to 172.18.0.2:80-90"),
    (dnat(proto="tcp", dport="!= 22", to="172.18.0.2"), "tcp dport != 22 dnat ip to 172.18.0.2"),
    (dnat(proto="tcp", sport=1, dport=2, to="172.18.0.2"), "tcp sport 1 tcp dport 2 dnat ip to 172.18.0.2"),
    (
        dnat(iif="eth0", daddr="192.0.2.1", to="172.18.0.2"),
        'iifname "eth0" ip daddr 192.0.2.1 dnat ip to 172.18.0.2',
    ),
    (dnat(proto="icmp", to="172.18.0.2"), "meta l4proto icmp dnat ip to 172.18.0.2"),
    (
        dnat(iif="!= eth0", saddr="fd00::/9", proto="tcp", sport=7, dport="8-9", to="[fd00::2]-[fd00::9]:80"),
        'iifname != "eth0" ip6 saddr fd00::/9 tcp sport 7 tcp dport 8-9 dnat ip6 to [fd00::2]-[fd00::9]:80',
    ),
    (redirect(proto="tcp", dport=80, to=8080), "tcp dport 80 redirect to :8080"),
    (redirect(proto="tcp", dport=80, to="8080-8090"), "tcp dport 80 redirect to :8080-8090"),
    (redirect(daddr="192.0.2.1"), "ip daddr 192.0.2.1 redirect"),
    (redirect(family=6), "meta nfproto ipv6 redirect"),
    (masquerade(random=True), "masquerade random"),
    (masquerade(fully_random=True, oif="eth0"), 'oifname "eth0" masquerade fully-random'),
    (
        masquerade(proto="udp", to="4000-5000", random=True),
        "meta l4proto udp masquerade to :4000-5000 random",
    ),
    (
        masquerade(saddr="10.0.0.0/8", daddr=["!= 10.0.0.0/8", "!= 224.0.0.0/4"]),
        "ip saddr 10.0.0.0/8 ip daddr != 10.0.0.0/8 ip daddr != 224.0.0.0/4 masquerade",
    ),
    (
        masquerade(saddr=["!= fd00::/64", "!= fd01::/64"], daddr=["!= ff00::/8"]),
        "ip6 saddr != fd00::/64 ip6 saddr != fd01::/64 ip6 daddr != ff00::/8 masquerade",
    ),
    (
        snat(saddr="10.0.0.0/8", to="192.0.2.1-192.0.2.4", persistent=True),
        "ip saddr 10.0.0.0/8 snat ip to 192.0.2.1-192.0.2.4 persistent",
    ),
    (
        snat(proto="tcp", to="192.0.2.1:1024-2047", persistent=True, fully_random=True),
        "meta l4proto tcp snat ip to 192.0.2.1:1024-2047 fully-random,persistent",
    ),
    (
        snat(saddr="10.0.0.0/24", to="192.0.2.0/24", prefix=True),
        "ip saddr 10.0.0.0/24 snat ip prefix to 192.0.2.0/24",
    ),
    (
        snat(saddr="fd00::/48", to="2001:db8::/48", prefix=True, oif="eth0"),
        'ip6 saddr fd00::/48 oifname "eth0" snat ip6 prefix to 2001:db8::/48',
    ),
    (
        dnat(daddr="192.0.2.128/25", to="10.0.0.128/25", prefix=True),
        "ip daddr 192.0.2.128/25 dnat ip prefix to 10.0.0.128/25",
    ),
    (
        dnat(proto="tcp", dport=81, to="10.0.0.2-10.0.0.5:10-20", random=True, persistent=True),
        "tcp dport 81 dnat ip to 10.0.0.2-10.0.0.5:10-20 random,persistent",
    ),
    (redirect(proto="tcp", dport=81, to="82-90", random=True), "tcp dport 81 redirect to :82-90 random"),
]


def in_nft_words(text: str) -> str:
    """With the counter that each rule of ours has before its action."""
    return re.sub(r"(masquerade|snat|dnat|redirect)", r"counter \1", text, count=1)


def add_with_netkit(
    netfilter: NetlinkSocket, table: str, specs: list[NatSpec], family: int = NFPROTO_INET
) -> None:
    requests = [nft.new_table(family, table, owner=True, exclusive=True)]
    requests += [nft.new_nat_chain(family, table, chain, *place) for chain, place in CHAINS.items()]
    for spec in specs:
        for _, chain, content in compiled(spec, (family,)):
            requests.append(nft.new_rule(family, table, chain, content, b"", f"add '{spec}'"))
    netfilter.transact(nft.transaction(requests))


def run_nft(*words: str, script: str | None = None) -> str:
    done = subprocess.run(["nft", *words], input=script, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, f"nft {' '.join(words)}: {done.stderr}\n{script or ''}"
    return done.stdout


def kernel_expressions(
    netfilter: NetlinkSocket, table: str, family: int = NFPROTO_INET
) -> list[tuple[str, bytes]]:
    """Chain and NFTA_RULE_EXPRESSIONS of each rule of a table."""
    rules = nft.parse_rules(netfilter.dump(nft.dump_rules(family, table)))
    return [(rule.chain, rule.expressions) for rule in rules]


def readable(expressions: bytes) -> str:
    """For the message of a failing comparison."""
    rule = nft.Rule(0, "", "", 0, expressions, b"")
    return "\n".join(f"{name} {values}" for name, values in rule.parsed())


def assert_same(ours: list[tuple[str, bytes]], nfts: list[tuple[str, bytes]]) -> None:
    assert len(ours) == len(nfts) > 0
    for (chain, mine), (other_chain, other) in zip(ours, nfts, strict=True):
        assert (chain, readable(mine)) == (other_chain, readable(other))
        assert mine == other


@pytest.mark.parametrize(("spec", "text"), RULES, ids=[text for _, text in RULES])
def test_a_rule_is_what_nft_compiles(netfilter: NetlinkSocket, spec: NatSpec, text: str) -> None:
    chain = spec.hook
    kind = f"type nat hook {chain} priority {CHAINS[chain][1]};"
    add_with_netkit(netfilter, "ours", [spec])
    run_nft("-f", "-", script=f"table inet theirs {{ chain {chain} {{ {kind} {in_nft_words(text)}\n }}\n }}")
    try:
        assert_same(kernel_expressions(netfilter, "ours"), kernel_expressions(netfilter, "theirs"))
        listed = run_nft("list", "chain", "inet", "ours", chain)
    finally:
        run_nft("delete", "table", "inet", "theirs")
    assert listed.splitlines()[-3].strip() == in_nft_words(text).replace(
        "counter", "counter packets 0 bytes 0"
    )


# What is spread over several targets is a rule for each.
SPREADS: list[tuple[NatSpec, list[str]]] = [
    (
        dnat(proto="tcp", dport=80, to=["10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"], spread="inc"),
        [
            "tcp dport 80 numgen inc mod 3 0 dnat ip to 10.0.0.2:80",
            "tcp dport 80 numgen inc mod 2 0 dnat ip to 10.0.0.3:80",
            "tcp dport 80 dnat ip to 10.0.0.4:80",
        ],
    ),
    (
        dnat(daddr="fd00::9", to=["fd00::2", "fd00::3"], spread="random", persistent=True),
        [
            "ip6 daddr fd00::9 numgen random mod 2 0 dnat ip6 to fd00::2 persistent",
            "ip6 daddr fd00::9 dnat ip6 to fd00::3 persistent",
        ],
    ),
    (
        dnat(proto="udp", dport=53, to=["10.0.0.2:53", "10.0.0.3:53"], spread="jhash"),
        [
            "udp dport 53 jhash ip saddr mod 2 seed 0x6e65746b 0 dnat ip to 10.0.0.2:53",
            "udp dport 53 jhash ip saddr mod 2 seed 0x6e65746b 1 dnat ip to 10.0.0.3:53",
        ],
    ),
    (
        dnat(daddr="fd00::9", to=["fd00::2", "fd00::3"], spread="jhash"),
        [
            "ip6 daddr fd00::9 jhash ip6 saddr mod 2 seed 0x6e65746b 0 dnat ip6 to fd00::2",
            "ip6 daddr fd00::9 jhash ip6 saddr mod 2 seed 0x6e65746b 1 dnat ip6 to fd00::3",
        ],
    ),
]


@pytest.mark.parametrize(("spec", "texts"), SPREADS, ids=[str(spec) for spec, _ in SPREADS])
def test_a_spread_is_what_nft_compiles(netfilter: NetlinkSocket, spec: NatSpec, texts: list[str]) -> None:
    rules = "\n".join([in_nft_words(text) for text in texts])
    kind = f"type nat hook prerouting priority {CHAINS['prerouting'][1]};"
    add_with_netkit(netfilter, "ours", [spec])
    run_nft("-f", "-", script=f"table inet theirs {{ chain prerouting {{ {kind}\n {rules}\n }}\n }}")
    try:
        assert_same(kernel_expressions(netfilter, "ours"), kernel_expressions(netfilter, "theirs"))
    finally:
        run_nft("delete", "table", "inet", "theirs")


@pytest.mark.parametrize(("family", "word"), [(NFPROTO_IPV4, "ip"), (NFPROTO_IPV6, "ip6")])
def test_tables_of_one_family_need_no_word_of_it(netfilter: NetlinkSocket, family: int, word: str) -> None:
    """What a kernel without inet tables gets."""
    version = 4 if family == NFPROTO_IPV4 else 6
    fitting = [(spec, text) for spec, text in RULES if spec.family in (None, version)]
    script = ["add table theirs"]
    for chain, (_, priority) in CHAINS.items():
        script.append(f"add chain theirs {chain} {{ type nat hook {chain} priority {priority}; }}")
    for spec, text in fitting:
        plain = re.sub(r"meta nfproto ipv[46] ", "", text).replace(f"nat {word} ", "nat ")
        script.append(f"add rule theirs {spec.hook} {in_nft_words(plain)}")
    add_with_netkit(netfilter, "ours", [spec for spec, _ in fitting], family)
    run_nft("-f", "-", script="\n".join(script).replace(" theirs", f" {word} theirs"))
    try:
        assert_same(
            kernel_expressions(netfilter, "ours", family), kernel_expressions(netfilter, "theirs", family)
        )
    finally:
        run_nft("delete", "table", word, "theirs")


def test_json_says_what_was_meant(netfilter: NetlinkSocket) -> None:
    add_with_netkit(netfilter, "ours", [dnat(proto="tcp", dport="80-81", to="172.18.0.2:80-81")])
    items = json.loads(run_nft("-j", "list", "table", "inet", "ours"))["nftables"]
    (table,) = [item["table"] for item in items if "table" in item]
    chains = {item["chain"]["name"]: item["chain"] for item in items if "chain" in item}
    (rule,) = [item["rule"] for item in items if "rule" in item]
    assert (table["family"], table["name"]) == ("inet", "ours")
    assert {
        name: (chain["hook"], chain["prio"], chain["type"], chain["policy"]) for name, chain in chains.items()
    } == {
        "prerouting": ("prerouting", -100, "nat", "accept"),
        "output": ("output", -100, "nat", "accept"),
        "postrouting": ("postrouting", 100, "nat", "accept"),
    }
    match, counter, action = rule["expr"]
    assert match["match"] == {
        "op": "==",
        "left": {"payload": {"protocol": "tcp", "field": "dport"}},
        "right": {"range": [80, 81]},
    }
    assert counter == {"counter": {"packets": 0, "bytes": 0}}
    assert action == {"dnat": {"family": "ip", "addr": "172.18.0.2", "port": {"range": [80, 81]}}}


# -- any rule, through nft's own printer and parser ------------------------------------

NAMES = st.text("abcXYZ019._-:@+", min_size=1, max_size=15).filter(
    lambda name: name not in (".", "..") and name[-1] not in "*+" and ":" not in name
)
PORT_SET = st.sets(st.integers(1, 65535), min_size=1, max_size=2)
PORT = PORT_SET.map(sorted).map(lambda ends: "-".join(map(str, ends)))
PROTOCOLS = st.sampled_from(["tcp", "udp", "sctp"])


def maybe_negated(values: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.none() | st.tuples(st.sampled_from(["", "!= "]), values).map("".join)


@st.composite
def networks(draw: st.DrawFn, version: int) -> str:
    width = 32 if version == 4 else 128
    prefix = draw(st.integers(0, width) | st.sampled_from([width, width // 2]))
    number = draw(st.integers(0, 2**width - 1)) >> (width - prefix) << (width - prefix)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return f"{socket.inet_ntop(family, number.to_bytes(width // 8, 'big'))}/{prefix}"


@st.composite
def targets(draw: st.DrawFn, version: int, with_ports: bool) -> str:
    # From an odd address no range is a prefix: nft prints those so, and cannot read them with a port.
    low = 2 * draw(st.integers(0, 100)) + 1
    high = draw(st.integers(low + 1, 250))
    ends = [f"192.0.2.{end}" if version == 4 else f"2001:db8::{end:x}" for end in (low, high)]
    if not with_ports:
        return draw(st.sampled_from([ends[0], "-".join(ends)]))
    ends = ends if version == 4 else [f"[{end}]" for end in ends]
    ports = draw(PORT)
    return draw(st.sampled_from([ends[0], "-".join(ends)])) + f":{ports}"


def is_one_negated(port: str | None) -> bool:
    return port is not None and port.startswith("!") and "-" not in port


@st.composite
def specs(draw: st.DrawFn) -> NatSpec:
    """Any spec of one rule: what `one_to_one` splits is left to it."""
    version = draw(st.sampled_from([4, 6]))
    addresses = maybe_negated(networks(version))
    saddr, daddr, device = draw(addresses), draw(addresses), draw(maybe_negated(NAMES))
    proto = draw(st.none() | PROTOCOLS)
    sport = draw(maybe_negated(PORT)) if proto else None
    dport = draw(maybe_negated(PORT)) if proto else None
    if is_one_negated(sport) and is_one_negated(dport):
        dport = None  # nft 1.0.6 makes one comparison of the two, which means something else
    to_ports = draw(st.none() | PORT) if proto else None
    family = draw(st.sampled_from([None, version]))
    kind = draw(st.sampled_from(["masquerade", "snat", "dnat", "redirect"]))
    if kind == "masquerade":
        return masquerade(
            saddr=saddr,
            daddr=daddr,
            oif=device,
            proto=proto,
            sport=sport,
            dport=dport,
            to=to_ports,
            family=family,
        )
    if kind == "snat":
        to = draw(targets(version, proto is not None))
        return snat(saddr=saddr, daddr=daddr, oif=device, proto=proto, sport=sport, dport=dport, to=to)
    if to_ports is not None and "-" in to_ports:
        dport = None  # a range to a range is one rule per port
    if kind == "dnat":
        to = draw(targets(version, False))
        target = (to, to_ports) if to_ports is not None else to
        return dnat(saddr=saddr, daddr=daddr, iif=device, proto=proto, sport=sport, dport=dport, to=target)
    return redirect(
        saddr=saddr,
        daddr=daddr,
        iif=device,
        proto=proto,
        sport=sport,
        dport=dport,
        to=to_ports,
        family=family,
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(specs(), min_size=1, max_size=8))
def test_nft_reads_back_what_netkit_wrote(netfilter: NetlinkSocket, chosen: list[NatSpec]) -> None:
    add_with_netkit(netfilter, "ours", chosen)
    try:
        listed = run_nft("-n", "list", "table", "inet", "ours")
        script = listed.replace("table inet ours", "table inet theirs").replace("flags owner", "")
        run_nft("-f", "-", script=script)
        try:
            assert_same(kernel_expressions(netfilter, "ours"), kernel_expressions(netfilter, "theirs"))
        finally:
            run_nft("delete", "table", "inet", "theirs")
    finally:
        netfilter.transact(nft.transaction([nft.delete_table(NFPROTO_INET, "ours")]))


@pytest.mark.parametrize(("spec", "text"), RULES, ids=[text for _, text in RULES])
def test_a_rule_is_told_as_nft_prints_it(netfilter: NetlinkSocket, spec: NatSpec, text: str) -> None:
    add_with_netkit(netfilter, "ours", [spec])
    (rule,) = nft.parse_rules(netfilter.dump(nft.dump_rules(NFPROTO_INET, "ours")))
    assert rule_words(rule) == re.sub(r"nat ip6? ", "nat ", text)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_told_somehow(data: bytes) -> None:
    try:
        assert isinstance(rule_words(nft.Rule(2, "t", "c", 1, data, b"")), str)
    except ProtocolError:
        pass
