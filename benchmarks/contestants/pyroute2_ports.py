"""pyroute2's NFTables, a rule for each port: its sets hold no data."""

from __future__ import annotations

import socket
from typing import Any

from pyroute2 import netns
from pyroute2.nftables.expressions import genex
from pyroute2.nftables.main import NFTables

from .published import mapping
from .pyroute2_nat import DNAT, L4PROTO, _equals, _meta, _value

ACCEPT = 1


def expressions(number: int) -> list[Any]:
    """tcp dport PORT dnat to TARGET:PORT"""
    port, target, to = mapping(number)
    return [
        _meta(L4PROTO),
        _equals(bytes([socket.IPPROTO_TCP])),
        genex("payload", {"dreg": 1, "base": 2, "offset": 2, "len": 2}),
        _equals(port.to_bytes(2, "big")),
        genex("immediate", {"dreg": 1, "data": _value(socket.inet_aton(target))}),
        genex("immediate", {"dreg": 2, "data": _value(to.to_bytes(2, "big"))}),
        genex("nat", {"type": DNAT, "family": socket.AF_INET, "reg_addr_min": 1, "reg_proto_min": 2}),
    ]


class Publisher:
    """See contestants.Publisher."""

    def open(self, name: str) -> None:
        netns.pushns(name)
        try:
            self.nft = NFTables(nfgen_family=socket.AF_INET)
        finally:
            netns.popns()
        self.more: list[int] = []

    def prepare(self, count: int) -> range:
        return range(count)

    def publish(self, mappings: range) -> None:
        self.nft.table("add", name="peer")
        for name, priority in (("prerouting", -100), ("output", -100)):
            self.nft.chain(
                "add", table="peer", name=name, hook=name, type="nat", policy=ACCEPT, priority=priority
            )
        self.nft.begin()
        for number in mappings:
            self.add(number)
        self.nft.commit()

    def list(self) -> int:
        return len(self.nft.get_rules())

    def add(self, number: int) -> None:
        self.nft.rule("add", table="peer", chain="prerouting", expressions=(expressions(number),))

    def remove(self, number: int) -> None:
        """The first of those that were added last: rules are deleted by handle."""
        if not self.more:
            self.more = [rule.get_attr("NFTA_RULE_HANDLE") for rule in self.nft.get_rules()][number:]
        self.nft.rule("del", table="peer", chain="prerouting", handle=self.more.pop(0))

    def unpublish(self) -> None:
        self.nft.table("del", name="peer")
