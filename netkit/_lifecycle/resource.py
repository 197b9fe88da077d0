"""Resource: the lifecycle verbs, the same for everything netkit creates in the kernel."""

from __future__ import annotations

import sys
from _thread import RLock

import netkit._forks as forks
from netkit._lifecycle.owned import ROOT, Holder, Owned, refuse_second_owner
from netkit._lifecycle.steps import take_steps
from netkit._lifecycle.teardown import Undo, leave_block, undo
from netkit._runtime import Runtime
from netkit._system.signals import held_signals, locked, undisturbed
from netkit.errors import StateError, TeardownError, raise_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal, Self

    from netkit._lifecycle.steps import Step, Steps

    State = Literal["new", "owned", "borrowed", "deleted", "closed"]

PHRASE = {
    "new": "not created yet (use `with`, or create())",
    "owned": "created already",
    "borrowed": "borrowed, not owned (adopt() takes ownership)",
    "deleted": "deleted",
    "closed": "closed",
}


class Resource(Owned):
    """Something in the kernel that netkit creates and deletes.

    `with` creates it and deletes it; `create()` and `delete()` are the two halves.
    `detach()` leaves it in place and stops owning it; `adopt()` takes it over.
    """

    _state: State = "new"
    _group: int | None = None
    _needed: Sequence[Runtime] = ()  # namespaces that stay open for it

    def __init__(self) -> None:
        self._pid = forks.pid
        self._guard = RLock()

    # What a subclass fills in, besides _remove: _create, or what it sends as _steps.

    _by_messages = False  # its messages can share a send with those of others

    def _create(self, undo: Undo) -> None:
        undo.add(self._take_back)
        take_steps(self._steps())
        self._wait_usable(set())

    def _steps(self, quiet: bool = False) -> Steps:
        """What it sends. ``quiet``: many do so side by side, and its _last_steps follow when all is there."""
        raise NotImplementedError

    def _ahead(self) -> Step:
        """All that it sends, if that goes ahead of what others send there."""
        raise NotImplementedError

    _ends_last = False  # created with many others, it has steps that wait for the end of all theirs

    def _last_steps(self) -> Steps:
        raise NotImplementedError

    def _wait_usable(self, settled: set[tuple[Runtime, str]]) -> None:
        """Wait until it can be used; ``settled`` are the links that need no second look."""

    def _take_back(self) -> None:
        """Remove what the steps have made so far, if it is there."""
        raise NotImplementedError

    @classmethod
    def _prepare(cls, resources: Sequence[Any], progress: Callable[[int], object]) -> None:
        """Of several that are created together, make what can be made before anything else is."""

    def _exists(self) -> bool:
        raise NotImplementedError

    def _detach(self) -> None:
        """Prepare the kernel object for outliving this process."""

    def _find(self) -> None:
        """Find the kernel object that is there already; NotFoundError if there is none."""
        raise StateError(f"{self!r} is {PHRASE[self._state]}: only what is borrowed can be adopted")

    def _lose(self) -> None:
        """Let go of what was found, for it is not adopted."""

    def _adopt(self) -> None:
        """Prepare the kernel object for being deleted by this process."""

    def _aside(self) -> str:
        """What its repr ends with: whether it is there, unless it is and is ours."""
        return "" if self._state == "owned" else f" ({self._state})"

    # The verbs.

    def create(self) -> Self:
        """Create it in the kernel and return self; if any part fails, all of it is undone.

        Twin: ``ip ... add``. Raises StateError when it was created already, KernelError when the kernel
        refuses: ExistsError for a name that is taken, AccessError without the capability.

        Examples:
            >>> from netkit import Namespace
            >>> box = Namespace().create()
            >>> box.delete()
        """
        self._check_process()
        undisturbed(self._create_locked, self._take_back_whole)
        return self

    def _create_locked(self) -> Self:
        with locked(self._guard):
            self._create_whole()
        return self

    def _take_back_whole(self, made: object) -> None:
        """A signal came when all was done, but nobody else knew of it."""
        leave_block(repr(self), undo(self._members()), sys.exception())

    def _create_whole(self) -> None:
        before, steps = self._state, Undo()
        if before in ("owned", "borrowed", "closed"):
            raise StateError(f"{self!r} is {PHRASE[before]}: it can't be created again")
        try:
            self._create(steps)
            self._made()
        except BaseException as problem:
            self._state = before
            if steps.run(problem):
                self._strike()
            self._let_go_of_namespaces()
            self._let_go()
            raise_limit(f"create {self!r}", problem)
            raise

    def _made(self) -> None:
        self._state = "owned"
        self._keep_open()
        if self._holder is None:
            ROOT._hold(self)

    def delete(self, *, wait: bool = True) -> None:
        """Delete it, and what belongs to it, from the kernel. Gone already is success.

        When it returns, all names are free again. ``wait=False`` leaves the links that join a namespace
        which is deleted to others to the kernel, which takes them down some time later: faster by 16 ms
        or more, and their names in the other namespaces are taken until then.

        Twin: ``ip ... del``. Raises StateError for what is not owned: borrowed, detached, or deleted before.
        """
        with held_signals(), locked(self._guard):
            self._check_process()
            self._check_owned("delete")
            errors = undo(self._members(), wait)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise TeardownError(f"{self!r} could not be removed whole", errors)

    def detach(self) -> Self:
        """Leave it in place and stop owning it: it outlives the block and the process. Returns self.

        The object goes on as a borrowed handle; `adopt` takes it back. Twin: none, ``ip`` owns nothing.
        Raises StateError for what is not owned, or cannot outlive the process: an anonymous namespace.

        Examples:
            >>> from netkit import Bridge, Namespace
            >>> with Namespace() as host:
            ...     with Bridge(host, "br0") as bridge:
            ...         _ = bridge.detach()
            ...     print(bridge.exists)
            True
        """
        with held_signals(), locked(self._guard):
            self._check_process()
            self._check_owned("detach")
            for member in self._members():
                member._check_detachable()
            for member in self._members():
                if isinstance(member, Resource) and member._state == "owned":
                    member._detach()
                    member._state = "borrowed"
                    member._release()
                    if member is not self:
                        member._let_go()
            self._let_go()
        return self

    def _leave_in_place(self) -> None:
        self.detach()

    def adopt(self) -> Self:
        """Take ownership of what was borrowed, or detached by this or another process.

        It is deleted then like what was created here: by `delete`, at the end of a ``with`` or of the Scope
        that owns it, at exit. What was neither created nor opened is found: ``NatRule.masquerade(host,
        oif="eth0").adopt()`` takes over such a rule that a process has detached.

        Twin: none, ``ip`` owns nothing. Raises StateError for what is closed, or owned already, here or by
        another process that lives; NotFoundError when there is none.

        Examples:
            >>> from netkit import Bridge, Namespace
            >>> with Namespace() as host:
            ...     _ = Bridge(host, "br0").create().detach()
            ...     with Bridge(host, "br0").adopt() as bridge:
            ...         print(bridge.exists)
            ...     print([link.name for link in host.links])
            True
            ['lo']
        """
        with held_signals(), locked(self._guard):
            self._check_process()
            before = self._state
            if before in ("owned", "closed"):
                raise StateError(f"{self!r} is {PHRASE[before]}: only what is borrowed can be adopted")
            try:
                if before != "borrowed":
                    self._find()
                    self._state = "borrowed"
                refuse_second_owner(self)
                self._adopt()
            except BaseException as problem:
                self._strike()  # or it would be removed, should this process be killed
                if before != "borrowed":
                    self._lose()
                self._state = before
                raise_limit(f"adopt {self!r}", problem)
                raise
            self._state = "owned"
            self._keep_open()
            ROOT._hold(self)
        return self

    @property
    def exists(self) -> bool:
        """Whether it is in the kernel now: a fresh read."""
        self._check_process()
        if self._state not in ("owned", "borrowed"):
            return False
        return not self._is_gone() and self._exists()

    # with

    def __enter__(self) -> Self:
        # What is borrowed may stand in a `with` like anything else; nothing is undone at its end.
        return self if self._state in ("owned", "borrowed") else self.create()

    def _leave(self, problem: BaseException | None) -> None:
        if self._pid == forks.pid and self._state == "owned":
            with locked(self._guard):
                leave_block(repr(self), undo(self._members()), problem)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    # For subclasses and holders.

    def _members(self) -> list[Owned]:
        held = self._held_members() if isinstance(self, Holder) else []
        return [self, *held]

    def _is_alive(self) -> bool:
        return self._state == "owned"

    def _begin(self, group: int) -> None:
        self._check_process()
        if self._state == "borrowed":
            raise StateError(f"{self!r} is borrowed: adopt() it first, or leave it out of the scope")
        if self._state != "owned":
            self._group = group
            self.create()

    def _removed(self) -> None:
        if self._state == "owned":
            self._state = "deleted"
            self._release()
            heir = self._holder or ROOT
            self._let_go()
            if isinstance(self, Holder):  # what belonged to it and could not be removed is tried again
                for member in list(self._held):
                    heir._hold(member)
        elif self._state != "borrowed":  # held, but never created: an interrupt came in between
            self._let_go()

    def _is_gone(self) -> bool:
        """A namespace of ours that is closed is gone, and all that was in it."""
        return any(each is not None and each.ours and each.fd < 0 for each in self._runtimes())

    def _outlived(self) -> None:
        if self._state == "owned" and self._is_gone():  # a delete() finds nothing, and succeeds
            self._release()
            self._let_go()

    def _keep_open(self) -> None:
        """What is owned in a borrowed namespace outlives the handle on it: else it could not be undone."""
        before, needed = (
            self._needed,
            [each for each in self._runtimes() if each is not None and not each.ours],
        )
        if needed or before:
            self._needed = needed
            for runtime in needed:
                runtime.users += 1
            for runtime in before:
                runtime.release()

    _entries: tuple[int, ...] = ()  # what the journal says of it; see _system/journal.py

    def _note(self, kind: str, *words: str | int) -> None:
        """Before it is made: what is to be removed if this process is killed."""
        from netkit._system.journal import note

        self._entries += (note(kind, *words),)

    def _strike(self) -> None:
        entries, self._entries = self._entries, ()
        _strike_each(entries)

    def _settle(self) -> None:
        """It is elsewhere now: note where, and then strike out where it was; keep its namespaces open."""
        before, self._entries = self._entries, ()
        self._note_again()
        _strike_each(before)
        self._keep_open()

    def _release(self) -> None:
        self._strike()
        self._let_go_of_namespaces()

    def _let_go_of_namespaces(self) -> None:
        needed, self._needed = self._needed, ()
        for runtime in needed:
            runtime.release()

    def _check_process(self) -> None:
        if self._pid != forks.pid:
            raise StateError(
                f"{self!r} belongs to the process that made it ({self._pid}), and this is a child "
                "made by fork(): open the namespace again here"
            )

    def _check_owned(self, verb: str) -> None:
        if self._state != "owned":
            raise StateError(f"cannot {verb} {self!r}: it is {PHRASE[self._state]}")

    def _check_live(self) -> None:
        self._check_process()
        if self._state not in ("owned", "borrowed"):
            raise StateError(f"{self!r} is {PHRASE[self._state]}")


def _strike_each(entries: Sequence[int]) -> None:
    if entries:
        from netkit._system.journal import strike

        for each in entries:
            strike(each)
