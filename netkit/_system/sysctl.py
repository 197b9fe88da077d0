"""Sysctls of a namespace, and overrides of them that several users can hold at once.

`Override` counts users of one (namespace, key): in the process in memory, across processes by a shared
flock each holds on a file in /run/netkit/sysctl. Only the last user restores, and only what is unchanged.
"""

from __future__ import annotations

import os
from _thread import RLock

from netkit._system import sysctl_lock
from netkit._system.sysctl_change import reset_values, set_value, values_of
from netkit._system.sysctl_files import (
    key_of,
    key_path,
    present,
    read,
    value_text,
    write,
)
from netkit._system.sysctl_lock import SharedRecord
from netkit.errors import NotFoundError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeVar

    from netkit._system.sysctl_lock import Record

    T = TypeVar("T")

    class Inside(Protocol):
        """Runs a function on a thread inside the namespace; its result comes back."""

        def __call__(self, function: Callable[[], T], /) -> T: ...


__all__ = ["Override", "key_of", "key_path", "present", "read", "value_text", "write"]

_SAME = {"net/ipv4/ip_forward": "net/ipv4/conf/all/forwarding"}


class Override:
    """A value that holds from `begin` to `end`. Usable without the rest of netkit.

    ``inside(function)`` runs a function in the namespace whose (device, inode) is ``identity``;
    with ``lambda function: function()`` it is the calling thread's own. ``alone=True`` is for a
    namespace that no other process overrides sysctls in: then no file is used. With ``place``, how the
    journal calls the namespace, the override is undone even if this process is killed.
    """

    def __init__(
        self,
        identity: tuple[int, int],
        inside: Inside,
        path: str,
        text: str,
        *,
        alone: bool = False,
        place: str = "",
    ) -> None:
        self.text = text
        self._place = place
        self._inside = inside
        self._alone = alone
        self._given = key_of(path)
        self._key = (identity, _SAME.get(path, path))
        self._shared: _Shared | None = None

    def begin(self, inside: Inside | None = None) -> None:
        """Set the value, remembering what it was unless somebody has done so already.

        ``inside`` is for this call, where the calling thread is in the namespace already.
        """
        with _lock:
            if self._shared is not None:
                raise StateError(f"the override of {key_of(self._key[1])} has begun already")
            shared = _shared.get(self._key) or _Shared(*self._key, self._alone, self._place)
            shared.users.append(self)
            _shared[self._key] = self._shared = shared
            try:
                shared.begin(self.text, inside or self._inside, self._given)
            except BaseException:  # after a KeyboardInterrupt the value may have been written
                self.end()
                raise

    def end(self) -> None:
        """The last user gives the old values back, where they are unchanged since. Twice is nothing."""
        with _lock:
            shared = self._part()
            if shared is None:
                return
            try:
                if shared.users:
                    shared.give_way(self.text, shared.users[-1].text, self._inside)
                elif shared.lock.is_last():
                    restore(shared.path, shared.lock.record, self._inside)
                    shared.lock.remove()
            except NotFoundError:
                self._leave(shared)
                raise
            except BaseException:  # not given back: it can be tried again
                self._rejoin(shared)
                raise
            self._leave(shared)

    def forget(self) -> None:
        """Leave the value for good: neither this nor a later `end` of another user takes it back."""
        with _lock:
            shared = self._part()
            if shared is None:
                return
            try:
                shared.lock.load()
                shared.lock.record.before.update(shared.lock.record.after)
                shared.lock.save()
                if not shared.users and shared.lock.is_last():
                    shared.lock.remove()
            finally:
                self._leave(shared)

    def _part(self) -> _Shared | None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.users.remove(self)
        return shared

    def _rejoin(self, shared: _Shared) -> None:
        shared.users.append(self)
        self._shared = shared
        shared.lock.stay()
        shared.lock.release()

    def _leave(self, shared: _Shared) -> None:
        shared.lock.release()
        if not shared.users:
            shared.lock.drop()
            _shared.pop(self._key, None)


class _Shared:
    """What the users of one key in this process have in common."""

    def __init__(self, identity: tuple[int, int], path: str, alone: bool, place: str) -> None:
        self.path = path
        self.users: list[Override] = []
        self.lock = SharedRecord(identity, path, alone, place)

    def begin(self, text: str, inside: Inside, key: str) -> None:
        first = self.lock.enter() and len(self.users) == 1
        try:
            change(self.path, text, self.lock, first, inside, key)
        finally:
            self.lock.release()

    def give_way(self, text: str, other: str, inside: Inside) -> None:
        """A nested user ends: the value of the one before it holds again."""
        self.lock.load()
        if text.split() != other.split() and inside(lambda: read(self.path)).split() == text.split():
            change(self.path, other, self.lock, False, inside)


def change(
    path: str, text: str, lock: SharedRecord, first: bool, inside: Inside, key: str | None = None
) -> None:
    """Write the value, and note in the record what it and all that the write resets were.

    Before the write the record says what it is to make, for it may be the last thing this process does.
    """
    record = lock.record

    def there() -> None:
        # The record is filled here, on the thread that also ends when the caller is interrupted.
        if not lock.is_read:
            _remember(record, path, first, *set_value(path, text, key))
            return
        before = values_of(path)
        if first and not _goes_on(record, path, before[path]):
            record.before, record.after = before, {}
        known = {**record.after}
        if lock.is_read and before[path].split() != text.split():
            _expect(record, path, text, before)
            lock.save()
        try:
            changed = write(path, text, key, before[path])
        except BaseException:
            record.after = known
            lock.save()
            raise
        record.after = known
        record.after[path] = read(path) if changed else before[path]
        reset = reset_values(path, record.after[path]) if changed else {}
        for each, value in reset.items():
            if each in before and before[each] != value:
                record.before.setdefault(each, before[each])
                record.after[each] = value
        lock.save()

    inside(there)


def _remember(record: Record, path: str, first: bool, before: dict[str, str], after: dict[str, str]) -> None:
    if first and not _goes_on(record, path, before[path]):
        record.before, record.after = before, {}
    for each in after:
        record.before.setdefault(each, before[each])
    record.after.update(after)


def _goes_on(record: Record, path: str, value: str) -> bool:
    """Whether a killed process's override still holds: what was before that is what is given back."""
    return path in record.before and record.after.get(path, "").split() == value.split()


def _expect(record: Record, path: str, text: str, before: dict[str, str]) -> None:
    """Say what a write is going to make."""
    for each, value in reset_values(path, text).items():
        if before.get(each, value) != value:
            record.before.setdefault(each, before[each])
            record.after[each] = value
    record.after[path] = text


def restore(path: str, record: Record, inside: Inside) -> None:
    """Undo what the record says, unless the value is another than the one that was set.

    What the kernel resets along gets its own old value, or keeps what a stranger has set since;
    devices that are new since get what the kernel gives them.
    """

    def there() -> None:
        if path not in record.after or read(path).split() != record.after[path].split():
            return
        now = values_of(path)
        wanted = {
            each: record.before[each] if value == record.after.get(each) else value
            for each, value in now.items()
            if each in record.before
        }
        write(path, record.before[path])
        done = reset_values(path, record.before[path])
        for each in sorted(wanted, key=_defaults_first):
            if wanted[each] != done.get(each):
                _write_if_there(each, wanted[each])

    inside(there)


def reclaim(identity: tuple[int, int], place: str, path: str, text: str, dry_run: bool = False) -> bool:
    """Give back what a dead process has overridden, here, unless living ones override it too.

    ``text`` is its record, where no file has it. Whether there was something to give back.
    """
    lock = SharedRecord(identity, path, alone=bool(text))
    lock.record.place = place
    try:
        if not lock.enter():
            return False
        if text:
            lock.record.read(text.encode(errors="surrogateescape"))
        after = lock.record.after.get(path)
        found = after is not None and read(path).split() == after.split()
        if not dry_run:
            restore(path, lock.record, lambda function: function())
            lock.remove()
        return found
    except NotFoundError:
        lock.remove()
        return False
    finally:
        lock.release()
        lock.drop()


def _write_if_there(path: str, text: str) -> None:
    try:
        write(path, text)
    except NotFoundError:
        return  # the device has gone


def _defaults_first(path: str) -> tuple[bool, str]:
    return "/default/" not in path and "/all/" not in path, path


_lock = RLock()
_shared: dict[tuple[tuple[int, int], str], _Shared] = {}


def _after_fork() -> None:
    """A child holds no override: it closes the files, whose locks are the parent's."""
    global _lock
    _lock = RLock()
    for shared in _shared.values():
        shared.lock.drop()
    _shared.clear()
    sysctl_lock.close_directory()


os.register_at_fork(after_in_child=_after_fork)
