"""Undoing: of what a half-made resource has made, and of everything a holder holds."""

from __future__ import annotations

from errno import EMFILE, ETOOMANYREFS

from netkit._lifecycle.groups import common_group, large_bridges
from netkit._lifecycle.owned import LINKS, NAMESPACES, ROOT, Owned
from netkit._netlink.link import delete_group, delete_link, get_link, list_links, parse_link, set_link
from netkit._progress import Progress
from netkit._runtime import Runtime
from netkit._system.limits import DescriptorLimit
from netkit._system.signals import deferred_signals
from netkit.errors import NotFoundError, TeardownError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import ParamSpec, TypeVar

    from netkit._netlink.link import LinkRecord

    P = ParamSpec("P")
    T = TypeVar("T")


class Undo:
    """The steps that take back what a half-made resource has made."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def add(self, step: Callable[[], object]) -> None:
        """Note how to take back what is about to be made; taking back what is not there must do no harm."""
        self._steps.append(step)

    def forget(self) -> None:
        """Drop the last step: what it would take back was not made."""
        self._steps.pop()

    def run(self, cause: BaseException) -> bool:
        """Take everything back, last first; what can't be is noted on the cause. Whether all of it could."""
        clean = True
        with deferred_signals():
            while self._steps:
                try:
                    _uninterrupted(self._steps.pop())
                except NotFoundError:
                    continue
                except _InterruptedError as problem:
                    clean = False
                    cause.add_note(f"netkit was interrupted while it took back what was made: {problem}")
                except BaseException as problem:
                    clean = False
                    cause.add_note(f"netkit could not take back: {problem!r}")
        return clean


def _uninterrupted(step: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Do a step of an undoing; once more if a KeyboardInterrupt or its like broke it off.

    On the main thread signals wait (`deferred_signals`), but one can be thrown into any thread.
    """
    try:
        return step(*arguments, **keywords)
    except Exception:
        raise
    except BaseException as problem:
        step(*arguments, **keywords)
        raise _InterruptedError(problem) from problem


class _InterruptedError(BaseException):
    """A step was done in spite of an interrupt, which is still to take effect."""

    def __init__(self, interrupt: BaseException) -> None:
        super().__init__(repr(interrupt))
        self.interrupt = interrupt


class Teardown:
    """One undoing of many things.

    `doomed` are the namespaces that go with it: what lives only in those is not deleted
    singly. `errors` are kept while the rest goes on; `failed` are the things still there.
    Without `wait`, that holds for what reaches out of them too: the kernel takes it down with
    them, some time later, and until then its names elsewhere are taken.
    """

    def __init__(self, wait: bool = True) -> None:
        self._wait = wait
        self.errors: list[Exception] = []
        self.interrupt: BaseException | None = None
        self.failed: set[Owned] = set()
        self.doomed: set[Runtime] = set()
        self._links: list[DoomedLink] = []
        self._limits = DescriptorLimit()

    def run(self, members: list[Owned]) -> None:
        """Undo in reverse, stage by stage."""
        try:
            with Progress(f"removing {len(members)} resources", len(members)) as progress:
                self._run(members, progress)
        finally:
            self._limits.restore()

    def _run(self, members: list[Owned], progress: Callable[[int], object]) -> None:
        for member in members:
            member._doom(self.doomed)
        others = self._ending(members) if self.doomed else []
        reaching_out = [each for each in others if self._wait and self._reaches_out(each)]
        last_first = [*members, *reaching_out][::-1]
        for stage in range(NAMESPACES + 1):
            for member in last_first:
                if member._stage == stage:
                    self._attempt(member)
                    progress(1)
            if stage == LINKS:
                self._delete_links()
        for member in members[::-1]:
            if member not in self.failed:
                member._removed()
        for member in others:
            if member not in self.failed:
                member._outlived()

    def _ending(self, members: list[Owned]) -> list[Owned]:
        """What else we own that ends with a namespace."""
        known = set(members)
        return [
            each
            for each in ROOT._held_members()
            if each not in known and not self.doomed.isdisjoint(each._runtimes())
        ]

    def _reaches_out(self, member: Owned) -> bool:
        """Whether it ends with a namespace, but has a name in one that goes on.

        The kernel takes both ends of a veth with either namespace, some 30 ms later: until then the
        name that is left behind would be taken.
        """
        where = {runtime for runtime in member._runtimes() if runtime is not None}
        return bool(where & self.doomed) and bool(where - self.doomed)

    def delete_link(
        self, owner: Owned, places: Sequence[tuple[Runtime, int]], is_ours: Callable[[LinkRecord], bool]
    ) -> None:
        """Delete a link at the end of its stage, together with the others of its namespace.

        ``places`` are where it may be found, by namespace and index: a veth by either end. In the first
        where it is what ``is_ours`` knows, it is deleted. A second place in that namespace is its other
        end, which counts as a member of a group that is deleted as a whole.
        """
        if places and (self._wait or not self._reaches_out(owner)):
            self._links.append(DoomedLink(owner, places, is_ours))

    def _attempt(self, member: Owned) -> None:
        try:
            try:
                _uninterrupted(member._remove, self)
            except OSError as problem:
                if problem.errno not in (EMFILE, ETOOMANYREFS) or not self._limits.lift():
                    raise
                _uninterrupted(member._remove, self)
        except NotFoundError:
            return
        except Exception as problem:
            self._keep(problem, [member])
        except BaseException as problem:
            self._note_interrupt(problem, [member])

    def _note_interrupt(self, problem: BaseException, members: list[Owned]) -> None:
        """It takes effect when all is undone."""
        if isinstance(problem, _InterruptedError):
            problem = problem.interrupt
        else:
            self.failed.update(members)
        self.interrupt = self.interrupt or problem

    def _keep(self, problem: Exception, members: list[Owned]) -> None:
        for member in members:
            problem.add_note(f"{member!r} may still be there")
        self.failed.update(members)
        self.errors.append(problem)

    def _delete_links(self) -> None:
        searched: list[DoomedLink] = self._links
        self._links = []
        while searched:
            by_runtime: dict[Runtime, list[DoomedLink]] = {}
            for link in searched:
                by_runtime.setdefault(link.places[0][0], []).append(link)
            searched = []
            for runtime, links in by_runtime.items():
                try:
                    missing = _uninterrupted(self._delete_in, runtime, links)
                    searched += _elsewhere(missing, runtime)
                except Exception as problem:
                    self._keep(problem, [link.owner for link in links])
                except BaseException as problem:
                    self._note_interrupt(problem, [link.owner for link in links])
                    searched += _elsewhere(links, runtime)  # which were missing is not known any more

    def _delete_in(self, runtime: Runtime, links: Sequence[DoomedLink]) -> list[DoomedLink]:
        """Delete those that are here; the others."""
        present = _records(runtime, links)
        found: dict[int, Owned] = {}
        missing: list[DoomedLink] = []
        for link in links:
            here = [index for index in link.indexes(runtime) if link.is_what(present.get(index))]
            found.update(dict.fromkeys(here, link.owner))
            if not here:
                missing.append(link)
        group = common_group(present, set(found)) if len(set(found.values())) > 1 else None
        if group is not None:
            _delete_whole_group(runtime, group, large_bridges(present, set(found)))
            return missing
        outcomes = runtime.route.batch([delete_link(index) for index in found])
        for owner, outcome in zip(found.values(), outcomes, strict=True):
            if outcome is not None and not isinstance(outcome, NotFoundError):
                self._keep(outcome, [owner])
        return missing


class DoomedLink:
    """A link to be deleted: whose it is, where it may be, and how it is known."""

    __slots__ = ("is_ours", "owner", "places")

    def __init__(
        self, owner: Owned, places: Sequence[tuple[Runtime, int]], is_ours: Callable[[LinkRecord], bool]
    ) -> None:
        self.owner = owner
        self.places = places
        self.is_ours = is_ours

    def indexes(self, runtime: Runtime) -> list[int]:
        """Its indexes in one namespace."""
        return [index for where, index in self.places if where is runtime]

    def is_what(self, record: LinkRecord | None) -> bool:
        """Whether the link there is the one: names and indexes are used again."""
        return record is not None and self.is_ours(record)

    def elsewhere(self, runtime: Runtime) -> DoomedLink | None:
        """The same, looked for in the places that are left."""
        left = [(where, index) for where, index in self.places if where is not runtime]
        return DoomedLink(self.owner, left, self.is_ours) if left else None


def _elsewhere(links: Sequence[DoomedLink], runtime: Runtime) -> list[DoomedLink]:
    return [other for link in links if (other := link.elsewhere(runtime)) is not None]


def _records(runtime: Runtime, links: Sequence[DoomedLink]) -> dict[int, LinkRecord]:
    """What there is now under the indexes of these links, if several with all else in the namespace."""
    indexes = [index for link in links for index in link.indexes(runtime)]
    if len(links) > 1:  # their group is looked at, too
        records = [parse_link(reply) for reply in runtime.route.dump(list_links())]
        return {record.index: record for record in records}
    present: dict[int, LinkRecord] = {}
    for index in indexes:
        try:
            present[index] = parse_link(runtime.route.get(get_link(index=index)))
        except NotFoundError:
            continue
    return present


def _delete_whole_group(runtime: Runtime, group: int, quiet_first: Sequence[int]) -> None:
    """In one message; ``quiet_first`` are links of it that are set down before."""
    downs = [set_link(index, up=False) for index in quiet_first]
    outcome = runtime.route.batch([*downs, delete_group(group)])[-1]
    if outcome is not None and not isinstance(outcome, NotFoundError):  # all of them are gone since the look
        raise outcome


def undo(members: list[Owned], wait: bool = True) -> list[Exception]:
    """Undo these in reverse; signals wait meanwhile. Returns what could not be removed."""
    teardown = Teardown(wait)
    with deferred_signals():
        teardown.run(members)
    if teardown.interrupt is not None:
        for problem in teardown.errors:
            teardown.interrupt.add_note(f"netkit, undoing: {problem}")
        raise teardown.interrupt
    return teardown.errors


def leave_block(name: str, errors: list[Exception], cause: BaseException | None) -> None:
    """End a `with`: the body's exception goes on unchanged, with a note per leftover."""
    if not errors:
        return
    if cause is None:
        raise TeardownError(f"{name} could not be removed whole", errors)
    for problem in errors:
        cause.add_note(f"netkit, leaving {name}: {problem}")
        for note in getattr(problem, "__notes__", ()):
            cause.add_note(f"    {note}")
