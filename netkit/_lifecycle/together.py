"""Creating several resources at once: all of them, or none.

What can be made before anything else is (namespaces, on several threads). Then, in the given order,
resources made by messages go together in common sends, and others by themselves or with their like.
"""

from __future__ import annotations

from itertools import groupby

import netkit._forks as forks
from netkit._lifecycle.owned import Owned
from netkit._lifecycle.resource import PHRASE, Resource
from netkit._lifecycle.steps import take_steps_together
from netkit._lifecycle.teardown import undo
from netkit._progress import Progress
from netkit._system.collector import collector_paused
from netkit._system.signals import acquire
from netkit.errors import StateError, raise_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from netkit._runtime import Runtime


_MANY = 16  # from here on a bridge stays quiet until its ports are there
_REQUESTS = 4  # of a resource, as a guess for the progress bar: two ends, an address, a route


def create_together(members: Sequence[Owned], group: int) -> None:
    """Create what is new among these; if any of it fails, all of it is undone."""
    # In one order, or two threads with the same resources would wait for each other.
    guards = sorted({each._guard for each in members if isinstance(each, Resource)}, key=id)
    try:
        for guard in guards:
            if not guard.acquire(blocking=False):
                acquire(guard)
        _create_new(members, group)
    finally:
        for guard in guards:
            if guard._is_owned():  # type: ignore[attr-defined]  # not all are, after an interrupt
                guard.release()


def _create_new(members: Sequence[Owned], group: int) -> None:
    new = [each for each in members if not each._is_alive()]
    before: dict[Resource, object] = {}
    for each in new:
        if isinstance(each, Resource):
            before[each] = each._state
            _check(each)
    try:
        # A namespace is made, and has its `lo` set up.
        steps = sum(2 if each._goes_ahead else _REQUESTS for each in new)
        with collector_paused(), Progress(f"building {len(new)} resources", steps) as progress:
            _Making(group, progress).run(new)
    except BaseException as problem:
        _take_back(new, before, problem)
        raise_limit(f"create {len(new)} resources", problem)
        raise


def _check(member: Resource) -> None:
    if member._pid != forks.pid:
        member._check_process()  # which says so
    if member._state in ("borrowed", "closed"):
        raise StateError(f"{member!r} is {PHRASE[member._state]}: it can't be created")


def _take_back(new: Sequence[Owned], before: Mapping[Resource, object], problem: BaseException) -> None:
    """Undo as at the end of a block: in bulk, and by reading what is there."""
    begun = [each for each in new if each._is_alive() or each in before]
    for each in before:
        each._state = "owned"
    # With what belongs to them: one that makes others of its own may be done already.
    for leftover in undo(list(dict.fromkeys([deep for each in begun for deep in each._members()]))):
        problem.add_note(f"netkit could not take back: {leftover!r}")
    for each, state in before.items():
        each._state = state  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


class _Making:
    """One creation of many."""

    def __init__(self, group: int, progress: Callable[[int], object]) -> None:
        self._group = group
        self._progress = progress

    def run(self, new: Sequence[Owned]) -> None:
        resources = [each for each in new if isinstance(each, Resource)]
        for each in resources:
            each._group = self._group
        for one in {type(each): each for each in resources}.values():
            one._prepare([each for each in resources if type(each) is type(one)], self._progress)
        for kind, run in groupby(new, key=_made_as):
            if kind is Resource:
                self._by_messages([each for each in run if isinstance(each, Resource)])
            else:
                kind._begin_many(list(run), self._group, self._progress)

    def _by_messages(self, run: Sequence[Resource]) -> None:
        eager = [each for each in run if not each._goes_ahead]
        quiet = len(eager) >= _MANY
        ahead = dict([each._ahead() for each in run if each._goes_ahead])
        take_steps_together([each._steps(quiet) for each in eager], ahead, self._progress)
        if quiet:
            take_steps_together([each._last_steps() for each in eager if each._ends_last], {}, self._progress)
        for each in run:
            each._made()
        settled: set[tuple[Runtime, str]] = set()
        for each in eager:
            each._wait_usable(settled)


def _made_as(member: Owned) -> type[Owned]:
    return Resource if isinstance(member, Resource) and member._by_messages else type(member)
