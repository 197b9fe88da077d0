"""Rules of the hook `forward` for both backends: as expressions of nf_tables, and in iptables' terms."""

from __future__ import annotations

from collections.abc import Iterator
from sys import byteorder

from netkit._nat.iptables_layout import CONNTRACK, CONNTRACK_STATE, STATES
from netkit._netlink import nft_expressions as nft
from netkit._netlink.nft import NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.iptables_rules import Rule
    from netkit._spec._nat_match import Match
    from netkit._spec.addresses import IPNetwork
    from netkit._spec.forward import ForwardLine, ForwardSpec

CHAIN = "forward"
_VERSION = {NFPROTO_IPV4: 4, NFPROTO_IPV6: 6}
_NFPROTO = {4: NFPROTO_IPV4, 6: NFPROTO_IPV6}
_OFFSETS = {4: {"saddr": 12, "daddr": 16}, 6: {"saddr": 8, "daddr": 24}}
_VERDICTS = {"accept": nft.ACCEPT, "drop": nft.DROP}
_KIND_SIZE = 16
_ESTABLISHED_OR_RELATED = 2 | 4  # NF_CT_STATE_BIT
# nft is told what iptables-nft would: xt_conntrack_mtinfo3 (linux/netfilter/xt_conntrack.h).
_XT_STATES = {"dnat": "DNAT", "established": "RELATED,ESTABLISHED"}


def forward_rules(spec: ForwardSpec, families: tuple[int, ...]) -> Iterator[tuple[int, str, bytes]]:
    """As `nftables_compile.compiled`: family of the table, chain, expressions."""
    for line in spec.lines:
        for family in families:
            if family == NFPROTO_INET or line.family in (None, _VERSION[family]):
                yield family, CHAIN, forward_expressions(line, family)


def forward_expressions(line: ForwardLine, family: int, *, for_iptables: bool = False) -> bytes:
    """One rule. ``for_iptables``: made of what iptables-nft can show, for its chains.

    A rule with an expression that it does not know makes it refuse the whole table.
    """
    device = _xt_device if for_iptables else _device
    parts = [device(nft.META_IIFNAME, line.iif), device(nft.META_OIFNAME, line.oif)]
    parts += [_is_bridge(nft.META_IIFKIND)] if line.iif_bridge else []
    parts += [_is_bridge(nft.META_OIFKIND)] if line.oif_bridge else []
    if family == NFPROTO_INET and line.family is not None:
        parts.append(nft.match_byte(nft.META_NFPROTO, _NFPROTO[line.family]))
    parts += [_network(line.saddr, "saddr"), _network(line.daddr, "daddr")]
    if line.state is not None:
        parts.append(_xt_state(line.state) if for_iptables else _state(line.state))
    return b"".join([*parts, nft.counter(), nft.verdict(_VERDICTS[line.verdict])])


def _device(key: int, match: Match[str] | None) -> bytes:
    return b"" if match is None else nft.match_device(key, match.value, match.negated)


def _xt_device(key: int, match: Match[str] | None) -> bytes:
    """As iptables-nft has it: up to the NUL."""
    if match is None:
        return b""
    return nft.meta(key) + nft.compare(match.value.encode() + b"\0", nft.NEQ if match.negated else nft.EQ)


def _is_bridge(key: int) -> bytes:
    return nft.meta(key) + nft.compare(b"bridge".ljust(_KIND_SIZE, b"\0"))


def _network(network: IPNetwork | None, which: str) -> bytes:
    if network is None:
        return b""
    offset = _OFFSETS[network.version][which]
    return nft.match_network(offset, network.network_address.packed, network.prefixlen)


def _state(state: str) -> bytes:
    if state == "established":
        loaded, mask = nft.ct(nft.CT_STATE), _ESTABLISHED_OR_RELATED
    else:
        loaded, mask = nft.ct(nft.CT_STATUS), nft.CT_STATUS_DNAT
    masked = loaded + nft.bitwise(mask.to_bytes(4, byteorder))
    return masked + nft.compare(bytes(4), nft.EQ if state == "plain" else nft.NEQ)


def _xt_state(state: str) -> bytes:
    bits = sum(STATES[name] for name in _XT_STATES[state].split(","))
    return nft.xt_match("conntrack", 3, CONNTRACK.pack(CONNTRACK_STATE, 0, bits, 0))


def forward_iptables(spec: ForwardSpec, comment: str | None = None) -> list[Rule]:
    """Rules for the chain FORWARD, before all that are there; SpecError for what iptables cannot do."""
    return [
        _iptables_rule(line, family, comment)
        for family in (4, 6)
        for line in reversed(spec.lines)
        if line.family in (None, family)
    ]


def _iptables_rule(line: ForwardLine, family: int, comment: str | None) -> Rule:
    if line.iif_bridge or line.oif_bridge or line.state == "plain":
        raise SpecError(f"iptables has no rule '{line}': backend nftables has")
    rule: Rule = {
        "family": family,
        "table": "filter",
        "chain": "FORWARD",
        "position": "insert",
        "target": line.verdict.upper(),
    }
    for match, field in ((line.iif, "in_interface"), (line.oif, "out_interface")):
        if match is not None:
            rule[field] = ("!" if match.negated else "") + match.value  # type: ignore[literal-required]
    for network, field in ((line.saddr, "src"), (line.daddr, "dst")):
        if network is not None:
            rule[field] = str(network)  # type: ignore[literal-required]
    if line.state is not None:
        rule["ctstate"] = _XT_STATES[line.state]
    if comment is not None:
        rule["comment"] = comment
    return rule
