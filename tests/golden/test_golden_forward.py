"""Rules of the hook `forward` are byte for byte those that nft(8) and iptables-nft compile."""

from __future__ import annotations

import subprocess

import pytest

from netkit._nat.forward_compile import forward_expressions, forward_iptables, forward_rules
from netkit._nat.iptables_rules import rule_text
from netkit._netlink import nft
from netkit._netlink.nft import HOOK_FORWARD, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.socket import NetlinkSocket
from netkit._spec.addresses import ip_network
from netkit._spec.forward import (
    ForwardSpec,
    forward_internal,
    forward_isolated,
    forward_outward,
    forward_published,
)
from tests.golden.test_golden_nft import assert_same, kernel_expressions, run_nft
from tests.harness.nftables import netfilter, sockets
from tests.harness.patience import LONG
from tests.harness.tools import needs

__all__ = ["netfilter", "sockets"]  # the fixture

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.capable,
    needs("nft"),
]

SPECS: list[tuple[ForwardSpec, list[str]]] = [
    (
        forward_internal("br0"),
        ['iifname "br0" oifname != "br0" counter drop', 'iifname != "br0" oifname "br0" counter drop'],
    ),
    (
        forward_isolated("br0"),
        [
            'iifname "br0" oifname != "br0" meta oifkind "bridge" ct status & dnat == 0 counter drop',
            'iifname != "br0" oifname "br0" meta iifkind "bridge" ct status & dnat == 0 counter drop',
        ],
    ),
    (
        forward_outward("br0"),
        ['iifname "br0" counter accept', 'oifname "br0" ct state established,related counter accept'],
    ),
    (
        forward_published([ip_network("172.18.0.2"), ip_network("fd18::/64")]),
        [
            "ip daddr 172.18.0.2 ct status dnat counter accept",
            "ip saddr 172.18.0.2 ct status dnat counter accept",
            "ip6 daddr fd18::/64 ct status dnat counter accept",
            "ip6 saddr fd18::/64 ct status dnat counter accept",
        ],
    ),
]
CHAIN = "{ type filter hook forward priority 0; }"


def add(netfilter: NetlinkSocket, table: str, contents: list[bytes], family: int = NFPROTO_INET) -> None:
    requests = [nft.new_table(family, table, owner=True, exclusive=True)]
    requests.append(nft.new_chain(family, table, "forward", hook=(HOOK_FORWARD, 0)))
    requests += [nft.new_rule(family, table, "forward", content, b"", "add a rule") for content in contents]
    netfilter.transact(nft.transaction(requests))


@pytest.mark.parametrize(("spec", "texts"), SPECS, ids=[str(spec) for spec, _ in SPECS])
def test_a_rule_is_what_nft_compiles(netfilter: NetlinkSocket, spec: ForwardSpec, texts: list[str]) -> None:
    add(netfilter, "ours", [content for _, _, content in forward_rules(spec, (NFPROTO_INET,))])
    script = "\n".join([f"add rule inet theirs forward {text}" for text in texts])
    run_nft("-f", "-", script=f"add table inet theirs\nadd chain inet theirs forward {CHAIN}\n{script}")
    try:
        assert_same(kernel_expressions(netfilter, "ours"), kernel_expressions(netfilter, "theirs"))
    finally:
        run_nft("delete", "table", "inet", "theirs")
    words = [text.replace("counter ", "") for text in texts]
    assert [str(line) for line in spec.lines] == [
        text.replace("172.18.0.2", "172.18.0.2/32") for text in words
    ]


@needs("iptables-nft")
@pytest.mark.parametrize("version", [4, 6])
def test_in_chains_of_iptables_nft_it_is_what_that_compiles(netfilter: NetlinkSocket, version: int) -> None:
    """Or it would refuse to show the table at all."""
    family, program = (NFPROTO_IPV4, "iptables-nft") if version == 4 else (NFPROTO_IPV6, "ip6tables-nft")
    network = "172.18.0.0/24" if version == 4 else "fd18::/64"
    word = "ip" if version == 4 else "ip6"
    for spec in (forward_published([ip_network(network)]), forward_outward("br0")):
        contents = [forward_expressions(line, family, for_iptables=True) for line in spec.lines]
        texts = [rule_text(rule) for rule in reversed(forward_iptables(spec)) if rule["family"] == version]
        try:
            for text in texts:
                subprocess.run([program, *text.split()], check=True, timeout=LONG)
            add(netfilter, "ours", contents, family)
            theirs = [content for _, content in kernel_expressions(netfilter, "filter", family)]
            ours = [content for _, content in kernel_expressions(netfilter, "ours", family)]
            assert_same([("", content) for content in ours], [("", content) for content in theirs])
        finally:
            run_nft("delete", "table", word, "filter")
            netfilter.transact(nft.transaction([nft.delete_table(family, "ours")]))
