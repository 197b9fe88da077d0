"""What was changed through a RouteTable, and how that is undone."""

from __future__ import annotations

from netkit._route_requests import add, addition, delete
from netkit._runtime import Runtime
from netkit._spec.routes import Route
from netkit.errors import KernelError, NotFoundError


class Changes:
    """Routes that were added, each with those that it replaced."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: list[tuple[Route, tuple[Route, ...]]] = []

    def add(
        self, runtime: Runtime, route: Route, index: int | None, *, replace: bool, before: tuple[Route, ...]
    ) -> Route:
        """Add a route and note it; ``before`` are the routes that it replaces."""
        request = addition(runtime, route, index, replace=replace, echo=True)
        self._made.append((route, before))  # first, or an interrupt could come in between
        try:
            made = add(runtime, route, request)
        except KernelError:
            self._made.pop()
            raise
        self._made[-1] = (made, before)
        return made

    def adopt(self, route: Route) -> None:
        """Undo this one too, which something else has added: delete it."""
        self.forget(route)
        self._made.append((route, ()))

    def forget(self, route: Route) -> None:
        """The route was deleted, or is to stay: it is not undone any more."""
        if self._made:
            self._made = [change for change in self._made if not same_key(change[0], route)]

    def clear(self) -> None:
        """All of them are gone with their namespace, or are to stay."""
        self._made.clear()

    def undo(self, runtime: Runtime) -> list[Exception]:
        """Delete what was added and put back what it replaced; returns what could not be done."""
        errors: list[Exception] = []
        kept: list[Route] = []
        for change in self._made[::-1]:
            route, before = change
            if any(same_key(route, newer) for newer in kept):
                continue  # what was done to this route later must be undone first
            try:
                _undo(runtime, route, before)
            except NotFoundError:
                pass  # gone already
            except Exception as problem:
                problem.add_note(f"route '{route}' may still be in {runtime.label}")
                errors.append(problem)
                kept.append(route)  # it stays in the list, and is tried again the next time
                continue
            self._made.remove(change)
        return errors


def _undo(runtime: Runtime, route: Route, before: tuple[Route, ...]) -> None:
    try:
        for old in before:
            add(runtime, old, addition(runtime, old, replace=True))
    except NotFoundError:
        before = ()  # its link is gone, and the old route would be gone with it
    if not before:
        delete(runtime, route)


def same_key(one: Route, other: Route) -> bool:
    """Whether the kernel takes two routes of a table for the same one."""
    return _key(one) == _key(other)


def _key(route: Route) -> tuple[object, ...]:
    return route.dst, route.family, route.metric or (0 if route.family == 4 else 1024)  # IP6_RT_PRIO_USER
