"""Sysctls of a namespace, and overrides of them that several users can hold at once.

`Override` counts users of one (namespace, key): in the process in memory, across processes by a shared
flock each holds on a file in /run/netkit/sysctl. Only the last user restores, and only what is unchanged.
"""

from __future__ import annotations

import os
from _thread import RLock
from itertools import groupby

from netkit._system import sysctl_lock
from netkit._system.sysctl_change import reset_values, set_values, values_of
from netkit._system.sysctl_files import (
    elsewhere,
    key_of,
    key_path,
    present,
    read,
    value_text,
    write,
)
from netkit._system.sysctl_lock import SharedRecord
from netkit.errors import NetkitError, NotFoundError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol, TypeVar

    from netkit._system.sysctl_lock import Record

    T = TypeVar("T")

    class Inside(Protocol):
        """Runs a function on a thread inside the namespace; its result comes back."""

        def __call__(self, function: Callable[[], T], /) -> T: ...


__all__ = ["Override", "begin_all", "key_of", "key_path", "present", "read", "value_text", "write"]

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

    def begin(self) -> None:
        """Set the value, remembering what it was unless somebody has done so already."""
        begin_all([self], self._inside)

    def _check_new(self) -> None:
        if self._shared is not None:
            raise StateError(f"the override of {key_of(self._key[1])} has begun already")

    def _join(self) -> _Step:
        """Take part in the value, which is not set yet: how it is to be set."""
        shared = _shared.get(self._key) or _Shared(*self._key, self._alone, self._place)
        shared.users.append(self)
        _shared[self._key] = self._shared = shared
        first = shared.lock.enter() and len(shared.users) == 1
        return _Step(shared.path, self.text, self._given, shared.lock, first)

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

    def _end_after(self, problem: BaseException) -> None:
        """`end` of what could not be begun, or others with it."""
        try:
            self.end()
        except (NetkitError, OSError) as leftover:  # it can be tried again
            problem.add_note(f"netkit could not give back sysctl {self._given}: {leftover}")

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

    def give_way(self, text: str, other: str, inside: Inside) -> None:
        """A nested user ends: the value of the one before it holds again."""
        self.lock.load()
        if text.split() != other.split() and inside(lambda: read(self.path)).split() == text.split():
            step = _Step(self.path, other, key_of(self.path), self.lock, False)
            inside(lambda: _take([step]))


def begin_all(overrides: Sequence[Override], inside: Inside) -> None:
    """Begin several of one namespace, in order, in one visit there; all or none."""
    with _lock:
        for each in overrides:
            each._check_new()
        begun: list[Override] = []
        steps: list[_Step] = []
        try:
            try:
                for each in overrides:
                    begun.append(each)
                    steps.append(each._join())
                # The records are filled there, by the thread that goes on when the caller is interrupted.
                inside(lambda: _take(steps))
            finally:
                for step in steps:
                    step.lock.release()
        except BaseException as problem:  # after a KeyboardInterrupt the values may have been written
            for each in reversed(begun):
                each._end_after(problem)
            raise


class _Step:
    """A value to be set, and the record of what it and all that the write resets were."""

    __slots__ = ("first", "key", "lock", "path", "text")

    def __init__(self, path: str, text: str, key: str, lock: SharedRecord, first: bool) -> None:
        self.path = path
        self.text = text
        self.key = key
        self.lock = lock
        self.first = first

    def goes_ahead(self) -> bool:
        """Whether the record is to say beforehand what is written: somebody may read it if this process dies.

        Not where another process sets it, which dies with this one, and the namespace with both.
        """
        return self.lock.is_read and elsewhere() is None

    def remember(self, before: dict[str, str], after: dict[str, str]) -> None:
        """What was set and what of."""
        record = self.lock.record
        self.start(before)
        for each in after:
            record.before.setdefault(each, before[each])
        record.after.update(after)
        if self.lock.is_read:
            self.lock.save()

    def start(self, before: dict[str, str]) -> None:
        """Begin the record, unless it goes on."""
        if self.first and not _goes_on(self.lock.record, self.path, before[self.path]):
            self.lock.record.before, self.lock.record.after = before, {}


def _take(steps: Sequence[_Step]) -> None:
    """Set the values, in order; to be called inside."""
    for ahead, some in groupby(steps, _Step.goes_ahead):
        if ahead:
            for step in some:
                _change(step)
        else:
            _set([*some])


def _set(steps: Sequence[_Step]) -> None:
    done, problem = set_values([(step.path, step.text, step.key) for step in steps])
    for step, change in zip(steps, done, strict=False):
        step.remember(*change)
    if problem is not None:
        try:
            raise problem
        finally:
            problem = None  # its traceback refers to this frame: no cycle


def _change(step: _Step) -> None:
    """Before the write the record says what it is to make, for it may be the last thing this process does."""
    path, text, record = step.path, step.text, step.lock.record
    before = values_of(path)
    step.start(before)
    known = {**record.after}
    if before[path].split() != text.split():
        _expect(record, path, text, before)
        step.lock.save()
    try:
        changed = write(path, text, step.key, before[path])
    except BaseException:
        record.after = known
        step.lock.save()
        raise
    record.after = known
    record.after[path] = read(path) if changed else before[path]
    reset = reset_values(path, record.after[path]) if changed else {}
    for each, value in reset.items():
        if each in before and before[each] != value:
            record.before.setdefault(each, before[each])
            record.after[each] = value
    step.lock.save()


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
