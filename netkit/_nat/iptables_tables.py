"""Changes to iptables' tables through python-iptables: one open, one commit, one look at the result.

Every open is fresh: a table object that python-iptables keeps is bound to what the kernel had when
it was read, and a commit writes all of that back. Runs in the worker only.
"""

from __future__ import annotations

import ctypes
import errno
import time
from contextlib import contextmanager

from netkit._nat.iptables_edits import TableError
from netkit._nat.iptables_entry import canonical, named_target
from netkit._nat.iptables_libraries import load_iptc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeAlias

    from netkit._nat.iptables_edits import Edit, State

    Key: TypeAlias = tuple[int, str]  # family, table

_RETRIES = 20  # another writer without the lock, over and over: give up


@contextmanager
def open_table(key: Key) -> Generator[Any]:
    """A table as the kernel has it now; closed without committing."""
    iptc = load_iptc()
    family, name = key
    kind = iptc.Table if family == 4 else iptc.Table6
    iptc.Table._cache.clear()
    iptc.Table6._cache.clear()
    with _explained(iptc):
        table = kind(name, autocommit=False)
    try:
        with _explained(iptc):
            yield table
    finally:
        kind._cache.clear()
        table.close()


@contextmanager
def _explained(iptc: Any) -> Generator[None]:
    try:
        yield
    except iptc.IPTCError as error:
        number = iptc.ip4tc._get_errno_loc()[0]
        # Its text holds the repr of bytes: "can't commit: b'Invalid argument'".
        text = str(error).replace(": b'", ": ").replace(': b"', ": ").rstrip("'\"")
        raise TableError(number, text) from None


def entries(table: Any, chain: str) -> Iterator[tuple[bytes, Any]]:
    """Each rule of a chain: its bytes, and python-iptables' object for it."""
    entry = table.first_rule(chain)
    while entry:
        raw = ctypes.string_at(ctypes.addressof(entry), entry.next_offset)
        if not raw[entry.target_offset + 2]:  # its number alone, which changes with what is before it
            raw = named_target(raw, entry.target_offset, table.get_target(entry) or b"")
        yield raw, entry
        entry = table.next_rule(entry)


def chain_rules(table: Any, family: int, chain: str) -> list[bytes]:
    return [canonical(raw, family) for raw, _ in entries(table, chain)]


def apply(groups: Mapping[Key, Sequence[Edit]], until: float) -> None:
    """Do all edits of all tables, or none: what was committed is taken back if a later table fails."""
    done: list[tuple[Key, list[Edit]]] = []
    try:
        for key, edits in groups.items():
            change_table(key, edits, until)
            done.append((key, _inverse(edits)))
    except Exception as error:
        for key, edits in reversed(done):
            try:
                change_table(key, edits, until)
            except TableError as second:
                error.add_note(f"and what was done in table {key[1]} (IPv{key[0]}) stays: {second}")
        raise


def _inverse(edits: Sequence[Edit]) -> list[Edit]:
    return [inverse for edit in reversed(edits) if (inverse := edit.inverse()) is not None]


def change_table(key: Key, edits: Sequence[Edit], until: float) -> None:
    """Commit the edits to one table and see that they are there."""
    pending = edits
    for attempt in range(_RETRIES):
        expected = _commit(key, pending)
        if expected is not None:
            pending = _lost(key, pending, expected)
            if not pending:
                return
        if attempt and time.monotonic() > until:
            break
    raise TableError(errno.EAGAIN, "another program keeps writing the table without taking the xtables lock")


def _commit(key: Key, edits: Sequence[Edit]) -> State | None:
    """The chains as they are after the commit; None if the table changed meanwhile: try again."""
    with open_table(key) as table:
        state = _read(table, key[0], [chain for edit in edits for chain in edit.chains])
        changed = [edit.change(table, state) for edit in edits]
        if not any(changed):
            return state
        try:
            with _explained(load_iptc()):
                table.commit()
        except TableError as error:
            if error.errno == errno.EAGAIN:
                return None
            raise
    return state


def _read(table: Any, family: int, chains: Iterable[str]) -> State:
    return {
        chain: chain_rules(table, family, chain) if table.is_chain(chain) else None
        for chain in dict.fromkeys(chains)
    }


def _lost(key: Key, edits: Sequence[Edit], expected: State) -> list[Edit]:
    """The edits that the kernel's table, read again, does not show."""
    with open_table(key) as table:
        now = _read(table, key[0], expected)
    return [] if now == expected else [edit for edit in edits if edit.is_lost(now, expected)]
