"""What dead processes have left whose guards are dead too: `netkit gc`, and a create that meets it.

It is found in journals that nobody holds locked; where those are lost, links are found by their tags, and
names in /run/netns by leading nowhere.
"""

from __future__ import annotations

import os
from fcntl import LOCK_EX, LOCK_SH
from functools import partial

from netkit._lifecycle import presence as presence  # on a bare thread nothing is imported
from netkit._lifecycle.claims import contents, discard, is_dead, journals, living_claims, locked_in_time
from netkit._lifecycle.protocol_mark import key_of
from netkit._lifecycle.reclaim import FAILED, GONE, REMOVED, Finding, Reclaiming
from netkit._lifecycle.seen import missing, seen, told_only
from netkit._lifecycle.tags import tagged_links
from netkit._system import iptables_command as iptables_command
from netkit._system import namespace_files as nsfs
from netkit._system import sysctl as sysctl
from netkit._system.entries import LINK, MESSAGES, NAME, LinkEntry, MessagesEntry, NameEntry
from netkit._system.journal import boot
from netkit._system.journal_lines import Entry, strike_line
from netkit._system.registration import remove_name
from netkit._system.worker import run_fresh
from netkit.errors import NetkitError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    T = TypeVar("T")

_LOWEST_FD = 300  # of a symlink's target; see _system/registration.py


class Collected:
    """One thing that was found: whose it was, by the journal or the tag, and what became of it."""

    __slots__ = ("finding", "owner")

    def __init__(self, owner: str, finding: Finding) -> None:
        self.owner = owner
        self.finding = finding


def collect(dry_run: bool) -> list[Collected]:
    """Everything that can be found; with ``dry_run`` nothing is removed.

    Without the capabilities that it takes it is only told of.
    """
    if lacking := missing():
        names = [Collected("", told_only(each.finding, lacking)) for each in _dangling(True, set())]
        return [*[Collected(*each) for each in seen(lacking)], *names]

    def there() -> list[Collected]:
        owners: set[str] = set()
        found = [*_from_journals(dry_run, owners)]
        said = {each.finding.what for each in found}
        return [*found, *_dangling(dry_run, said), *_by_tag(dry_run, owners)]

    return _on_thread(there)


def collect_link(at: str, name: str) -> None:
    """A link of this name is in the way: remove it if it is a dead process's."""
    _on_thread(lambda: _collect_where(lambda entry: _is_link(entry, at, name)))


def collect_name(name: str) -> None:
    """The same of a name in /run/netns."""
    _on_thread(lambda: _collect_where(lambda entry: _is_name(entry, name)))


def collect_message(at: str, kind: int, body: bytes) -> None:
    """The same of a route, rule, address or neighbour, by the message that deletes it."""
    key = key_of(kind, body)
    _on_thread(lambda: _collect_where(lambda entry: _is_message(entry, at, key)))


def _on_thread(call: Callable[[], T]) -> T:
    """On a thread that may enter namespaces, and ends."""
    here = nsfs.open_current()
    try:
        return run_fresh(here, call)
    finally:
        os.close(here)


# -- by journal -------------------------------------------------------------------------


def _from_journals(dry_run: bool, owners: set[str]) -> Iterator[Collected]:
    """What the dead have noted. ``owners`` gets all that have a journal: another one may be at the dead's."""
    for path, file, dead in journals(LOCK_SH if dry_run else LOCK_EX):
        said = contents(file)
        if said is not None:
            owners.add(said.owner)
        if not dead:
            continue
        found: list[Finding] = []
        if said is not None and said.boot == boot():  # nothing outlives a boot
            entries = [*said.entries.values()]
            found += [Finding(None, f"a line of {path}", FAILED, fault) for fault in said.faults]
            Reclaiming(partial(living_claims, said.owner), dry_run).run(entries, found.append)
        if not dry_run:
            _settle(path, file, found)
        yield from [Collected("" if said is None else said.owner, each) for each in found]


def _settle(path: str, file: int, found: list[Finding]) -> None:
    """Strike out what is done; a journal that has nothing left to say is removed."""
    failed = [each for each in found if each.outcome == FAILED]
    for each in found:
        if each.entry is not None and each.outcome != FAILED:
            os.write(file, strike_line(each.entry.number))
    if not failed:
        discard(path)


def _collect_where(wanted: Callable[[Entry], bool]) -> None:
    """Remove what dead processes have noted and is wanted; their guards, if they still work, come first."""
    for path, file, dead in journals(LOCK_EX):
        said = contents(file)
        if said is None or said.boot != boot() or not any(map(wanted, said.entries.values())):
            continue
        if not dead:
            if not is_dead(said):
                continue
            if not locked_in_time(file):  # the guard is at it, and lets go soon
                continue  # unless somebody has stopped it, as a freezer does
            said = contents(file)
        entries = [] if said is None else [each for each in said.entries.values() if wanted(each)]
        found: list[Finding] = []
        owner = "" if said is None else said.owner
        Reclaiming(partial(living_claims, owner)).run(entries, found.append)
        for each in found:
            if each.entry is not None and each.outcome in (REMOVED, GONE):
                os.write(file, strike_line(each.entry.number))
        if said is not None and len(found) == len(said.entries) and _all_done(found):
            discard(path)


def _all_done(found: list[Finding]) -> bool:
    return all(each.outcome in (REMOVED, GONE) for each in found)


def _is_link(entry: Entry, at: str, name: str) -> bool:
    try:
        return entry.kind == LINK and (at, name) in [(p, n) for p, _, n in LinkEntry(entry).places]
    except ProtocolError:
        return False


def _is_name(entry: Entry, name: str) -> bool:
    try:
        return entry.kind == NAME and NameEntry(entry).name == name
    except ProtocolError:
        return False


def _is_message(entry: Entry, at: str, key: tuple[object, ...]) -> bool:
    try:
        if entry.kind != MESSAGES:
            return False
        noted = MessagesEntry(entry)
        return noted.at == at and key_of(noted.delete[0], noted.delete[2]) == key
    except ProtocolError:
        return False


# -- without a journal ------------------------------------------------------------------


def _by_tag(dry_run: bool, known: set[str]) -> list[Collected]:
    """Links here and in named namespaces that say by their alias that a dead process made them.

    What the ``known`` have made is in their journals.
    """
    return [Collected(owner, finding) for owner, finding in tagged_links(dry_run, known)]


def _dangling(dry_run: bool, known: set[str]) -> Iterator[Collected]:
    """Symlinks of the form that netkit makes which lead nowhere, and that no living process has noted."""
    claimed = living_claims().names
    try:
        names = sorted(os.listdir(nsfs.NETNS_DIRECTORY))
    except OSError:
        return
    for name in names:
        target = _target(f"{nsfs.NETNS_DIRECTORY}/{name}")
        if target is None or (name, target) in claimed or f"namespace '{name}'" in known:
            continue
        try:
            done = remove_name(name, target, None, dry_run)
        except NetkitError:
            continue  # it was made anew meanwhile
        if done:
            yield Collected("", Finding(None, f"namespace '{name}', which leads nowhere", REMOVED))


def _target(path: str) -> str | None:
    """Where a stale symlink leads, if it is one that netkit makes."""
    try:
        target = os.readlink(path)
    except OSError:
        return None
    words = target.split("/")  # /proc/PID/fd/N
    ours = len(words) == 5 and words[:2] == ["", "proc"] and words[3] == "fd"
    numbers = ours and words[2].isdigit() and words[4].isdigit() and int(words[4]) >= _LOWEST_FD
    return target if numbers and nsfs.is_stale(path) else None
