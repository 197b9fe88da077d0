"""Bad NAT rules: clear errors before any system call, and nothing changes."""

from __future__ import annotations

import pytest

from netkit import NatRule, SpecError
from tests.unit.watched_lab import Case, Lab, lab, refusal

__all__ = ["lab"]  # the fixture

NAT: dict[str, Case] = {
    "dnat without a target": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport=80), ["dnat without a target", "to='ADDRESS"],
    ),
    "snat without a target": (lambda lab: NatRule.snat(lab.host, to=None), ["snat without a target"]),  # type: ignore[arg-type]
    "dnat to a port": (lambda lab: NatRule.dnat(lab.host, to=8080), ["8080", "redirect(to=PORT)"]),
    "dnat to :port": (lambda lab: NatRule.dnat(lab.host, to=":8080"), ["':8080'", "no address"]),
    "redirect to an address": (
        lambda lab: NatRule.redirect(lab.host, proto="tcp", dport=80, to="10.0.0.2"), ["dnat(to=...)"],
    ),
    "masquerade to an address": (
        lambda lab: NatRule.masquerade(lab.host, proto="tcp", to="10.0.0.2"), ["snat(to=...)"],
    ),
    "dport without proto": (
        lambda lab: NatRule.dnat(lab.host, dport=80, to="10.0.0.2"), ["dport", "proto='tcp'"],
    ),
    "sport without proto": (lambda lab: NatRule.masquerade(lab.host, sport=80), ["sport", "proto='tcp'"]),
    "port in to without proto": (
        lambda lab: NatRule.dnat(lab.host, to="10.0.0.2:80"), ["a port in to", "proto='tcp'"],
    ),
    "ports of icmp": (
        lambda lab: NatRule.dnat(lab.host, proto="icmp", dport=80, to="10.0.0.2"), ["'icmp'", "proto='tcp'"],
    ),
    "ports of what is not tcp": (
        lambda lab: NatRule.masquerade(lab.host, proto="!= tcp", dport=80), ["'!= tcp'"],
    ),
    "an unknown protocol": (lambda lab: NatRule.masquerade(lab.host, proto="tpc"), ["'tpc'", "tcp"]),
    "v4 to v6": (
        lambda lab: NatRule.dnat(lab.host, daddr="10.0.0.1", to="fd00::2"), ["choose one family"],
    ),
    "saddr v4, daddr v6": (
        lambda lab: NatRule.masquerade(lab.host, saddr="10.0.0.0/8", daddr="fd00::/8"), ["choose one family"],
    ),
    "icmpv6 between v4": (
        lambda lab: NatRule.masquerade(lab.host, saddr="10.0.0.0/8", proto="icmpv6"), ["proto='icmp'"],
    ),
    "a target that is no address": (lambda lab: NatRule.dnat(lab.host, to="web"), ["'web'"]),
    "a target with a prefix": (lambda lab: NatRule.dnat(lab.host, to="10.0.0.0/24"), ["10.0.0.0"]),
    "a target that is multicast": (lambda lab: NatRule.dnat(lab.host, to="224.0.0.1"), ["multicast"]),
    "a target that is nobody": (lambda lab: NatRule.dnat(lab.host, to="0.0.0.0"), ["unspecified"]),
    "a range backwards": (
        lambda lab: NatRule.dnat(lab.host, to="10.0.0.9-10.0.0.2"), ["backwards", "10.0.0.2-10.0.0.9"],
    ),
    "a range of two families": (lambda lab: NatRule.dnat(lab.host, to="10.0.0.9-fd00::1"), ["mixes"]),
    "ports backwards": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport="90-80", to="10.0.0.2"), ["backwards", "80-90"],
    ),
    "ranges of different widths": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport="80-89", to="10.0.0.2:100-104"), ["10", "5"],
    ),
    "a list of ports": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport=[80, 443], to="10.0.0.2"),  # type: ignore[arg-type]
        ["dport [80, 443] is a list", "several rules"],
    ),
    "a target's port out of range": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", to="10.0.0.2:65536"),
        ["'10.0.0.2:65536'", "1 to 65535"],
    ),
    "a port of words": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport="http", to="10.0.0.2"), ["'http'", "65535"],
    ),
    "three in a tuple": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", to=("10.0.0.2", 80, 81)), ["(address, port)"],  # type: ignore[arg-type]
    ),
    "oif of dnat": (lambda lab: NatRule.redirect(lab.host, iif="!=br0"), ["'!= '"]),
    "local with iif": (
        lambda lab: NatRule.dnat(lab.host, iif="eth0", local=True, to="10.0.0.2"), ["iif= with local=True"],
    ),
    "a pattern of devices": (lambda lab: NatRule.masquerade(lab.host, oif="eth*"), ["'eth*'", "one name"]),
    "a backend": (
        lambda lab: NatRule.masquerade(lab.host, backend="ipfw"), ["'ipfw'", "'nftables', 'iptables'"],  # type: ignore[arg-type]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NAT)
def test_nat(lab: Lab, case: str) -> None:
    call, words = NAT[case]
    message = refusal(lab, call, SpecError)
    assert all(word in message for word in words), message
