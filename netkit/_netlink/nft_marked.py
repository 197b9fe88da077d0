"""Rules of ours in chains of others: found by the mark in their comments."""

from __future__ import annotations

from errno import ERESTART

from netkit._netlink import nft
from netkit.errors import KernelError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.nft import Rule
    from netkit._netlink.socket import NetlinkSocket

_TRIES = 16


def rules_of_chain(socket: NetlinkSocket, family: int, table: str, chain: str) -> list[Rule]:
    """The rules of one chain, in order; none where there is no such chain."""
    try:
        replies = socket.dump(nft.dump_rules(family, table, chain))
    except NotFoundError:
        return []
    return [rule for rule in nft.parse_rules(replies) if rule.table == table and rule.chain == chain]


def delete_marked(
    socket: NetlinkSocket, family: int, table: str, chain: str, mark: str, dry_run: bool = False
) -> bool:
    """Delete the rules of this mark; whether there were any. Nobody else's are touched.

    Handles are looked up and used in one generation of the rule set: those of a table that was made anew
    begin again.
    """
    for attempt in range(_TRIES):
        generation = nft.parse_generation(socket.get(nft.get_generation()))
        found = [rule for rule in rules_of_chain(socket, family, table, chain) if rule.comment == mark]
        if not found or dry_run:
            return bool(found)
        requests = [nft.delete_rule(family, table, chain, rule.handle) for rule in found]
        try:
            socket.transact(nft.transaction(requests, generation))
        except KernelError as problem:
            if problem.errno != ERESTART or attempt == _TRIES - 1:
                raise
        else:
            return True
    raise AssertionError("the last attempt returns or raises")
