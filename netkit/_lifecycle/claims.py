"""What living processes have noted in their journals, so that it is not taken for a dead one's."""

from __future__ import annotations

import os
from _thread import allocate_lock, start_new_thread
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock

from netkit._lifecycle.protocol_mark import key_of
from netkit._system.entries import (
    IPTABLES,
    LINK,
    MARKED,
    MESSAGES,
    NAME,
    IptablesEntry,
    LinkEntry,
    MarkedEntry,
    MessagesEntry,
    NameEntry,
)
from netkit._system.journal import DIRECTORY, boot, journal, pid_namespace, start_time
from netkit._system.journal_lines import Contents, read
from netkit._system.signals import admitted_signals
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from netkit._system.journal_lines import Entry

    LegacyRule = tuple[str, int, str, str]

# Seconds, for a reader, who takes microseconds, or a guard, which takes a tenth of one: on a busy machine
# some pass, and a guard waits that long itself for the kernel's answer, or for iptables' lock. What is given
# up is left behind, or in the way of what is created. Not for ever: a freezer may have stopped them.
_PATIENCE = 60.0


def read_whole(file: int) -> bytes:
    """All of a journal, without moving anybody's position in it."""
    return os.pread(file, os.fstat(file).st_size, 0)


def journals(lock: int = LOCK_SH, directory: str = DIRECTORY) -> Iterator[tuple[str, int, bool]]:
    """Each journal: its path, a descriptor, and whether its owner is dead: then it is locked for us.

    Who only reads takes a shared lock, or two readers would take each other for its owner; who acts on
    it an exclusive one. The descriptor is closed when the next one is asked for. Only files of this user
    count.
    """
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        path = f"{directory}/{name}"
        try:
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if os.fstat(file).st_uid == os.geteuid():
                yield path, file, _is_free(file, lock)
        finally:
            os.close(file)


def _is_free(file: int, lock: int) -> bool:
    """Whether its owner is dead, and nobody is at it. Readers do not count: who acts waits for them."""
    if _is_locked(file, lock):
        return True
    return lock == LOCK_EX and _is_locked(file, LOCK_SH) and locked_in_time(file)


def _is_locked(file: int, lock: int) -> bool:
    try:
        flock(file, lock | LOCK_NB)
    except OSError:
        return False
    return True


def locked_in_time(file: int) -> bool:
    """Lock it, once who is at it has finished. flock(2) has no timeout: a thread waits, and may go on."""
    copy, locked = os.dup(file), allocate_lock()
    locked.acquire()

    def wait() -> None:
        try:
            flock(copy, LOCK_EX)
        finally:
            os.close(copy)
            locked.release()

    start_new_thread(wait, ())
    with admitted_signals():
        return locked.acquire(timeout=_PATIENCE)


def discard(path: str) -> None:
    """Remove a journal that has nothing left to say, if its guard or a collector was not quicker."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def is_dead(said: Contents) -> bool:
    """Whether the owner is known to be dead, though its journal is locked: by its guard, or a collector."""
    return said.pid_namespace == pid_namespace() and start_time(said.pid) != str(said.start)


def contents(file: int) -> Contents | None:
    """What a journal says; None if it is empty or no journal."""
    try:
        return read(read_whole(file))
    except ProtocolError:
        return None


def living(but: str, directory: str = DIRECTORY) -> Iterator[Contents]:
    """What the processes have noted that live, other than the one whose journal is ``but``'s."""
    for _, file, dead in journals(directory=directory):
        said = None if dead else contents(file)
        if said is not None and said.owner != but:
            yield said


def living_owner(wanted: Iterable[tuple[str, int]], directory: str) -> str | None:
    """The process, another than this one, that lives and has noted one of these, in words.

    They are links, by namespace and index, or with index 0 a name of the namespace.
    """
    searched = set(wanted)
    return _owner_among(directory, lambda said: not searched.isdisjoint(_places(said)))


def living_owner_of_message(at: str, kind: int, body: bytes, directory: str) -> str | None:
    """The same of a route, rule, address or neighbour, by the message that deletes it."""
    wanted = at, key_of(kind, body)

    def has(said: Contents) -> bool:
        found = Claims()
        for entry in said.entries.values():
            found.add(entry)
        return wanted in found.keys

    return _owner_among(directory, has)


def _owner_among(directory: str, has: Callable[[Contents], bool]) -> str | None:
    """Of a dead one the guard is at it: when that has finished, what is still there is nobody's."""
    for _, file, dead in journals(directory=directory):
        said = None if dead else contents(file)
        if said is None or said.owner == journal.owner or not has(said):
            continue
        if not (is_dead(said) and locked_in_time(file)):
            return process_of(said)
    return None


def process_of(said: Contents) -> str:
    """Whose journal it is, in words."""
    elsewhere = said.pid_namespace != pid_namespace()
    return f"process {said.pid}{' (its number in another pid namespace)' if elsewhere else ''}"


def living_marks(directory: str) -> set[str]:
    """The marks of rules, in chains of others, that living processes have noted, this one among them."""
    return {
        mark for said in living("", directory) for entry in said.entries.values() for mark in _marks(entry)
    }


def _marks(entry: Entry) -> Iterator[str]:
    try:
        if entry.kind == MARKED:
            yield MarkedEntry(entry).mark
        elif entry.kind == IPTABLES:
            yield f"netkit:{IptablesEntry(entry).rule.partition(' --comment netkit-')[2][:16]}"
    except ProtocolError:
        return  # what makes no sense is nobody's


def _places(said: Contents) -> Iterator[tuple[str, int]]:
    for entry in said.entries.values():
        if entry.kind == LINK:
            yield from [(at, index) for at, index, _ in LinkEntry(entry).places]
        elif entry.kind == NAME:
            yield NameEntry(entry).at, 0


def is_abandoned(name: str, target: str) -> bool:
    """Whether a process that is dead made a name in /run/netns: its symlink may lead anywhere by now."""
    dead_has_it = False
    for _, file, dead in journals():
        said = contents(file)
        if said is not None and (name, target) in _names(said):
            if not dead:
                return False
            dead_has_it = True
    return dead_has_it


def _names(said: Contents) -> set[tuple[str, str]]:
    found = Claims()
    for entry in said.entries.values():
        found.add(entry)
    return found.names


def noted_rules(directory: str) -> dict[tuple[LegacyRule, str], int]:
    """The rules of iptables-legacy that other processes have noted, dead ones too, and by whom."""
    found: dict[tuple[LegacyRule, str], int] = {}
    for _, file, _ in journals(directory=directory):
        said = contents(file)
        if said is None or said.owner == journal.owner or said.boot != boot():
            continue
        claims = Claims()
        for entry in said.entries.values():
            claims.add(entry)
        found.update({(rule, said.owner): len(claims.rules[rule]) for rule in claims.rules})
    return found


class Claims:
    """What living processes have noted: undo messages by namespace, names with their targets.

    ``keys`` are what the messages are about, ``places`` links by namespace and index and with index 0 named
    namespaces, ``marks`` those of rules in chains of others. ``rules`` are those of iptables-legacy, which
    bear no mark: for each, who has noted it.
    """

    __slots__ = ("keys", "marks", "messages", "names", "places", "rules")

    def __init__(self) -> None:
        self.messages: set[tuple[str, bytes]] = set()
        self.keys: set[tuple[str, tuple[object, ...]]] = set()
        self.names: set[tuple[str, str]] = set()
        self.places: set[tuple[str, int]] = set()
        self.marks: set[str] = set()
        self.rules: dict[LegacyRule, list[str]] = {}

    def add(self, entry: Entry, process: str = "") -> None:
        """Take in one entry of a process; what makes no sense claims nothing."""
        try:
            if entry.kind == MESSAGES:
                noted = MessagesEntry(entry)
                self.messages.add((noted.at, noted.delete[2]))
                self.keys.add((noted.at, key_of(noted.delete[0], noted.delete[2])))
            elif entry.kind == NAME:
                named = NameEntry(entry)
                self.names.add((named.name, named.target))
                self.places.add((named.at, 0))
            elif entry.kind == LINK:
                self.places.update([(at, index) for at, index, _ in LinkEntry(entry).places])
            elif entry.kind == MARKED:
                self.marks.add(MarkedEntry(entry).mark)
            elif entry.kind == IPTABLES:
                self.rules.setdefault(legacy_rule(IptablesEntry(entry)), []).append(process)
        except ProtocolError:
            return


def legacy_rule(noted: IptablesEntry) -> LegacyRule:
    """What makes two rules of iptables-legacy the same: namespace, family, table, and what they say."""
    return noted.at, noted.family, noted.table, noted.rule


def living_claims(owner: str = "", directory: str = DIRECTORY) -> Claims:
    """What is in the journals of living processes other than ``owner``."""
    found = Claims()
    for said in living(owner, directory):
        process = process_of(said)
        for entry in said.entries.values():
            found.add(entry, process)
    return found
