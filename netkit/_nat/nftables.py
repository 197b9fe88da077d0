"""NAT rules in nf_tables, over netlink alone: no library, no binary, each change one atomic batch.

Our rules stand in a table of our own with the flag ``owner``: nobody else can change it, a foreign
``nft flush ruleset`` leaves it, and the kernel removes it when its socket closes, however this process
ends. What is to outlive the process moves to the plain table ``netkit``, which all processes share.

One backend per process and namespace, on the one socket that owns the table. Threads may share it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from errno import EAFNOSUPPORT, EOPNOTSUPP
from threading import Lock

from netkit._nat import nftables_plain as plain
from netkit._nat.nftables_compile import compiled
from netkit._nat.nftables_match import find_equal
from netkit._nat.nftables_owned import OwnedTable, slices
from netkit._nat.nftables_rules import (
    RuleId,
    by_mark,
    change_what_was_read,
    gone,
    new_mark,
    read_rules,
    read_table,
)
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from netkit.errors import KernelError, NetkitError, NotFoundError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.nftables_compile import Spec
    from netkit._netlink.nft import Rule
    from netkit._netlink.socket import NetlinkSocket, Reply
    from netkit._netlink.wire import Request, Words

    # Family, chain, expressions, the mark, and the operation in words.
    NewRule = tuple[int, str, bytes, str, Words]

_BOTH, _EACH = (NFPROTO_INET,), (NFPROTO_IPV4, NFPROTO_IPV6)
# The answers to a batch must fit the socket's receive buffer, and the batch its send buffer (208 KiB each
# by default): beyond the first, handles are read from a dump; beyond the second, it is several batches.
_MOST_ECHOES = 128
_MOST_DELETIONS = 1000
_LARGEST_SEND = 160 * 1024
_SIZE_BESIDES = 160  # of a new rule without its expressions


class NftablesBackend:
    """NAT rules of one namespace, in a table that lives as long as ``socket``.

    ``socket`` is a NETLINK_NETFILTER socket of the namespace; its close removes the table. The table is
    made with the first rule and goes with the last one. Needs CAP_NET_ADMIN over the namespace, Linux 5.12
    (table flag ``owner``), CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NFT_REDIR.
    """

    name = "nftables"

    def __init__(self, socket: NetlinkSocket, table_name: str | None = None) -> None:
        self.table = table_name or f"netkit-{os.urandom(4).hex()}"
        self._socket = socket
        self._lock = Lock()
        self._families: tuple[int, ...] = _BOTH
        self._owned = OwnedTable(self.table)
        # After a change whose outcome is unknown, and the marks of what nobody was given.
        self._stale = False
        self._unwanted: set[str] = set()

    def __repr__(self) -> str:
        return f"<NftablesBackend table {self.table}, {len(self._owned)} in it>"

    # -- add and remove -------------------------------------------------------------

    def add(self, specs: Sequence[Spec], marks: Sequence[str] | None = None) -> list[RuleId]:
        """Add the rules of all specs, or none of them; one RuleId per spec. Twin: ``nft -f``.

        ``marks``, one per spec, are for a caller who writes down beforehand what it will make.
        Raises KernelError; UnsupportedError and NotFoundError where the kernel lacks a part.
        """
        if not specs:
            return []
        chosen = marks if marks is not None else [new_mark() for _ in specs]
        with self._lock:
            self._settle()
            return self._add_as_possible(specs, chosen)

    def _add_as_possible(self, specs: Sequence[Spec], marks: Sequence[str]) -> list[RuleId]:
        """Add them to the first tables that the kernel has; else raise what it said of the best ones."""
        before, refusal = self._families, None
        for families in self._fitting(specs):
            self._families = families
            try:
                return self._add(specs, marks)
            except KernelError as problem:
                refusal = refusal or problem
                if problem.errno not in (EOPNOTSUPP, EAFNOSUPPORT):
                    break
        self._families = before
        assert refusal is not None
        raise refusal

    def _fitting(self, specs: Sequence[Spec]) -> list[tuple[int, ...]]:
        """The families of the tables that would do, best first; what is there already is followed.

        A table of both costs three times as much to make, for the kernel then tracks the connections of
        both: it is for a rule of both, which this way is one rule. A kernel may lack it, or IPv6.
        """
        families = {spec.family for spec in specs}
        apart: list[tuple[int, ...]] = [_EACH]
        if None in families and 6 not in families:
            apart.append((NFPROTO_IPV4,))
        if len(self._owned):
            return [_BOTH] if self._families == _BOTH else apart
        return [_BOTH, *apart] if None in families else apart

    def _add(self, specs: Sequence[Spec], marks: Sequence[str]) -> list[RuleId]:
        new: list[NewRule] = []
        for spec, mark in zip(specs, marks, strict=True):
            words = ("add NAT rule '", spec, "'")
            new += [(*place, mark, words) for place in compiled(spec, self._families)]
        try:
            for part in _parts(new):
                self._insert(part)
        except BaseException:
            # Ctrl-C between send and receive too.
            self._unwanted.update(marks)
            self._stale = True
            self._settle_if_possible()
            raise
        return [self._owned[mark] for mark in marks]

    def _insert(self, new: Sequence[NewRule]) -> None:
        echo = len(new) <= _MOST_ECHOES
        requests = self._owned.creation({(family, chain) for family, chain, *_ in new})
        requests += [
            nft.new_rule(family, self.table, chain, content, nft.comment(mark), words, echo=echo)
            for family, chain, content, mark, words in new
        ]
        replies = self._transact(requests)
        if echo:
            self._owned.told([(mark, family, chain) for family, chain, _, mark, _ in new], replies)
        else:
            self._owned.reset(self._read())

    def remove(self, rule_ids: Sequence[RuleId]) -> None:
        """Remove rules of ours and detached ones; what is gone already is no error.

        Chains and tables go with their last rule.
        """
        with self._lock:
            self._settle()
            try:
                self._delete(self._owned.known(rule_ids))
            except (NotFoundError, ProtocolError):
                # Something was gone, or the answer was lost: look, and remove what is left.
                self._stale = True
                self._settle()
                self._delete(self._owned.known(rule_ids))
        detached = [rule_id for rule_id in rule_ids if rule_id.table == plain.TABLE]
        if detached:
            plain.remove(self._socket, detached)

    def _delete(self, leaving: Sequence[RuleId]) -> None:
        for part in slices(leaving, _MOST_DELETIONS):
            self._transact(self._owned.deletion(part))
            self._owned.forget(part)

    # -- read -----------------------------------------------------------------------

    def rules(self) -> list[RuleId]:
        """Our rules as the kernel has them now. Twin: ``nft -a list table inet NAME``."""
        return [*by_mark(self.table, self._read()).values()]

    def counters(self, rule_id: RuleId) -> tuple[int, int]:
        """Packets and bytes that the rules matched; NotFoundError if one is gone.

        A NAT chain sees the first packet of a connection only (nft(8), chain type nat).
        """
        counted = [rule.counters() or (0, 0) for rule in read_rules(self._socket, rule_id)]
        return sum(packets for packets, _ in counted), sum(size for _, size in counted)

    def exists(self, rule_id: RuleId) -> bool:
        """Whether all the rules are there now."""
        try:
            read_rules(self._socket, rule_id)
        except NotFoundError:
            return False
        return True

    def _read(self) -> list[Rule]:
        return read_table(self._socket, self.table)

    # -- detach and adopt -------------------------------------------------------------

    def detach(self, rule_ids: Sequence[RuleId]) -> list[RuleId]:
        """Move rules to the plain table ``netkit``, where they outlive this process; in one batch.

        Counters go with them. Returns how they are found there. NotFoundError if one is gone.
        """
        moved: list[Rule] = []
        with self._lock:
            self._settle()
            for rule_id in rule_ids:
                if rule_id.mark not in self._owned:
                    raise gone(rule_id.mark, "detach NAT rules", self._socket.label)
            rules = {(rule.family, rule.chain, rule.handle): rule for rule in self._read()}
            for part in slices(self._owned.known(rule_ids), _MOST_ECHOES):
                copied = [rules[place] for rule_id in part for place in rule_id.places]
                replies = self._transact([*plain.copies(copied), *self._owned.deletion(part)])
                self._owned.forget(part)
                moved += nft.parse_rules(replies)
        found = by_mark(plain.TABLE, moved)
        return [found[rule_id.mark] for rule_id in rule_ids]

    def detached(self) -> list[RuleId]:
        """All rules in the plain table, whoever detached them."""
        return [*plain.find(self._socket).values()]

    def find(self, spec: Spec) -> RuleId | None:
        """The oldest detached rules that say what the spec says; None if there are none."""
        rules = plain.read(self._socket)
        mark = find_equal(spec, rules)
        return None if mark is None else by_mark(plain.TABLE, rules).get(mark)

    def adopt(self, marks: Sequence[str]) -> list[RuleId]:
        """Move detached rules into our table, by their marks; NotFoundError if one is gone."""
        with self._lock:
            self._settle()
            while self._adopt_some(marks):
                continue
            return [self._owned[mark] for mark in marks]

    def _adopt_some(self, marks: Sequence[str]) -> bool:
        """One batch of it; whether there are more."""
        found: list[Rule] = []

        def build() -> list[Request]:
            found[:] = [rule for rule in plain.read(self._socket) if rule.comment in marks]
            self._check_found(marks, {rule.comment for rule in found})
            return [*self._copies(found[:_MOST_ECHOES]), *plain.deletion(found[:_MOST_ECHOES])]

        try:
            replies = change_what_was_read(self._socket, build)
        except BaseException:
            self._stale = True
            raise
        self._owned.learn(nft.parse_rules(replies))
        plain.tidy(self._socket, found)
        return len(found) > _MOST_ECHOES

    def _copies(self, rules: Sequence[Rule]) -> Iterator[Request]:
        yield from self._owned.creation({(rule.family, rule.chain) for rule in rules})
        for rule in rules:
            words = f"adopt NAT rule {rule.comment!r}"
            yield nft.new_rule(
                rule.family, self.table, rule.chain, rule.expressions, rule.userdata, words, echo=True
            )

    def _check_found(self, marks: Sequence[str], found: set[str | None]) -> None:
        for mark in marks:
            if mark not in found and mark not in self._owned:
                raise gone(mark, "adopt NAT rules", self._socket.label)

    # -- the change, and what follows one with an unknown outcome ------------------------

    def _transact(self, requests: Sequence[Request]) -> list[Reply]:
        try:
            return self._socket.transact(nft.transaction(requests))
        except KernelError:
            raise  # refused as a whole: nothing changed
        except BaseException:
            self._stale = True
            raise

    def _settle(self) -> None:
        """Read what is there, and remove what nobody was given."""
        if not self._stale:
            return
        self._owned.reset(self._read())
        self._delete([self._owned[mark] for mark in self._unwanted if mark in self._owned])
        self._unwanted.clear()
        self._stale = False

    def _settle_if_possible(self) -> None:
        try:
            self._settle()
        except (NetkitError, OSError):
            return  # still stale: the next change begins with it


def _parts(new: Sequence[NewRule]) -> Iterator[Sequence[NewRule]]:
    """As few batches as the send buffer allows."""
    start = size = 0
    for index, (_, _, content, _, _) in enumerate(new):
        length = len(content) + _SIZE_BESIDES
        if size + length > _LARGEST_SEND:
            yield new[start:index]
            start, size = index, 0
        size += length
    yield new[start:]
