"""The NAT rules that a namespace has, of both worlds, and which of them are this process's."""

from __future__ import annotations

import sys
from collections import Counter

from netkit._lifecycle import ROOT
from netkit._nat.backend import ABSENT, Iptables, Nftables, named
from netkit._nat.nftables_text import rule_words
from netkit._netlink.transport import NETLINK_NETFILTER
from netkit._spec.nat_entry import NatEntry, made_by
from netkit.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from netkit._nat.backend_rule import BackendRule
    from netkit._nat.forward import OpenedForward
    from netkit._nat.publish import PortMapping
    from netkit._netlink.nft import Rule
    from netkit._netlink.socket import Reply
    from netkit._netlink.wire import Request
    from netkit._runtime import Runtime

    Own: TypeAlias = BackendRule | OpenedForward | PortMapping

_KINDS = {"nat", "masq", "redir", "tproxy"}  # the expressions of nf_tables that translate addresses
_TARGETS = {"MASQUERADE", "SNAT", "DNAT", "REDIRECT", "NETMAP", "TPROXY"}  # those of iptables
_TABLES = ("mangle", "nat")  # where those stand; a packet comes by the first one first
FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}


def own_rules() -> dict[Runtime, list[Own]]:
    """What this process has of rules in the kernel, by namespace: one look for however many readers."""
    found: dict[Runtime, list[Own]] = {}
    kinds = _loaded_kinds()
    for member in ROOT._held_members() if kinds else ():
        if isinstance(member, kinds) and member._is_alive():
            runtime = member._runtimes()[0]
            if runtime is not None:
                found.setdefault(runtime, []).append(member)  # type: ignore[arg-type]
    return found


def _loaded_kinds() -> tuple[type, ...]:
    """The classes, as far as anybody has used them."""
    names = (("backend_rule", "BackendRule"), ("forward", "OpenedForward"), ("publish", "PortMapping"))
    modules = [(sys.modules.get(f"netkit._nat.{module}"), name) for module, name in names]
    return tuple([getattr(module, name) for module, name in modules if module is not None])


def translating(runtime: Runtime) -> list[Rule]:
    """The rules of nf_tables that translate, iptables-nft's among them; none where the kernel has none."""
    from netkit._netlink.nft import dump_rules, parse_rules

    try:
        rules = parse_rules(_dump(runtime, dump_rules()))
    except KernelError as problem:
        if problem.errno not in ABSENT:
            raise
        return []
    return [rule for rule in rules if _translates(rule)]


def _translates(rule: Rule) -> bool:
    return any(
        name in _KINDS or (name == "target" and values.get("NFTA_TARGET_NAME") in _TARGETS)
        for name, values in rule.parsed()
    )


def _dump(runtime: Runtime, request: Request) -> list[Reply]:
    """By the socket that is there, else by one that is closed again: idle namespaces hold few descriptors."""
    if runtime.has_netfilter:
        return runtime.netfilter.dump(request)
    sock = runtime.open_netlink(NETLINK_NETFILTER)
    try:
        return sock.dump(request)
    finally:
        sock.close()


def entries(runtime: Runtime, own: Sequence[Own]) -> Iterator[NatEntry]:
    """All of them, in the order of their chains; published ports of ours one by one."""
    from netkit._nat.forward_gates import legacy_tables

    tables, suffix = _own_places(runtime)
    others: dict[tuple[int, str], None] = {}
    for rule in translating(runtime):
        if rule.table not in tables[1:]:
            yield nftables_entry(rule, rule.table in tables)
            if rule.chain == "publish_prerouting":
                others[rule.family, rule.table] = None
    yield from _published(runtime)
    if others:
        from netkit._nat.published_reading import published_entries

        yield from published_entries(lambda request: _dump(runtime, request), others)
    for family in (4, 6):
        used = legacy_tables(runtime, family)
        for table in [each for each in _TABLES if each in used]:
            yield from _legacy(runtime, family, table, own, suffix)


def _own_places(runtime: Runtime) -> tuple[list[str], str]:
    """Our tables of rules and of published ports; and what the names of our chains in iptables end with."""
    rules, ports = runtime.kept("nftables"), runtime.kept("published by nftables")
    chains = runtime.kept("published by iptables")
    table = rules.table if isinstance(rules, Nftables) else ""
    return [table, getattr(ports, "where", "")], getattr(chains, "where", "")


def nftables_entry(rule: Rule, ours: bool) -> NatEntry:
    """A rule of nf_tables; a comment of somebody's may say who he is."""
    family, words = FAMILIES.get(rule.family, str(rule.family)), rule_words(rule)
    by = made_by("nftables", family, rule.table, rule.chain, f"{words} {rule.comment or ''}")
    return NatEntry(words, "nftables", f"{family} {rule.table}", rule.chain, ours, by)


def _published(runtime: Runtime) -> Iterable[NatEntry]:
    """Ports that this process has in maps of nf_tables."""
    books = runtime.kept("published by nftables")
    if books is None:
        return []
    from netkit._nat.publish_books import Books

    assert isinstance(books, Books)
    return [
        NatEntry(f"publish {spec}", "nftables", f"{ip} {books.where}", "publish_prerouting", True, "netkit")
        for spec in books.specs()
        for ip in sorted({"ip" if target.version == 4 else "ip6" for target in spec.targets})
    ]


def _legacy(runtime: Runtime, family: int, table: str, own: Sequence[Own], suffix: str) -> Iterator[NatEntry]:
    backend = named(runtime, "iptables")
    assert isinstance(backend, Iptables)
    ours = _own_texts(own, family, table)
    place = f"{'ip' if family == 4 else 'ip6'} {table}"
    found: list[NatEntry] = []
    for text in reversed(backend.worker.list(family, table)):  # of equal ones, ours is the last
        words = text.split(" ")
        if "-j" not in words or words[words.index("-j") + 1] not in _TARGETS:
            continue
        chain = words[1]
        is_ours = ours[text] > 0 or (bool(suffix) and chain.endswith(f"-{suffix}"))
        ours[text] -= 1
        by = "netkit" if is_ours else made_by("iptables", place.split()[0], table, chain, text)
        found.append(NatEntry(text, "iptables", place, chain, is_ours, by))
    yield from reversed(found)


def _own_texts(own: Sequence[Own], family: int, table: str) -> Counter[str]:
    from netkit._nat.backend_rule import BackendRule
    from netkit._nat.iptables_rules import rule_text

    found: Counter[str] = Counter()
    for each in own:
        if isinstance(each, BackendRule) and each.backend == "iptables":
            found.update([rule_text(r) for r in each._token if (r["family"], r["table"]) == (family, table)])
    return found
