"""The NAT part of a snapshot: netkit's own rules in their words, others' of nftables as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netkit._nat.reading import nftables_entry, translating
from netkit._nat.rule import NatRule
from netkit._shown import Shown

if TYPE_CHECKING:
    from netkit._nat.reading import Own
    from netkit._netlink.nft import Rule
    from netkit._runtime import Runtime


@dataclass(frozen=True)
class NatState(Shown):
    """One NAT rule. ``rule`` is nft's text; what netkit does not know in others' rules is in brackets."""

    rule: str
    backend: str
    chain: str | None = None

    def __str__(self) -> str:
        return f"{self.rule} ({self.backend}{', ' + self.chain if self.chain else ''})"


def read_nat(runtime: Runtime, own: Sequence[Own]) -> tuple[NatState, ...]:
    """The NAT rules of a namespace, without their counters and handles; ``own`` are those of netkit."""
    rules = [each for each in own if isinstance(each, NatRule)]
    marks = {getattr(rule._token, "mark", None) for rule in rules}
    found = [NatState(str(rule.spec), rule.backend or "") for rule in rules]
    table, published = _published(runtime)
    found += published
    found += [
        _foreign(rule)
        for rule in translating(runtime)
        if rule.table != table and (rule.comment is None or rule.comment not in marks)
    ]
    return tuple(sorted(found, key=str))


def _published(runtime: Runtime) -> tuple[str | None, list[NatState]]:
    """The table of this process's published ports, and what they say."""
    table: str | None = None
    found: list[NatState] = []
    for name in ("nftables", "iptables"):
        books = runtime.kept(f"published by {name}")
        if books is None:
            continue
        from netkit._nat.publish_books import Books

        assert isinstance(books, Books)
        table = books.where if name == "nftables" else table
        found += [NatState(f"publish {spec}", name) for spec in books.specs()]
    return table, found


def _foreign(rule: Rule) -> NatState:
    entry = nftables_entry(rule, False)
    return NatState(entry.rule, entry.backend, f"{entry.table} {entry.chain}")
