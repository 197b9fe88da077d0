"""Scope: a block of resources that are undone together."""

from __future__ import annotations

import atexit
import os
import sys

from netkit._forks import process
from netkit._lifecycle.owned import ROOT, Holder, Owned
from netkit._lifecycle.teardown import leave_block, undo
from netkit._lifecycle.together import create_together
from netkit._runtime import random_group
from netkit._shown import Drawn
from netkit._spec.numbers import boolean
from netkit._spec.value import shown
from netkit._system.signals import held_signals, undisturbed
from netkit.errors import SpecError, StateError, TeardownError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, Self, TypeVar, overload

    R = TypeVar("R", bound=Owned)
    S = TypeVar("S", bound=Owned)
    T = TypeVar("T", bound=Owned)
    U = TypeVar("U", bound=Owned)


class Scope(Owned, Holder, Drawn):
    """A block of resources that are undone together, in reverse.

    `own(resource)` creates a resource and keeps it; `own(one, two, ...)` creates several together, which
    is faster. What is still kept when the block ends,
    however it ends, is removed: NAT first, then routes, links and namespaces. Errors do not
    stop the undoing; they come as a TeardownError, or as notes on the exception that ended
    the block. Also works as ``async with``.

    Args:
        wait: the block ends when all names are free again. ``False`` leaves the links that join
            namespaces of this scope to others to the kernel, which takes them down some time later.

    Examples:
        >>> from netkit import Namespace, Scope, VethPair
        >>> with Scope() as lab:
        ...     red, blue = lab.own(Namespace()), lab.own(Namespace())
        ...     veth = lab.own(VethPair(red, blue, name="eth0", peer_name="eth0"))
    """

    def __init__(self, *, wait: bool = True) -> None:
        self._wait = boolean(wait, "wait")
        self._state: Literal["new", "open", "closed"] = "new"
        self._pid = process()
        self.group = random_group()

    if TYPE_CHECKING:

        @overload
        def own(self, resource: R, /) -> R: ...
        @overload
        def own(self, one: R, two: S, /) -> tuple[R, S]: ...
        @overload
        def own(self, one: R, two: S, three: T, /) -> tuple[R, S, T]: ...
        @overload
        def own(self, one: R, two: S, three: T, four: U, /) -> tuple[R, S, T, U]: ...
        @overload
        def own(self, one: R, two: R, three: R, four: R, five: R, /, *more: R) -> tuple[R, ...]: ...

    def own(self, *resources: Any) -> Any:
        """Create the resource, or take over one that was created, and keep it to the block's end.

        Several are created together, which is faster, and all of them or none: namespaces first, on
        several threads; then the others in the given order, the messages to a namespace in common sends.
        They come back as a tuple. Owning the same one again does nothing. Raises StateError for what is
        only borrowed, and when the block has ended or not begun.

        Twin: ``ip -batch``.

        Examples:
            >>> from netkit import Namespace, Scope, VethPair
            >>> with Scope() as lab:
            ...     red, blue = Namespace(), Namespace()
            ...     _, _, veth = lab.own(red, blue, VethPair(red, blue, name="eth0", peer_name="eth0"))
            ...     print(veth.link.state)
            up
        """
        self._check_own(resources)
        with held_signals():
            if len(resources) != 1:
                self._own_together(resources)
                return resources
            self._own_one(resources[0])
            return resources[0]

    def _check_own(self, resources: tuple[object, ...]) -> None:
        if self._pid != process():
            raise StateError("this Scope belongs to the process that forked this one")
        for resource in resources:
            if not isinstance(resource, Owned) or isinstance(resource, Scope):
                raise SpecError(f"a Scope owns netkit's resources, not {shown(resource)}")
        if self._state != "open":
            raise StateError(f"this Scope is {'closed' if self._state == 'closed' else 'not entered yet'}")

    def _own_one(self, resource: Owned) -> None:
        before = resource._holder
        if before is not self:
            self._hold(resource)  # first: what it makes is never without one who undoes it
            try:
                resource._begin(self.group)
            except BaseException:
                self._give_back({resource: before})
                raise

    def _own_together(self, resources: tuple[Owned, ...]) -> None:
        before = {each: each._holder for each in resources if each._holder is not self}
        try:
            for each in before:
                self._hold(each)
            create_together([*before], self.group)
        except BaseException:
            self._give_back(before)
            raise

    def _give_back(self, before: dict[Owned, Holder | None]) -> None:
        for resource, holder in before.items():
            if resource._holder is not self:  # another thread's Scope has taken it over meanwhile
                continue
            if not resource._is_alive():
                resource._let_go()
            elif holder is not None:
                holder._hold(resource)

    def detach(self) -> Self:
        """Leave all of it in place and stop owning it: it outlives the block and the process.

        Another process takes it over with `adopt`. Raises StateError, and detaches nothing, if an anonymous
        namespace is among it, which cannot outlive the process.

        Twin: none.
        """
        self._check_own(())
        with held_signals():
            for member in self._held_members():
                member._check_detachable()
            for member in sorted(self._held, key=lambda each: each._stage):  # as they would be undone
                member._leave_in_place()
        return self

    def __enter__(self) -> Self:
        if self._state == "open":
            raise StateError("this Scope is entered already")
        undisturbed(self._open, Scope._close)
        return self

    def _open(self) -> Self:
        self._state = "open"
        ROOT._hold(self)
        return self

    def _close(self) -> None:
        """Nothing is left in it."""
        self._state = "closed"
        self._let_go()

    def _leave(self, problem: BaseException | None) -> None:
        if self._pid != process():
            return
        self._state = "closed"
        try:
            errors = undo(self._held_members(), self._wait)
        except Exception:
            raise
        except BaseException:  # an interrupt, of a thread that cannot hold it back
            undo(self._held_members())
            raise
        finally:
            self._let_go()
            for member in list(self._held):  # what could not be removed is tried again at exit
                ROOT._hold(member)
        leave_block("the scope", errors, problem)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    def _is_alive(self) -> bool:
        return self._state == "open"

    def _members(self) -> list[Owned]:
        return self._held_members()

    def __repr__(self) -> str:
        count = len(self._held)
        return f"<Scope {self._state} with {count} resource{'' if count == 1 else 's'}>"


def undo_all() -> None:
    """Undo whatever is still owned: at interpreter exit, and in netkit.shutdown()."""
    members = ROOT._held_members()
    if not members:
        return
    import warnings

    with held_signals():
        named = [repr(member) for member in members if member._is_alive()]
        errors = undo(members)
        for held in list(ROOT._held):
            held._let_go()
    try:  # last: a filter may turn a warning into an exception
        for each in named:
            warnings.warn(f"{each} was still owned at exit", ResourceWarning, stacklevel=1)
    finally:
        if errors:
            raise TeardownError("at exit, netkit could not remove everything", errors)


def _forget() -> None:
    """In a forked child: what the parent owns is none of its business."""
    for member in list(ROOT._held):
        member._holder = None
    ROOT._held.clear()


def _at_exit() -> None:
    try:
        undo_all()
    finally:
        end_guard()


def end_guard() -> bool:
    """End the guard, if there is one and it has nothing to guard any more; whether there is none now."""
    loaded = sys.modules.get("netkit._system.journal")
    return loaded is None or bool(loaded.journal.end())


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_forget)
