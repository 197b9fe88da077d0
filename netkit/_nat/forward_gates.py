"""Where a namespace drops what nobody accepts: chains of the hook `forward`, of both worlds."""

from __future__ import annotations

from netkit._nat.backend import ABSENT, Iptables, named
from netkit._nat.forward_ends import how_it_drops, legacy_chains, nft_chains
from netkit._nat.nftables_text import rule_words
from netkit._netlink import nft
from netkit._netlink.nft import HOOK_FORWARD, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.nft_expressions import DROP
from netkit._netlink.nft_policy import within
from netkit._spec.value import Value
from netkit._system.sysctl_files import TABLES_IN_USE, read_each
from netkit.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from netkit._nat.iptables_client import IptablesWorker
    from netkit._netlink.nft import Chain, Rule
    from netkit._runtime import Runtime

_set = object.__setattr__
_VERSIONS = {NFPROTO_IPV4: {4}, NFPROTO_IPV6: {6}, NFPROTO_INET: {4, 6}}
_UNCONDITIONAL = {"counter", "log", "reject", "immediate"}


class Gate(Value):
    """A chain that drops what it does not accept. ``family`` is nf_tables', or 4 or 6 of iptables-legacy."""

    __slots__ = _fields = ("backend", "family", "table", "chain", "how")

    backend: str
    family: int
    table: str
    chain: str
    how: str

    def __init__(self, backend: str, family: int, table: str, chain: str, how: str) -> None:
        for name, value in zip(self._fields, (backend, family, table, chain, how), strict=True):
            _set(self, name, value)

    @property
    def is_of_iptables_nft(self) -> bool:
        """Whether iptables-nft has made it, and wants to be able to show what is in it."""
        return self.backend == "nftables" and self.family != NFPROTO_INET and self.table == "filter"

    @property
    def versions(self) -> set[int]:
        """The IP versions that it drops."""
        return _VERSIONS[self.family] if self.backend == "nftables" else {self.family}

    def __str__(self) -> str:
        if self.backend == "iptables":
            return f"chain FORWARD of ip{'6' if self.family == 6 else ''}tables-legacy ({self.how})"
        by = ", iptables-nft" if self.is_of_iptables_nft else ""
        return f"nft chain {nft.table_words(self.family, self.table)} {self.chain} ({self.how}{by})"


def closed_gates(
    runtime: Runtime, versions: Collection[int], legacy: Mapping[int, list[str]] | None = None
) -> list[Gate]:
    """The chains that drop forwarded packets of these IP versions unless a rule of theirs accepts them.

    By their policy, or by a last rule that nothing escapes, as firewalld has it; it may be that of a chain
    which the last one leads to in any case. An accept in another chain
    does not help: each chain of a hook has to let a packet pass (nft(8), "verdict statements").
    ``legacy``: what `legacy_tables` would find of each version, if that is known.
    """
    gates = [*_in_nftables(runtime), *_in_iptables(runtime, versions, legacy)]
    return [gate for gate in gates if not gate.versions.isdisjoint(versions)]


def passes_translated(runtime: Runtime, gate: Gate) -> bool:
    """Whether a rule of the chain accepts all that DNAT has led anywhere, both ways, as firewalld's does."""
    if gate.backend == "nftables":
        chains = nft_chains(runtime.netfilter, gate.family, gate.table, gate.chain)
        return any(_accepts_translated(rule_words(rule)) for rules in chains.values() for rule in rules)
    backend = named(runtime, "iptables")
    assert isinstance(backend, Iptables)
    found = legacy_chains(backend.worker.list(gate.family, "filter"), "FORWARD")
    return any(_accepts_translated(words.removeprefix("-m ")) for rules in found.values() for words in rules)


def _accepts_translated(words: str) -> bool:
    """Of nft, of iptables-nft, of iptables-legacy; nothing else may be asked of the packet."""
    if words == "ct status dnat accept":
        return True
    match, _, verdict = words.removeprefix("xt match ").partition(" --ctstate ")
    states, _, verdict = verdict.partition(" ")
    return match == "conntrack" and "DNAT" in states.split(",") and verdict in ("accept", "-j ACCEPT")


def _in_nftables(runtime: Runtime) -> Iterator[Gate]:
    try:
        replies = runtime.netfilter.dump(nft.dump_chains())
    except (KernelError, OSError) as problem:
        if problem.errno in ABSENT:
            return
        raise
    for chain in nft.parse_chains(replies):
        if chain.hook == HOOK_FORWARD and chain.kind == "filter" and chain.family in _VERSIONS:
            how = "policy drop" if chain.drops else _last_words(runtime, chain)
            if how:
                yield Gate("nftables", chain.family, chain.table, chain.name, how)


def _last_words(runtime: Runtime, chain: Chain) -> str:
    chains = nft_chains(runtime.netfilter, chain.family, chain.table, chain.name)
    *_, rules = chains.values()
    return how_it_drops(chains) if rules and _drops_all(rules[-1]) else ""


def _drops_all(rule: Rule) -> bool:
    parsed = rule.parsed()
    if not {name for name, _ in parsed} <= _UNCONDITIONAL:
        return False
    return any(name == "reject" or _is_drop(values) for name, values in parsed)


def _is_drop(values: dict[str, object]) -> bool:
    verdict = within(values.get("NFTA_IMMEDIATE_DATA"), "NFTA_DATA_VERDICT")
    return within(verdict, "NFTA_VERDICT_CODE") == DROP


def _in_iptables(
    runtime: Runtime, versions: Collection[int], legacy: Mapping[int, list[str]] | None
) -> Iterator[Gate]:
    for family in sorted(versions):
        if "filter" in (legacy_tables(runtime, family) if legacy is None else legacy[family]):
            backend = named(runtime, "iptables")
            assert isinstance(backend, Iptables)
            how = _legacy_words(backend.worker, family)
            if how:
                yield Gate("iptables", family, "filter", "FORWARD", how)


def _legacy_words(worker: IptablesWorker, family: int) -> str:
    if worker.policy(family, "filter", "FORWARD") == "DROP":
        return "policy DROP"
    chains = legacy_chains(worker.list(family, "filter"), "FORWARD")
    if not chains:
        return ""
    *_, rules = chains.values()
    return how_it_drops(chains) if rules[-1].split(" ")[:2] in (["-j", "DROP"], ["-j", "REJECT"]) else ""


def legacy_tables(runtime: Runtime, family: int) -> list[str]:
    """The tables of iptables-legacy that somebody has used here; to look makes none.

    None where there is no such file, as in a kernel without ip_tables.
    """
    path = TABLES_IN_USE[family]
    return runtime.inside(lambda: read_each([path])).get(path, "").split()
