"""A rule for a transparent proxy is what nft(8) compiles, and what iptables-legacy writes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from netkit import Namespace, NatRule
from netkit._nat.iptables_rules import rule_text, rules_for
from netkit._nat.nftables_compile import TPROXY, chain_request, compiled
from netkit._nat.nftables_text import rule_words
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.socket import NetlinkSocket
from netkit._spec.nat_tproxy import tproxy
from tests.golden.test_golden_nft import assert_same, kernel_expressions, run_nft
from tests.harness.nftables import netfilter, sockets
from tests.harness.patience import LONG
from tests.harness.tools import needs

__all__ = ["netfilter", "sockets"]
pytestmark = [pytest.mark.kernel, pytest.mark.capable]
WORDS = {NFPROTO_INET: "inet", NFPROTO_IPV4: "ip", NFPROTO_IPV6: "ip6"}
TRANSPARENT = "socket transparent 1 socket wildcard 0"
HELD = {None: "", 4: "meta nfproto ipv4", 6: "meta nfproto ipv6"}
MARKED = "meta mark set meta mark or 0x1000000 accept"

# What is asked of netkit; family of the table; the match, and the action, in nft's words.
RULES: list[tuple[dict[str, Any], int, str, str]] = [
    ({"dport": 80, "to": 3128}, NFPROTO_IPV4, "tcp dport 80", f"tproxy to :3128 {MARKED}"),
    ({"dport": 80, "to": ":3128"}, NFPROTO_IPV6, "tcp dport 80", f"tproxy to :3128 {MARKED}"),
    ({"dport": 80, "to": "3128"}, NFPROTO_INET, "tcp dport 80", f"tproxy to :3128 {MARKED}"),
    (
        {"iif": "eth0", "proto": "udp", "dport": "!= 53", "to": "127.0.0.1:5353"},
        NFPROTO_IPV4,
        'iifname "eth0" udp dport != 53',
        f"tproxy to 127.0.0.1:5353 {MARKED}",
    ),
    (
        {"daddr": "10.0.0.0/8", "dport": "80-90", "to": "127.0.0.1:5353"},
        NFPROTO_INET,
        "meta nfproto ipv4 ip daddr 10.0.0.0/8 tcp dport 80-90",
        f"tproxy ip to 127.0.0.1:5353 {MARKED}",
    ),
    (
        {"to": "[::1]:5353", "mark": 0x3},
        NFPROTO_IPV6,
        "meta l4proto tcp",
        "tproxy to [::1]:5353 meta mark set meta mark or 0x3 accept",
    ),
    (
        {"saddr": "fd00::/64", "to": "fd00::1"},
        NFPROTO_INET,
        "meta nfproto ipv6 ip6 saddr fd00::/64 meta l4proto tcp",
        f"tproxy ip6 to fd00::1 {MARKED}",
    ),
]


@needs("nft")
@pytest.mark.parametrize(("asked", "family", "match", "action"), RULES)
def test_a_rule_is_what_nft_compiles(
    netfilter: NetlinkSocket, asked: dict[str, Any], family: int, match: str, action: str
) -> None:
    spec, word = tproxy(**asked), WORDS[family]
    requests = [nft.new_table(family, "ours", owner=True), chain_request(family, "ours", TPROXY)]
    for _, chain, content in compiled(spec, (family,)):
        requests.append(nft.new_rule(family, "ours", chain, content, b"", f"add '{spec}'"))
    netfilter.transact(nft.transaction(requests))
    chain = f"chain {TPROXY} {{ type filter hook prerouting priority mangle; policy accept;"
    named = HELD[spec.family] if word == "inet" else ""
    held = f"{named} meta l4proto {asked.get('proto', 'tcp')} {TRANSPARENT}"
    mark = action[action.index("meta mark set") :]
    lines = [chain, f"{held} {mark}", f"{match} counter {action}", f"{match} drop"]
    script = f"table {word} theirs {{ " + "\n ".join(lines) + "\n }\n }"
    run_nft("-f", "-", script=script)
    try:
        assert_same(
            kernel_expressions(netfilter, "ours", family), kernel_expressions(netfilter, "theirs", family)
        )
        held, first, *_ = nft.parse_rules(netfilter.dump(nft.dump_rules(family, "ours")))
        assert f" {TRANSPARENT} meta mark set meta mark or " in f" {rule_words(held)}"
        # nft leaves out what follows from the rest, and so does what netkit tells.
        told = rule_words(first)
        assert told.endswith(action.replace("tproxy ip6 ", "tproxy ").replace("tproxy ip ", "tproxy "))
        assert str(spec) == told.removesuffix(" accept").replace("meta nfproto ipv6 ", "").replace(
            "meta nfproto ipv4 ", ""
        )
    finally:
        run_nft("delete", "table", word, "theirs")


@pytest.fixture
def box() -> Iterator[Namespace]:
    with Namespace() as box:
        yield box


@needs("iptables-legacy")
@pytest.mark.parametrize(
    "asked",
    [
        {"dport": 80, "to": 3128, "family": 4},
        {"dport": 80, "to": 3128, "family": 6},
        {"dport": 80, "to": "127.0.0.1:3128", "iif": "eth0"},
        {"proto": "udp", "dport": "53-54", "to": "[::1]:3128", "mark": 0x10},
        {"saddr": "10.0.0.0/8", "to": "127.0.0.1"},
    ],
)
def test_a_rule_is_what_iptables_writes(box: Namespace, asked: dict[str, Any]) -> None:
    rules = rules_for(tproxy(**asked))
    program = "iptables-legacy" if rules[0]["family"] == 4 else "ip6tables-legacy"
    with NatRule.tproxy(box, backend="iptables", **asked) as made:
        show = [program, "-w", "-t", "mangle", "-S", "PREROUTING"]
        listed = box.run(show, capture_output=True, text=True, check=True, timeout=LONG).stdout
        assert str(listed).splitlines()[1:] == [rule_text(rule) for rule in rules]
        assert " -m socket --transparent -j MARK --set-xmark " in rule_text(rules[0])
        for rule in rules:
            assert made.exists
            delete = [program, "-w", "-t", "mangle", *rule_text(rule).replace("-A", "-D", 1).split()]
            box.run(delete, check=True, timeout=LONG, stderr=subprocess.PIPE)
            assert not made.exists
            assert box.nat.ensure() == (made,)
            listed = box.run(show, capture_output=True, text=True, check=True, timeout=LONG).stdout
            assert str(listed).splitlines()[1:] == [rule_text(each) for each in rules]


def test_without_a_family_iptables_gets_both() -> None:
    assert [rule["family"] for rule in rules_for(tproxy(to=3128))] == [4, 4, 6, 6]
