"""What was changed through a RouteTable, and how that is undone."""

from __future__ import annotations

from netkit._leftovers import past_leftovers
from netkit._route_requests import add, addition, deletion
from netkit._runtime import Runtime
from netkit._spec.routes import Route
from netkit.errors import KernelError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from netkit._lifecycle.protocol_mark import Look
    from netkit._netlink.wire import Request


class Change:
    """A route that was added, what brings back those that it replaced, and its number in the journal."""

    __slots__ = ("before", "noted", "route")

    def __init__(self, route: Route, before: tuple[Request, ...], noted: int) -> None:
        self.route = route
        self.before = before
        self.noted = noted

    def strike(self) -> None:
        """It needs no undoing any more."""
        noted, self.noted = self.noted, 0
        if noted:
            from netkit._system.journal import strike

            strike(noted)


class Changes:
    """Routes that were added, each with those that it replaced."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: list[Change] = []

    def add(
        self, runtime: Runtime, route: Route, index: int | None, *, replace: bool, before: tuple[Request, ...]
    ) -> Route:
        """Add a route and note it; ``before`` brings back the routes that it replaces."""
        return past_leftovers(
            runtime,
            lambda: deletion(runtime, route, index),
            lambda: self._add(runtime, route, index, replace, before),
        )

    def _add(
        self, runtime: Runtime, route: Route, index: int | None, replace: bool, before: tuple[Request, ...]
    ) -> Route:
        request = addition(runtime, route, index, replace=replace, echo=True)
        noted = _note(runtime, route, index, before) if runtime.survives else 0
        change = Change(route, before, noted)
        self._made.append(change)  # first, or an interrupt could come in between
        try:
            change.route = add(runtime, route, request)
        except KernelError:
            self._made.remove(change)
            change.strike()
            raise
        return change.route

    def adopt(self, runtime: Runtime, route: Route) -> None:
        """Undo this one too, which something else has added: delete it."""
        self.forget(route)
        noted = _note(runtime, route, None, ()) if runtime.survives else 0
        self._made.append(Change(route, (), noted))

    def has(self, route: Route) -> bool:
        """Whether it is undone by these."""
        return any(same_key(each.route, route) for each in self._made)

    def forget(self, route: Route) -> None:
        """The route was deleted, or is to stay: it is not undone any more."""
        for change in [each for each in self._made if same_key(each.route, route)]:
            change.strike()
            self._made.remove(change)

    def clear(self) -> None:
        """All of them are gone with their namespace, or are to stay."""
        for change in self._made:
            change.strike()
        self._made.clear()

    def undo(self, runtime: Runtime) -> list[Exception]:
        """Delete what was added and put back what it replaced; returns what could not be done."""
        from netkit._lifecycle.protocol_mark import Look

        errors: list[Exception] = []
        look = Look.at(runtime)
        kept: list[Route] = []
        for change in self._made[::-1]:
            route, before = change.route, change.before
            if any(same_key(route, newer) for newer in kept):
                continue  # what was done to this route later must be undone first
            try:
                _undo(runtime, route, before, look)
            except NotFoundError:
                pass  # gone already
            except Exception as problem:
                problem.add_note(f"route '{route}' may still be in {runtime.label}")
                errors.append(problem)
                kept.append(route)  # it stays in the list, and is tried again the next time
                continue
            change.strike()
            self._made.remove(change)
        return errors


def _note(runtime: Runtime, route: Route, index: int | None, before: tuple[Request, ...]) -> int:
    """In the journal: the message that deletes just this route, and those that bring back what was there."""
    from netkit._system.entries import MESSAGES, message_word
    from netkit._system.journal import note

    requests = [deletion(runtime, route, index), *before]
    words = [message_word(each.kind, each.flags, each.body) for each in requests]
    return note(MESSAGES, runtime.place, f"route {route}", *words)


def _undo(runtime: Runtime, route: Route, before: tuple[Request, ...], look: Look | None) -> None:
    request = _taken_back(runtime, route)
    if look is not None and not _is_there(runtime, request, look, bool(before)):
        return
    if not _put_back(runtime, before):
        runtime.route.request(request)


def _put_back(runtime: Runtime, before: tuple[Request, ...]) -> bool:
    """Whether there was something to put back, which is there again; with a link its routes are gone."""
    from netkit._netlink.route_copy import links_of, replacing

    for old in before:
        try:
            runtime.route.request(replacing(old))
        except NotFoundError:
            return False
        except KernelError:  # of a gateway behind a link that is gone the kernel says that it is unreachable
            if all(_is_link(runtime, index) for index in links_of(old)):
                raise
            return False
    return bool(before)


def _is_link(runtime: Runtime, index: int) -> bool:
    try:
        runtime.name_of(index)
    except NotFoundError:
        return False
    return True


def _is_there(runtime: Runtime, request: Request, look: Look, replaced: bool) -> bool:
    """Putting a route back replaces whatever is there, while a deletion itself names what it deletes."""
    if not replaced:
        return look.has(request.kind, request.body)
    from netkit._lifecycle.presence import is_present

    return is_present(runtime.route, request.kind, request.body)


def _taken_back(runtime: Runtime, route: Route) -> Request:
    try:
        return deletion(runtime, route)
    except NotFoundError:  # a device has another name by now, or is gone and the route with it
        fields: dict[str, Any] = {name: getattr(route, name) for name in Route._fields}
        fields.update(dev=None, nexthops=())
        return deletion(runtime, Route(**fields))


def same_key(one: Route, other: Route) -> bool:
    """Whether the kernel takes two routes of a table for the same one."""
    return _key(one) == _key(other)


def _key(route: Route) -> tuple[object, ...]:
    return route.dst, route.family, route.metric or (0 if route.family == 4 else 1024)  # IP6_RT_PRIO_USER
