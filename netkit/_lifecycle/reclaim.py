"""Undoing what a process has left, by its journal: the guard's work, and that of `netkit gc`.

Each entry is compared with what the kernel says now, and only what still is what was made is removed.
The calling thread enters namespaces: it is a guard's, or one of its own.
"""

from __future__ import annotations

from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from errno import EEXIST, ENODEV

from netkit._lifecycle.claims import legacy_rule
from netkit._lifecycle.groups import common_group
from netkit._lifecycle.protocol_mark import is_there, key_of
from netkit._netlink.link import delete_group, delete_link, list_links, parse_link
from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.transport import NETLINK_NETFILTER, NETLINK_ROUTE
from netkit._netlink.wire import Request
from netkit._system import namespace_files as nsfs
from netkit._system.entries import (
    CHAINS,
    IPTABLES,
    LINK,
    MARKED,
    MEMBERS,
    MESSAGES,
    NAME,
    STAGES,
    SYSCTL,
    ChainsEntry,
    IptablesEntry,
    LinkEntry,
    MarkedEntry,
    MembersEntry,
    MessagesEntry,
    NameEntry,
    SysctlEntry,
    read_entry,
)
from netkit._system.members import kill_members, members_of
from netkit._system.places import Places, parse_place
from netkit._system.registration import remove_name
from netkit.errors import KernelError, NetkitError, NotFoundError, ProtocolError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from netkit._lifecycle.claims import Claims
    from netkit._netlink.link import LinkRecord
    from netkit._system.journal_lines import Entry

# What was made is there no more, by us or before; something else is in its place; it could not be removed.
REMOVED, GONE, FOREIGN, FAILED = "removed", "gone", "left alone", "failed"
_CLAIMED = "a living process has noted the same"


class Finding:
    """What became of one entry, if there is one, and why."""

    __slots__ = ("entry", "outcome", "reason", "what")

    def __init__(self, entry: Entry | None, what: str, outcome: str, reason: str = "") -> None:
        self.entry = entry
        self.what = what
        self.outcome = outcome
        self.reason = reason


class ForeignError(Exception):
    """Something is there that is not what was made: the text says what."""


class Reclaiming:
    """One pass over the entries of a dead process. ``claims`` are what living ones have noted.

    ``held`` are descriptors of namespaces by their places, closed at the end; others are looked for.
    """

    def __init__(
        self, claims: Callable[[], Claims], dry_run: bool = False, held: Mapping[str, int] | None = None
    ) -> None:
        self._read_claims = claims
        self._known_claims: Claims | None = None
        self._dry_run = dry_run
        self._places = Places(held)
        self._at_death = held is not None  # as its guard: while that lives, nobody else takes anything over
        self._sockets: dict[str, NetlinkSocket] = {}
        self._links: dict[str, dict[int, LinkRecord]] = {}
        # Namespaces that ended with the process, if nobody has entered them: their links are looked for at
        # the other end. All descriptors of all processes are not searched for them, which takes 0.1 s.
        self._ended: set[tuple[int, int]] = set()

    def _claims(self) -> Claims:
        """Read when first needed: most of what is undone bears marks of its own."""
        if self._known_claims is None:
            self._known_claims = self._read_claims()
        return self._known_claims

    def run(self, entries: Iterable[Entry], settled: Callable[[Finding], object]) -> None:
        """Stage by stage, the newest first; ``settled`` is told of each entry in turn."""
        staged: dict[int, list[tuple[Entry, Any]]] = {}
        for entry in entries:
            try:
                staged.setdefault(STAGES.get(entry.kind, 0), []).append((entry, read_entry(entry)))
            except ProtocolError as problem:
                settled(Finding(entry, f"an entry {entry.kind[:20]!r}", FAILED, str(problem)))
        names = staged.get(STAGES[NAME], ())
        ours = [noted for _, noted in names if isinstance(noted, NameEntry) and noted.target]
        self._ended = {parse_place(noted.at)[0] for noted in ours}
        try:
            for stage in sorted(staged):
                self._run_stage(staged[stage][::-1], settled)
        finally:
            self._close()

    def _run_stage(self, stage: Sequence[tuple[Entry, Any]], settled: Callable[[Finding], object]) -> None:
        links = [noted for _, noted in stage if isinstance(noted, LinkEntry) and not self._is_claimed(noted)]
        if len(links) > 1 and not self._dry_run:
            self._try(lambda: self._delete_groups(links))  # what this leaves is looked at singly
        for entry, noted in stage:
            settled(self._attempt(entry, noted))

    def _attempt(self, entry: Entry, noted: Any) -> Finding:
        try:
            if self._is_claimed(noted):
                raise ForeignError(_CLAIMED)
            done = _UNDO[entry.kind](self, noted)
        except (ForeignError, StateError) as reason:
            return Finding(entry, str(noted), FOREIGN, str(reason))
        except (NetkitError, OSError) as problem:
            return Finding(entry, str(noted), FAILED, str(problem))
        return Finding(entry, str(noted), REMOVED if done else GONE)

    def _is_claimed(self, noted: Any) -> bool:
        """Whether a living process has adopted it, which nobody can while the guard of who made it lives."""
        if self._at_death:
            return False
        claims = self._claims()
        if isinstance(noted, LinkEntry):
            return any((at, index) in claims.places for at, index, _ in noted.places)
        if isinstance(noted, (NameEntry, MembersEntry)):
            return (noted.at, 0) in claims.places
        if isinstance(noted, MessagesEntry):
            return (noted.at, key_of(noted.delete[0], noted.delete[2])) in claims.keys
        return isinstance(noted, MarkedEntry) and noted.mark in claims.marks

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except (NetkitError, OSError):
            return

    # -- links ------------------------------------------------------------------------

    def _delete_groups(self, links: Sequence[LinkEntry]) -> None:
        """Where all members of a group are to go, in one message."""
        for at in dict.fromkeys([at for link in links for at, _, _ in link.places]):
            present = self._links_at(at)
            found = {i for link in links for i in self._here(link, at, present)}
            group = common_group(present, found) if len(found) > 1 else None
            if group is not None:
                self._socket(at).request(delete_group(group))

    def _here(self, link: LinkEntry, at: str, present: dict[int, LinkRecord]) -> list[int]:
        indexes = [index for where, index, _ in link.places if where == at]
        return [i for i in indexes if i in present and _is_same(link, present[i])]

    def _undo_link(self, link: LinkEntry) -> bool:
        others: list[str] = []
        for at, index, _ in link.places:
            present = self._links_at(at)
            record = present.get(index)
            if record is None:
                continue
            if not _is_same(link, record):
                kind = record.kind or "device"
                others.append(f"link {index} is now somebody else's {kind} '{record.name}'")
                continue
            return self._deleted(at, index)
        if others:
            raise ForeignError(others[0])
        return False

    def _deleted(self, at: str, index: int) -> bool:
        if not self._dry_run:
            try:
                self._socket(at).request(delete_link(index))
            except NotFoundError:
                return True  # with its group, or its peer
        return True

    def _links_at(self, at: str) -> dict[int, LinkRecord]:
        if at not in self._links:
            found = self._places.find(at, held=parse_place(at)[0] not in self._ended)
            replies = [] if found < 0 else self._socket(at).dump(list_links())
            self._links[at] = {record.index: record for record in map(parse_link, replies)}
        return self._links[at]

    # -- routes, rules, addresses, neighbours -------------------------------------------

    def _undo_messages(self, noted: MessagesEntry) -> bool:
        """Deleted first: only what is still ours gives way to what was there before."""
        if self._places.find(noted.at) < 0:
            return False
        if (noted.at, noted.delete[2]) in self._claims().messages:
            raise ForeignError(_CLAIMED)
        try:
            kind, _, body = noted.delete
            if self._dry_run:
                from netkit._lifecycle.presence import is_present

                return is_present(self._socket(noted.at), kind, body)
            if not is_there(self._socket(noted.at), kind, body):
                return False
            self._send(noted.at, noted.delete)
        except KernelError as problem:
            if isinstance(problem, NotFoundError) or problem.errno == ENODEV:
                return False
            raise
        for each in noted.restore:
            try:
                self._send(noted.at, each)
            except KernelError as problem:
                if problem.errno not in (EEXIST, ENODEV):
                    raise
        return True

    def _send(self, at: str, message: tuple[int, int, bytes]) -> None:
        kind, flags, body = message
        self._socket(at).request(Request(kind, flags, body, "undo what a process has left", deleting=True))

    # -- sysctls and iptables -----------------------------------------------------------

    def _undo_sysctl(self, noted: SysctlEntry) -> bool:
        from netkit._system.sysctl import reclaim

        found = self._places.find(noted.at)
        if found < 0:
            return False
        self._places.enter(found)
        return reclaim(nsfs.identity(found), noted.at, noted.path, noted.record, self._dry_run)

    def _undo_iptables(self, noted: IptablesEntry) -> bool:
        from netkit._system.iptables_command import delete_rule

        found = self._places.find(noted.at)
        if found < 0:
            return False
        before = noted.before
        if not self._at_death:  # a living process may have taken it over since
            before = max(before, len(self._claims().rules.get(legacy_rule(noted), ())))
        self._places.enter(found)
        return delete_rule(noted.family, noted.table, noted.rule, before, self._dry_run)

    def _undo_chains(self, noted: ChainsEntry) -> bool:
        from netkit._system.iptables_command import delete_chains

        found = self._places.find(noted.at)
        if found < 0:
            return False
        self._places.enter(found)
        return delete_chains(noted.family, noted.table, noted.suffix, self._dry_run)

    def _undo_marked(self, noted: MarkedEntry) -> bool:
        from netkit._netlink.nft_marked import delete_marked

        found = self._places.find(noted.at)
        if found < 0:
            return False
        self._places.enter(found)
        opened = NetlinkSocket(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER))
        try:
            return delete_marked(opened, noted.family, noted.table, noted.chain, noted.mark, self._dry_run)
        finally:
            opened.close()

    # -- namespaces ---------------------------------------------------------------------

    def _undo_members(self, noted: MembersEntry) -> bool:
        found = self._places.find(noted.at, inhabited=True)
        if found < 0:
            return False
        try:  # the descriptor keeps its inode number from being given to another namespace
            self._places.go_home()  # or we would be a member
            identity = nsfs.identity(found)
            return bool(members_of(identity) if self._dry_run else kill_members(identity))
        finally:
            self._forget(noted.at)

    def _undo_name(self, noted: NameEntry) -> bool:
        at = noted.at
        if noted.target and (noted.name, noted.target) in self._claims().names:
            raise ForeignError(_CLAIMED)
        found = -1 if noted.target else self._places.at(f"{nsfs.NETNS_DIRECTORY}/{noted.name}", at)
        identity = None if found < 0 else nsfs.identity(found)
        self._forget(at)
        return remove_name(noted.name, noted.target, identity, self._dry_run)

    # -- inside -------------------------------------------------------------------------

    def _socket(self, at: str) -> NetlinkSocket:
        if at not in self._sockets:
            self._places.enter(self._places.find(at))
            sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
            self._sockets[at] = NetlinkSocket(sock)
        return self._sockets[at]

    def _forget(self, at: str) -> None:
        """Let go of a namespace that is to end."""
        sock = self._sockets.pop(at, None)
        if sock is not None:
            sock.close()
        self._places.leave(at)

    def _close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._places.close()


def _is_same(link: LinkEntry, record: LinkRecord) -> bool:
    """Names and indexes are used again: kind, and group or MAC, are what netkit gave it."""
    return record.kind == link.kind and (record.group == link.group or record.mac in link.macs)


_UNDO: dict[str, Callable[[Reclaiming, Any], bool]] = {
    LINK: Reclaiming._undo_link,
    NAME: Reclaiming._undo_name,
    MEMBERS: Reclaiming._undo_members,
    MESSAGES: Reclaiming._undo_messages,
    SYSCTL: Reclaiming._undo_sysctl,
    IPTABLES: Reclaiming._undo_iptables,
    CHAINS: Reclaiming._undo_chains,
    MARKED: Reclaiming._undo_marked,
}
