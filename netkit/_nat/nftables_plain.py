"""The plain table ``netkit``: rules that outlive the process that made them.

All processes share it, and anybody may change it, so nothing here goes by a handle without a fresh look
at the mark, and a chain or the table goes only if it is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from netkit._nat.nftables_compile import CHAIN_NAMES, chain_request
from netkit._nat.nftables_rules import RuleId, by_mark, change_what_was_read, read_table
from netkit._netlink import nft
from netkit.errors import BusyError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.nft import Rule
    from netkit._netlink.socket import NetlinkSocket
    from netkit._netlink.wire import Request

TABLE = "netkit"


def copies(rules: Sequence[Rule]) -> Iterator[Request]:
    """Requests that put rules of another table into the plain one, with its chains where they lack."""
    families = sorted({rule.family for rule in rules})
    yield from (nft.new_table(family, TABLE) for family in families)
    for family, chain in sorted({(rule.family, rule.chain) for rule in rules}):
        yield chain_request(family, TABLE, chain)
    for rule in rules:
        words = f"detach NAT rule {rule.comment!r}"
        yield nft.new_rule(rule.family, TABLE, rule.chain, rule.expressions, rule.userdata, words, echo=True)


def read(socket: NetlinkSocket) -> list[Rule]:
    """The rules in the chains that are netkit's."""
    return [rule for rule in read_table(socket, TABLE) if rule.chain in CHAIN_NAMES]


def find(socket: NetlinkSocket) -> dict[str, RuleId]:
    """What is in the plain table, by mark."""
    return by_mark(TABLE, read(socket))


def remove(socket: NetlinkSocket, rule_ids: Iterable[RuleId]) -> None:
    """Remove rules by their marks, then the chains and the table if nothing else is in them."""
    marks = {rule_id.mark for rule_id in rule_ids}
    doomed: list[Rule] = []

    def build() -> list[Request]:
        doomed[:] = [rule for rule in read(socket) if rule.comment in marks]
        return deletion(doomed)

    change_what_was_read(socket, build)
    tidy(socket, doomed)


def deletion(rules: Iterable[Rule]) -> list[Request]:
    """Requests that delete the rules, and leave their chains."""
    return [nft.delete_rule(rule.family, TABLE, rule.chain, rule.handle) for rule in rules]


def tidy(socket: NetlinkSocket, removed: Iterable[Rule]) -> None:
    """Remove the chains the rules were in, and their tables, as far as they are empty."""
    chains = sorted({(rule.family, rule.chain) for rule in removed})
    for family, chain in chains:
        _delete_unused(socket, nft.delete_chain(family, TABLE, chain))
    for family in sorted({family for family, _ in chains}):
        _delete_unused(socket, nft.delete_table(family, TABLE, only_empty=True))


def _delete_unused(socket: NetlinkSocket, request: Request) -> None:
    try:
        socket.transact(nft.transaction([request]))
    except (BusyError, NotFoundError):
        return  # others use it, or were faster
