"""The NAT part of a snapshot: netkit's own rules in their words, others' of nftables as they are."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netkit._lifecycle import ROOT
from netkit._netlink.transport import NETLINK_NETFILTER
from netkit.errors import KernelError

if TYPE_CHECKING:
    from netkit._nat.rule import NatRule
    from netkit._netlink.nft import Rule
    from netkit._netlink.socket import Reply
    from netkit._netlink.wire import Request
    from netkit._runtime import Runtime

_KINDS = {"nat", "masq", "redir"}  # the expressions of nf_tables that translate addresses
_ABSENT = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT, errno.EINVAL)
_FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}


@dataclass(frozen=True)
class NatState:
    """One NAT rule. ``rule`` is nft's text for netkit's own, and the expressions of anybody else's."""

    rule: str
    backend: str
    chain: str | None = None

    def __str__(self) -> str:
        return f"{self.rule} ({self.backend}{', ' + self.chain if self.chain else ''})"


def read_nat(runtime: Runtime, own: Sequence[NatRule]) -> tuple[NatState, ...]:
    """The NAT rules of a namespace, without their counters and handles; ``own`` are those of netkit."""
    marks = {getattr(rule._token, "mark", None) for rule in own}
    found = [NatState(str(rule.spec), rule.backend or "") for rule in own]
    table, published = _published(runtime)
    found += published
    found += [
        _foreign(rule)
        for rule in _in_nftables(runtime)
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


def own_rules() -> dict[Runtime, list[NatRule]]:
    """The rules that this process has in the kernel, by namespace: one look for however many snapshots."""
    found: dict[Runtime, list[NatRule]] = {}
    module = sys.modules.get("netkit._nat.rule")
    if module is None:
        return found  # no NatRule was ever made
    kind: type[NatRule] = module.NatRule
    for member in ROOT._held_members():
        if isinstance(member, kind) and member._state == "owned" and member._runtime is not None:
            found.setdefault(member._runtime, []).append(member)
    return found


def _in_nftables(runtime: Runtime) -> Iterable[Rule]:
    from netkit._netlink.nft import dump_rules, parse_rules

    try:
        rules = parse_rules(_dump(runtime, dump_rules()))
    except KernelError as problem:
        if problem.errno not in _ABSENT:
            raise
        return []  # this kernel has no nf_tables
    return [rule for rule in rules if any(name in _KINDS for name, _ in rule.parsed())]


def _dump(runtime: Runtime, request: Request) -> list[Reply]:
    """By the socket that is there, else by one that is closed again: idle namespaces hold few descriptors."""
    if runtime.has_netfilter:
        return runtime.netfilter.dump(request)
    sock = runtime.open_netlink(NETLINK_NETFILTER)
    try:
        return sock.dump(request)
    finally:
        sock.close()


def _foreign(rule: Rule) -> NatState:
    words = [
        f"{name}({', '.join(f'{key}={values[key]}' for key in sorted(values))})"
        for name, values in rule.parsed()
        if name != "counter"
    ]
    family = _FAMILIES.get(rule.family, str(rule.family))
    return NatState(" ".join(words), "nftables", f"{family} {rule.table} {rule.chain}")
