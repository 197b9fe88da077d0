"""Whether rules that the kernel has are those of a NatSpec: they say the same, whoever made them.

What the kernel tells is not byte for byte what it was sent: it adds what was left out.
"""

from __future__ import annotations

from netkit._nat.nftables_compile import compiled
from netkit._netlink.nft import NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.nft_policy import parse_expressions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._nat.nftables_compile import Spec
    from netkit._netlink.nft import Rule

    # Family of the table, chain, and what the rule says.
    Said = tuple[int, str, tuple[object, ...]]

# nft_nat_init() and its like in net/netfilter/nft_{nat,masq,redir}.c: a high end that is not given is the
# low one, and two flags follow from which registers are.
_HIGH_ENDS = {
    "NFTA_NAT_REG_ADDR_MIN": "NFTA_NAT_REG_ADDR_MAX",
    "NFTA_NAT_REG_PROTO_MIN": "NFTA_NAT_REG_PROTO_MAX",
    "NFTA_MASQ_REG_PROTO_MIN": "NFTA_MASQ_REG_PROTO_MAX",
    "NFTA_REDIR_REG_PROTO_MIN": "NFTA_REDIR_REG_PROTO_MAX",
}
_FLAGS = ("NFTA_NAT_FLAGS", "NFTA_MASQ_FLAGS", "NFTA_REDIR_FLAGS")
_IMPLIED_FLAGS = 1 | 2  # NF_NAT_RANGE_MAP_IPS, NF_NAT_RANGE_PROTO_SPECIFIED


def find_equal(spec: Spec, rules: Iterable[Rule]) -> str | None:
    """The mark of the oldest rules that say what the spec says; None if there are none."""
    wanted = [_wanted(spec, families) for families in ((NFPROTO_INET,), (NFPROTO_IPV4, NFPROTO_IPV6))]
    by_mark: dict[str, list[Said]] = {}
    for rule in rules:
        if rule.comment is not None:
            by_mark.setdefault(rule.comment, []).append((rule.family, rule.chain, said(rule.expressions)))
    return next((mark for mark, found in by_mark.items() if sorted(found, key=repr) in wanted), None)


def _wanted(spec: Spec, families: tuple[int, ...]) -> list[Said]:
    rules = [(family, chain, said(content)) for family, chain, content in compiled(spec, families)]
    return sorted(rules, key=repr)


def said(expressions: bytes) -> tuple[object, ...]:
    """What a rule says, without how often it was met."""
    parsed = parse_expressions(expressions, 0, len(expressions))
    return tuple([(name, *_complete(values)) for name, values in parsed if name != "counter"])


def _complete(values: dict[str, object]) -> list[tuple[str, object]]:
    whole = dict(values)
    for low, high in _HIGH_ENDS.items():
        if low in whole:
            whole.setdefault(high, whole[low])
    for flags in _FLAGS:
        given = whole.pop(flags, 0)
        assert isinstance(given, int)
        whole[flags] = given & ~_IMPLIED_FLAGS
    if not whole.get("NFTA_BITWISE_OP"):
        whole.pop("NFTA_BITWISE_OP", None)  # NFT_BITWISE_MASK_XOR, the only one before Linux 5.6
    return sorted(whole.items())
