"""What can be owned, and what owns: a Scope, or any resource that others belong to.

A Bridge holds the veths it connected, a Scope what it was given. What nobody else holds is
held by ROOT, which is undone when the interpreter exits.
"""

from __future__ import annotations

from netkit._lifecycle.leaving import Leaves
from netkit._runtime import Runtime
from netkit.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

    from netkit._lifecycle.teardown import Teardown
    from netkit._namespace import Namespace

# The stages of a teardown: rules before routes, routes before links, namespaces last.
NAT, ROUTES, LINKS, NAMESPACES = range(4)


class Owned(Leaves):
    """What a Holder can keep and undo. Subclasses say how."""

    _stage = LINKS
    _holder: Holder | None = None
    _goes_ahead = False  # its only step, of the first send that others make to its namespace

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        """The namespaces it is in."""
        return ()

    def _places(self) -> Sequence[tuple[Runtime, int]]:
        """Where its links are, by namespace and index; a namespace itself is at index 0."""
        return ()

    def _doom(self, doomed: set[Runtime]) -> None:
        """Add the namespaces that end with this object."""

    def _remove(self, teardown: Teardown) -> None:
        """Remove from the kernel; what is gone already is no error."""
        raise NotImplementedError

    def _removed(self) -> None:
        """Note that it is gone."""

    def _outlived(self) -> None:
        """Note that a namespace has ended with which it ends: nobody has to undo it any more."""

    def _note_again(self) -> None:
        """A namespace of ours, which it would have ended with, goes on without us from now on."""

    def _moving(self, place: tuple[Runtime, int], target: Runtime) -> None:
        """A link of it is about to be moved there: note where it will be, should this process be killed."""

    def _moved(self, place: tuple[Runtime, int], netns: Namespace, index: int) -> None:
        """A link of it was moved, and is undone there from now on."""

    def _marking(self, place: tuple[Runtime, int], mac: str) -> None:
        """A link of it is about to get another MAC, by which it may be known: note that, too."""

    def _marked(self, place: tuple[Runtime, int], mac: str) -> None:
        """A link of it has another MAC, and is known by that from now on."""

    def _present_owner(self) -> Owned | str | None:
        """Who owns what is to be adopted: another object here, or in words another process that lives."""
        wanted = set(self._places())
        for member in ROOT._held_members():
            if member is not self and member._is_alive() and not wanted.isdisjoint(member._places()):
                return member
        return _living_owner(wanted)

    def _check_detachable(self) -> None:
        """Raises if it cannot outlive this process: before anything is detached with it."""

    def _leave_in_place(self) -> None:
        """Stop owning it, and let it be: what `detach` does."""
        raise NotImplementedError

    def _is_alive(self) -> bool:
        """Whether there is something to undo."""
        raise NotImplementedError

    def _members(self) -> list[Owned]:
        """This object and all that belongs to it, oldest first."""
        return [self]

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError(
            f"{self!r} cannot be pickled: it stands for the one thing in the kernel, and undoes it"
        )

    def __copy__(self) -> NoReturn:
        raise TypeError(f"{self!r} has no copies: it stands for the one thing in the kernel, and undoes it")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__copy__()

    def _let_go(self) -> None:
        """Leave the present holder."""
        if self._holder is not None:
            self._holder._held.pop(self, None)
            self._holder = None

    def _begin(self, group: int) -> None:
        """Come to life for a Scope that owns this from now on; its links go into `group`."""
        raise NotImplementedError

    @classmethod
    def _begin_many(cls, members: Sequence[Owned], group: int, progress: Callable[[int], object]) -> None:
        """`_begin` for several of this class, in order; ``progress`` is told when one is done."""
        for member in members:
            member._begin(group)
            progress(1)


class Holder:
    """Keeps resources in order of arrival."""

    _held: dict[Owned, None] = {}  # of one that has never held any: a thousand namespaces have none  # noqa: RUF012

    def _hold(self, member: Owned) -> None:
        if member._holder is not None:
            member._let_go()
        if self._held is Holder._held:
            self._held = {}
        self._held[member] = None
        member._holder = self

    def _held_members(self) -> list[Owned]:
        """Everything held, and what that holds, oldest first."""
        return [deep for member in list(self._held) for deep in member._members()]


ROOT = Holder()


def owner_of(place: tuple[Runtime, int]) -> Owned | None:
    """What owns the link at a place, if that is of this process."""
    for member in ROOT._held_members():
        if member._is_alive() and place in member._places():
            return member
    return None


def _living_owner(wanted: Iterable[tuple[Runtime, int]]) -> str | None:
    places: dict[str, list[tuple[str, int]]] = {}
    for runtime, index in wanted:
        if directory := runtime.opener.journals:
            places.setdefault(directory, []).append((runtime.place, index))
    if not places:
        return None
    from netkit._lifecycle.claims import living_owner

    found = [living_owner(some, directory) for directory, some in places.items()]
    return next(filter(None, found), None)


def refuse_second_owner(newcomer: Owned) -> None:
    """StateError if another object of this process, or another living process, owns what is to be adopted."""
    owner = newcomer._present_owner()
    if isinstance(owner, str):
        raise StateError(f"{newcomer!r} is owned by {owner}, which has to detach() it first")
    if owner is not None:
        raise StateError(f"{newcomer!r} is owned in this program, as {owner!r}: detach() that one first")
