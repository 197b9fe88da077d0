"""Changes to iptables' tables through python-iptables: one open, one commit, one look at the result.

Every open is fresh: a table object that python-iptables keeps is bound to what the kernel had when
it was read, and a commit writes all of that back. Runs in the worker only.
"""

from __future__ import annotations

import ctypes
import errno
import time
from contextlib import contextmanager

from netkit._nat.iptables_entry import canonical
from netkit._nat.iptables_libraries import load_iptc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any, TypeAlias

    Key: TypeAlias = tuple[int, str]  # family, table
    Chains: TypeAlias = dict[str, list[bytes]]

_RETRIES = 20  # another writer without the lock, over and over: give up


class TableError(Exception):
    """libiptc refused: ``errno`` and its text."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.errno = number


class Edit:
    """One rule to add or to take away. ``index`` is 0 for the first, -1 for the last place."""

    __slots__ = ("chain", "found", "index", "raw", "verb")

    def __init__(self, verb: str, chain: str, raw: bytes, index: int) -> None:
        self.verb = verb
        self.chain = chain
        self.raw = raw
        self.index = index
        self.found: int | None = None  # where a rule that was removed had been


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
        yield ctypes.string_at(ctypes.addressof(entry), entry.next_offset), entry
        entry = table.next_rule(entry)


def chain_rules(table: Any, family: int, chain: str) -> list[bytes]:
    return [canonical(raw, family) for raw, _ in entries(table, chain)]


def apply(groups: dict[Key, list[Edit]], until: float) -> None:
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


def _inverse(edits: list[Edit]) -> list[Edit]:
    inverse: list[Edit] = []
    for edit in reversed(edits):
        if edit.verb == "add":
            inverse.append(Edit("remove", edit.chain, edit.raw, edit.index))
        elif edit.found is not None:
            inverse.append(Edit("add", edit.chain, edit.raw, edit.found))
    return inverse


def change_table(key: Key, edits: list[Edit], until: float) -> None:
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


def _commit(key: Key, edits: list[Edit]) -> Chains | None:
    """The chains as they are after the commit; None if the table changed meanwhile: try again."""
    with open_table(key) as table:
        chains = {chain: chain_rules(table, key[0], chain) for chain in {edit.chain for edit in edits}}
        changed = [_change(table, edit, chains[edit.chain]) for edit in edits]
        if not any(changed):
            return chains
        try:
            with _explained(load_iptc()):
                table.commit()
        except TableError as error:
            if error.errno == errno.EAGAIN:
                return None
            raise
    return chains


def _change(table: Any, edit: Edit, rules: list[bytes]) -> bool:
    if edit.verb == "add":
        place = len(rules) if edit.index < 0 else min(edit.index, len(rules))
        _insert(table, edit, place, len(rules))
        rules.insert(place, edit.raw)
        return True
    index = _find(rules, edit.raw, edit.index)
    if index is None:
        return False
    edit.found = index
    # Table.delete_entry takes the first that is equal; the last one is ours if we appended.
    if table._iptc.iptc_delete_num_entry(edit.chain.encode(), index, table._handle) != 1:
        raise load_iptc().IPTCError(f"can't delete rule {index + 1} of {edit.chain}: {table.strerror()}")
    del rules[index]
    return True


def _insert(table: Any, edit: Edit, index: int, length: int) -> None:
    buffer = (ctypes.c_ubyte * len(edit.raw)).from_buffer_copy(edit.raw)
    if index == length:
        table.append_entry(edit.chain, buffer)
    else:
        table.insert_entry(edit.chain, buffer, index)


def _find(rules: list[bytes], raw: bytes, which: int) -> int | None:
    if raw not in rules:
        return None
    if which >= 0:
        return rules.index(raw)
    return len(rules) - 1 - rules[::-1].index(raw)


def _lost(key: Key, edits: list[Edit], expected: Chains) -> list[Edit]:
    """The edits that the kernel's table, read again, does not show."""
    lost: list[Edit] = []
    with open_table(key) as table:
        now = {chain: chain_rules(table, key[0], chain) for chain in expected}
    if now == expected:
        return []
    for edit in edits:
        more = now[edit.chain].count(edit.raw) - expected[edit.chain].count(edit.raw)
        if more < 0 if edit.verb == "add" else more > 0:
            lost.append(edit)
    return lost
