"""Firewalls that drop what is forwarded, of each kind, between two boxes and the world."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from netkit import Bridge, Namespace, Scope, VethPair
from tests.harness.oracle import run_in
from tests.harness.packets import QUIET, bound, comes_through
from tests.harness.tools import needs, needs_iptables

FOUR = ["172.18.0.2", "172.19.0.2", "192.0.2.1", "192.0.2.2"]
SIX = ["fd18::2", "fd19::2", "2001:db8::1", "2001:db8::2"]

# How a host drops what it is to forward, how the error calls it, and what shows the chain.
HOOK = "type filter hook forward priority 10;"
NFT = f"nft add table inet fw; nft add chain inet fw forward '{{ {HOOK} policy drop; }}'"
LAST = (
    f"nft add table inet fw; nft add chain inet fw forward '{{ {HOOK} }}';"
    "nft add rule inet fw forward ct state established accept; nft add rule inet fw forward reject"
)
CHAINS = f"nft add table inet fw; nft add chain inet fw forward '{{ {HOOK} }}'; nft add chain inet fw most"
END = "nft add rule inet fw forward counter jump most; nft add rule inet fw most counter drop"
BOTH = "{0} -P FORWARD DROP; {1} -P FORWARD DROP"
LEGACY_CHAINS = "for i in iptables ip6tables; do $i-legacy -N MOST; $i-legacy -A MOST -j REJECT; done"
LEGACY_END = "; ".join(f"{each}-legacy -A FORWARD -g MOST" for each in ("iptables", "ip6tables"))
BY_IPTABLES_NFT = BOTH.format("iptables", "ip6tables")
BY_LEGACY = BOTH.format("iptables-legacy", "ip6tables-legacy")
nft_only = needs("nft")
DROPS: dict[str, tuple[str, str, str]] = {
    "nft": (NFT, r"nft chain inet fw forward \(policy drop\)", "nft list chain inet fw forward"),
    "last": (LAST, r"nft chain inet fw forward \(its last rule drops\)", "nft list chain inet fw forward"),
    "jump": (
        f"{CHAINS}; {END}",
        r"nft chain inet fw forward \(it ends in chain most, whose last rule drops\)",
        "nft list table inet fw | sed 's/packets.*bytes [0-9]*//'",
    ),
    "legacy-goto": (
        f"{LEGACY_CHAINS}; {LEGACY_END}",
        r"chain FORWARD of iptables-legacy \(it ends in chain MOST, whose last rule drops\)",
        "iptables-legacy -S; ip6tables-legacy -S",
    ),
    "iptables-nft": (
        BY_IPTABLES_NFT,
        r"nft chain ip filter FORWARD \(policy drop, iptables-nft\)",
        "iptables-nft -S FORWARD; ip6tables-nft -S FORWARD",
    ),
    "legacy": (
        BY_LEGACY,
        r"chain FORWARD of iptables-legacy \(policy DROP\)",
        "iptables-legacy -S FORWARD; ip6tables-legacy -S FORWARD",
    ),
}
drops = pytest.mark.parametrize(
    "drop",
    [
        pytest.param("nft", marks=nft_only),
        pytest.param("last", marks=nft_only),
        pytest.param("jump", marks=nft_only),
        pytest.param("iptables-nft", marks=needs("iptables-nft")),
        pytest.param("legacy", marks=needs_iptables),
        pytest.param("legacy-goto", marks=needs_iptables),
    ],
)


class World(NamedTuple):
    """A host, a box on each of its two bridges, and what is outside."""

    host: Namespace
    box: Namespace
    far: Namespace
    outside: Namespace


def build(lab: Scope, **options: Any) -> World:
    """The options are those of the first bridge."""
    host, box, far, outside = [lab.own(Namespace()) for _ in range(4)]
    bridge = lab.own(Bridge(host, "br0", address=["172.18.0.1/24", "fd18::1/64"], **options))
    other = lab.own(Bridge(host, "br1", address=["172.19.0.1/24", "fd19::1/64"]))
    bridge.connect(box, name="port2", peer_address=["172.18.0.2/24", "fd18::2/64"], default_route=True)
    other.connect(far, name="port3", peer_address=["172.19.0.2/24", "fd19::2/64"], default_route=True)
    wan, theirs = ["192.0.2.1/24", "2001:db8::1/64"], ["192.0.2.2/24", "2001:db8::2/64"]
    lab.own(VethPair(host, outside, name="wan", peer_name="eth0", address=wan, peer_address=theirs))
    outside.routes.add("default", via="192.0.2.1")
    outside.routes.add("default", via="2001:db8::1")
    host.sysctl["net.ipv4.ip_forward"] = 1
    host.sysctl["net.ipv6.conf.all.forwarding"] = 1
    return World(host, box, far, outside)


@pytest.fixture
def world() -> Iterator[World]:
    with Scope() as lab:
        yield build(lab)


def shown(host: Namespace, drop: str) -> str:
    """The chain that drops."""
    return said(host, DROPS[drop][2])


def said(host: Namespace, commands: str) -> str:
    """What a shell says in the host."""
    return run_in(host, "sh", "-ec", commands)


def forwards(client: Namespace, server: Namespace, address: str, wait: float = QUIET) -> bool:
    """Whether a datagram gets from one namespace to the other."""
    with bound(server, address, 53, socket.SOCK_DGRAM) as listening:
        return comes_through(client, address, 53, listening, wait)
