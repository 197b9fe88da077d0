"""Routes between objects and the kernel: devices have names here and indexes there."""

from __future__ import annotations

from netkit._netlink.link import list_links, parse_link
from netkit._netlink.route import RTM_NEWROUTE, add_route, delete_route, list_routes
from netkit._netlink.route_record import parse_route
from netkit._netlink.wire import NLM_F_ECHO, Request
from netkit._runtime import Runtime
from netkit._spec.routes import Route
from netkit.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from netkit._netlink.socket import Reply

_DEFAULT_METRIC = 1024  # IP6_RT_PRIO_USER


def read_routes(runtime: Runtime, table: int, families: Iterable[int]) -> list[Route]:
    """The routes of one table."""
    called = Names(runtime)
    routes: list[Route] = []
    for family in families:
        try:
            replies = runtime.route.dump(list_routes(family, table))
        except NotFoundError:
            continue  # strict checking says so of a table that has no route yet
        parsed = [parse_route(reply, called) for reply in replies]
        routes += [route for route in parsed if route.table == table]
    return routes


def copies(runtime: Runtime, route: Route, wanted: Callable[[Route], bool]) -> tuple[Request, ...]:
    """The messages that bring back what this route is about to replace, whatever there is to it."""
    from netkit._netlink.route_copy import copy_of, is_for_all

    found = [
        copy_of(reply, ("put back route ", each))
        for reply, each in _told(runtime, route)
        if is_for_all(reply) and wanted(each)
    ]
    return tuple(found if route.family == 6 else found[:1])  # of IPv4 the first one (fib_table_insert)


def _told(runtime: Runtime, route: Route) -> list[tuple[Reply, Route]]:
    """What the kernel tells of the routes of this one's table and family."""
    called = Names(runtime)
    try:
        replies = runtime.route.dump(list_routes(route.family, route.table))
    except NotFoundError:
        return []  # as above
    parsed = [(reply, parse_route(reply, called)) for reply in replies]
    return [(reply, each) for reply, each in parsed if each.table == route.table]


def addition(
    runtime: Runtime, route: Route, index: int | None = None, *, replace: bool, echo: bool = False
) -> Request:
    """The message that adds a route; ``index`` is that of its device, where it is known already.

    With ``echo``, what the kernel makes of the route comes back with the ACK.
    """
    if index is None and route.dev is not None:
        index = runtime.index_of(route.dev)
    hops = _hops(runtime, route) if route.nexthops else ()
    request = add_route(route, index, hops, replace=replace)
    if echo:
        request.flags |= NLM_F_ECHO
    return request


def add(runtime: Runtime, route: Route, request: Request) -> Route:
    """Send an addition; the route as the kernel made it, with a metric and a device of its choice."""
    for reply in runtime.route.request(request):
        if reply[0] == RTM_NEWROUTE:
            return parse_route(reply, runtime.name_of)
    return route


def deletion(runtime: Runtime, route: Route, index: int | None = None) -> Request:
    """The message that deletes just this route, as whoever made it: another one to there stays."""
    if index is None and route.dev is not None:
        index = runtime.index_of(route.dev)
    hops = _hops(runtime, route) if route.nexthops else ()
    if route.metric is None and route.family == 6:  # without one, any would match
        fields: dict[str, Any] = {name: getattr(route, name) for name in Route._fields}
        fields["metric"] = _DEFAULT_METRIC
        route = Route(**fields)
    return delete_route(route, index, hops, exact=True)


def delete(runtime: Runtime, route: Route, index: int | None = None, *, any_type: bool = False) -> None:
    """Delete one route; with ``any_type`` a blackhole as well as a unicast route."""
    if index is None and route.dev is not None:
        index = runtime.index_of(route.dev)
    hops = _hops(runtime, route) if route.nexthops else ()
    runtime.route.request(delete_route(route, index, hops, any_type=any_type))


def delete_read(runtime: Runtime, route: Route) -> None:
    """Delete a route that was read: one of another program's may have more to it than a Route says."""
    try:
        delete(runtime, route)
    except NotFoundError:
        from netkit._netlink.route_copy import deletion_of

        same = [reply for reply, each in _told(runtime, route) if each == route]
        if not same:
            raise
        runtime.route.request(deletion_of(same[0], ("delete route ", route)))


def _hops(runtime: Runtime, route: Route) -> list[int | None]:
    return [None if hop.dev is None else runtime.index_of(hop.dev) for hop in route.nexthops]


class Names:
    """Names by index, read once and only when a route has a device."""

    __slots__ = ("_names", "_runtime")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._names: dict[int, str] | None = None

    def __call__(self, index: int) -> str:
        if self._names is None:
            links = [parse_link(reply) for reply in self._runtime.route.dump(list_links())]
            self._names = {link.index: link.name for link in links}
        return self._names.get(index) or f"if{index}"
