"""How a chain ends: with its last rule, or with that of the chain which this one leads to in any case."""

from __future__ import annotations

from netkit._nat.nftables_text import rule_words
from netkit._netlink.nft_marked import rules_of_chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._netlink.nft import Rule
    from netkit._netlink.socket import NetlinkSocket


def nft_chains(socket: NetlinkSocket, family: int, table: str, chain: str) -> dict[str, list[Rule]]:
    """The rules of a chain, and then those of each chain that the last rule before leads to."""
    found: dict[str, list[Rule]] = {}
    while chain and chain not in found:
        rules = found[chain] = rules_of_chain(socket, family, table, chain)
        chain = _target(rule_words(rules[-1]).split(" "), ("jump", "goto")) if rules else ""
    return found


def legacy_chains(lines: Iterable[str], chain: str) -> dict[str, list[str]]:
    """The same of what iptables-legacy lists of a table: what is after ``-A CHAIN``."""
    rules: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("-A "):
            _, name, words = line.split(" ", 2)
            rules.setdefault(name, []).append(words)
    found: dict[str, list[str]] = {}
    while chain in rules and chain not in found:
        found[chain] = rules[chain]
        chain = _target(found[chain][-1].split(" "), ("-j", "-g"))
    return found


def _target(words: list[str], verdicts: tuple[str, ...]) -> str:
    return words[1] if len(words) == 2 and words[0] in verdicts else ""


def how_it_drops(chains: Iterable[str]) -> str:
    """In words, if the last of them drops."""
    _, *more = chains
    return f"it ends in chain {more[-1]}, whose last rule drops" if more else "its last rule drops"
