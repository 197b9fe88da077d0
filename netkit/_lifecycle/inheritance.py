"""What a dead process has left, and a living one adopts: the dead one's journal lets go of it.

Else `netkit gc` would remove it once its new owner has detached it. First the new owner notes it: so it is in
one of the two journals whenever he is killed.
"""

from __future__ import annotations

import os
from fcntl import LOCK_EX

from netkit._lifecycle.claims import contents, discard, journals, legacy_rule
from netkit._lifecycle.protocol_mark import key_of
from netkit._system.entries import (
    IptablesEntry,
    LinkEntry,
    MarkedEntry,
    MembersEntry,
    MessagesEntry,
    NameEntry,
    read_entry,
)
from netkit._system.journal_lines import strike_line
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from netkit._lifecycle.claims import LegacyRule
    from netkit._system.entries import Noted
    from netkit._system.journal_lines import Contents


def inherit(directory: str, is_meant: Callable[[Noted], bool], most: int | None = None) -> None:
    """Take what is meant out of the journals of the dead in this directory: ``most`` entries, or all.

    Without a directory there are none.
    """
    for path, file, dead in journals(LOCK_EX, directory) if directory else ():
        said = contents(file) if dead else None
        if said is None:
            continue
        taken = _meant(said, is_meant)[:most]
        for number in taken:
            os.write(file, strike_line(number))
        if taken and len(taken) == len(said.entries) and not said.faults:
            discard(path)
        if most is not None:
            most -= len(taken)


def inherit_links(directory: str, places: Collection[tuple[str, int]]) -> None:
    """Links, by namespace and index."""
    inherit(
        directory,
        lambda noted: isinstance(noted, LinkEntry) and any((at, i) in places for at, i, _ in noted.places),
    )


def inherit_namespace(directory: str, at: str) -> None:
    """The name of a namespace, and the programs in it."""
    inherit(directory, lambda noted: isinstance(noted, (NameEntry, MembersEntry)) and noted.at == at)


def inherit_message(directory: str, at: str, kind: int, body: bytes) -> None:
    """A route, rule, address or neighbour, by the message that deletes it."""
    key = key_of(kind, body)

    def is_meant(noted: Noted) -> bool:
        return (
            isinstance(noted, MessagesEntry)
            and noted.at == at
            and key_of(noted.delete[0], noted.delete[2]) == key
        )

    inherit(directory, is_meant)


def inherit_legacy_rule(directory: str, rule: LegacyRule) -> None:
    """A rule of iptables-legacy, of several equal ones one."""
    inherit(directory, lambda noted: isinstance(noted, IptablesEntry) and legacy_rule(noted) == rule, most=1)


def inherit_marked(directory: str, mark: str) -> None:
    """Rules in chains of others, by their mark."""
    inherit(directory, lambda noted: isinstance(noted, MarkedEntry) and noted.mark == mark)


def _meant(said: Contents, is_meant: Callable[[Noted], bool]) -> list[int]:
    found: list[int] = []
    for number, entry in said.entries.items():
        try:
            if is_meant(read_entry(entry)):
                found.append(number)
        except ProtocolError:
            continue  # what makes no sense is nobody's
    return found
