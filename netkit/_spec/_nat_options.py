"""How a NAT rule chooses among addresses and ports: nft's flags, prefixes, and spreading over several."""

from __future__ import annotations

from netkit._spec._family import found_family
from netkit._spec._nat_target import Target, parse_target
from netkit._spec.addresses import ip_network
from netkit._spec.numbers import boolean
from netkit._spec.value import shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, TypeAlias

    from netkit._spec._nat_match import Match
    from netkit._spec._nat_target import NatTarget
    from netkit._spec.addresses import IPNetwork

    Spread: TypeAlias = Literal["inc", "random", "jhash"]
    Targets: TypeAlias = NatTarget | Sequence[NatTarget]

SPREADS = ("inc", "random", "jhash")
_MOST_TARGETS = 64  # each is a rule


def nat_flags(persistent: object, random: object, fully_random: object) -> tuple[str, ...]:
    """The flags that are set, as nft writes them."""
    given = (
        ("random", boolean(random, "random")),
        ("fully-random", boolean(fully_random, "fully_random")),
        ("persistent", boolean(persistent, "persistent")),
    )
    if random and fully_random:
        raise SpecError("random=True with fully_random=True: they are two ways to choose a port, give one")
    return tuple([word for word, is_set in given if is_set])


def parse_prefix(to: object, kind: str, match: Match[IPNetwork] | None) -> Target:
    """``to`` with ``prefix=True``: a network, whose first and last addresses are the target."""
    word = "saddr" if kind == "snat" else "daddr"
    network = ip_network(to, "to") if isinstance(to, str) or hasattr(to, "network_address") else None
    if network is None or network.num_addresses == 1:
        raise SpecError(
            f"to {shown(to)} with prefix=True is no network: write {kind}({word}='10.0.0.0/24', "
            "to='192.0.2.0/24', prefix=True)"
        )
    if match is not None and not match.negated and match.value.prefixlen != network.prefixlen:
        raise SpecError(
            f"to '{network}' is a /{network.prefixlen}, but {word} '{match.value}' a "
            f"/{match.value.prefixlen}: prefix=True exchanges one network for another of the same size"
        )
    return network.network_address, network.broadcast_address, None


def parse_targets(to: object, spread: object) -> tuple[Target, tuple[Target, ...]]:
    """The targets of dnat: one, or with ``spread`` several, all of one family."""
    if not isinstance(to, list):
        if spread is not None:
            raise SpecError(
                f"spread={shown(spread)} with one target {shown(to)}: give to=[TARGET, TARGET, ...]"
            )
        return parse_target(to, "dnat"), ()
    several: list[object] = to  # pyright: ignore[reportUnknownVariableType]
    if spread not in SPREADS:
        raise SpecError(
            f"spread {shown(spread)} with {len(several)} targets: give 'inc' (in turn), 'random', "
            "or 'jhash' (by the client's address)"
        )
    if not 2 <= len(several) <= _MOST_TARGETS:
        raise SpecError(f"to has {len(several)} targets to spread over: give 2 to {_MOST_TARGETS}")
    targets = [parse_target(each, "dnat") for each in several]
    found_family(None, *[("to", target[0]) for target in targets])
    if len({target[2] is None for target in targets}) > 1:
        raise SpecError("to has targets with a port and without: give all or none of them one")
    return targets[0], tuple(targets[1:])
