"""The demo's two NAT rules through pyroute2's NFTables, for both of its contestants.

The expressions are written out: pyroute2 has no helper for oifname and dnat, and its ipv4addr helper
takes only whole-byte prefixes (a /24 is one).
"""

from __future__ import annotations

import socket
from typing import Any

from pyroute2 import netns
from pyroute2.nftables.expressions import genex, ipv4addr
from pyroute2.nftables.main import NFTables

ACCEPT, OIFNAME, L4PROTO, DNAT = 1, 7, 16, 1


def _value(data: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _equals(data: bytes) -> Any:
    return genex("cmp", {"sreg": 1, "op": 0, "data": _value(data)})


def _meta(key: int) -> Any:
    return genex("meta", {"key": key, "dreg": 1})


def _masquerade() -> list[Any]:
    by_uplink = [_meta(OIFNAME), _equals(b"enp1s0".ljust(16, b"\0"))]
    return [*ipv4addr(src="172.18.0.0/24"), *by_uplink, genex("masq", {})]


def _dnat() -> list[Any]:
    port = (80).to_bytes(2, "big")
    return [
        _meta(L4PROTO),
        _equals(bytes([socket.IPPROTO_TCP])),
        genex("payload", {"dreg": 1, "base": 2, "offset": 2, "len": 2}),
        _equals(port),
        genex("immediate", {"dreg": 1, "data": _value(socket.inet_aton("172.18.0.2"))}),
        genex("immediate", {"dreg": 2, "data": _value(port)}),
        genex("nat", {"type": DNAT, "family": socket.AF_INET, "reg_addr_min": 1, "reg_proto_min": 2}),
    ]


def _chain(nft: NFTables, name: str, priority: int) -> None:
    nft.chain("add", table="demo", name=name, hook=name, type="nat", policy=ACCEPT, priority=priority)


def add_rules(namespace: str) -> None:
    """NFTables has no netns argument: enter the namespace to open its socket."""
    netns.pushns(namespace)
    try:
        nft = NFTables(nfgen_family=socket.AF_INET)
    finally:
        netns.popns()
    try:
        nft.table("add", name="demo")
        _chain(nft, "prerouting", -100)
        _chain(nft, "postrouting", 100)
        nft.rule("add", table="demo", chain="postrouting", expressions=(_masquerade(),))
        nft.rule("add", table="demo", chain="prerouting", expressions=(_dnat(),))
    finally:
        nft.close()
