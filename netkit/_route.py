"""RouteTable: the routes of one table of a namespace, and a scope for those it adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from netkit._forks import process
from netkit._lifecycle import ROOT, ROUTES, Owned, Teardown, leave_block, undo
from netkit._link import require_device
from netkit._netlink.link import get_link, list_links, parse_link
from netkit._netlink.route import (
    RTM_NEWROUTE,
    add_route,
    delete_route,
    get_route,
    list_routes,
    parse_route,
)
from netkit._netlink.wire import NLM_F_ECHO, Request
from netkit._runtime import Runtime
from netkit._spec import names, numbers
from netkit._spec.addresses import ip_address
from netkit._spec.routes import NextHop, Route
from netkit.errors import KernelError, NotFoundError, SpecError, StateError, TeardownError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, Self

    from netkit._namespace import Namespace
    from netkit._netlink.socket import Reply
    from netkit._spec.addresses import AddressLike, NetworkLike
    from netkit._spec.routes import DeviceLike

MAIN = 254


class RouteTable(Owned):
    """The routes of one table, IPv4 and IPv6.

    Iterating reads them afresh. Used as ``with RouteTable(ns, 100) as table:``, or owned by a
    Scope, it is also a scope: what it added is deleted at the end, and what it replaced is put
    back. Without a block that is done by `close` or `flush` only. ``ns.routes`` is the table
    ``main`` and no scope: what it adds stays.

    Twin: ``ip route ... table TABLE``. Source: ip-route(8), rtnetlink(7). Reading needs no
    capability, changing needs CAP_NET_ADMIN over the namespace.

    Args:
        ns: the namespace.
        table: a number, or a name: ``main``, ``local``, ``default``, or one of rt_tables.

    Examples:
        >>> from netkit import Namespace, RouteTable
        >>> with Namespace() as box, RouteTable(box, 100) as table:
        ...     print(table.add("10.9.0.0/16", type="blackhole"))
        blackhole 10.9.0.0/16 table 100 proto netkit
    """

    _stage = ROUTES

    def __init__(self, ns: Namespace, table: int | str = "main") -> None:
        from netkit._namespace import require_namespace

        self._netns = require_namespace(ns, "ns")
        self._table = names.table_number(table)
        self._state: Literal["new", "open", "closed"] = "new"
        self._pid = process()
        self._scoped = True  # ns.routes is not, unless it is entered
        self._changes: list[tuple[Route, tuple[Route, ...]]] = []
        self._needed: Runtime | None = None

    @property
    def table(self) -> int:
        """The table's number."""
        return self._table

    @property
    def netns(self) -> Namespace:
        """The namespace it is in."""
        return self._netns

    # -- reading ------------------------------------------------------------------

    def __iter__(self) -> Iterator[Route]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, route: object) -> bool:
        return any(each == route or str(each.dst) == route for each in self)

    def filter(
        self,
        *,
        family: Literal[4, 6] | None = None,
        dst: NetworkLike | None = None,
        dev: DeviceLike | None = None,
        via: AddressLike | None = None,
        type: str | None = None,
        proto: str | int | None = None,
    ) -> list[Route]:
        """The routes that match all that is given, from a fresh read.

        Twin: ``ip route show table TABLE [dst] [dev] [via] [type] [proto]``.
        """
        wanted = None if dst is None else Route.build(dst, type="blackhole", family=family).dst
        require_device(dev, self._netns)
        device = None if dev is None else names.device(dev)
        gateway = None if via is None else ip_address(via, "via")
        protocol = None if proto is None else names.protocol_name(names.protocol_number(proto))
        return [
            route
            for route in self._read(family)
            if (wanted is None or route.dst == wanted)
            and (device is None or route.dev == device or any(h.dev == device for h in route.nexthops))
            and (gateway is None or route.via == gateway or any(h.via == gateway for h in route.nexthops))
            and (type is None or route.type == type)
            and (protocol is None or route.protocol == protocol)
        ]

    def get(
        self,
        address: AddressLike,
        *,
        src: AddressLike | None = None,
        iif: DeviceLike | None = None,
        oif: DeviceLike | None = None,
        mark: int | None = None,
    ) -> Route:
        """The kernel's own decision: the route a packet to this address would take.

        All tables and rules take part. Twin: ``ip route get ADDRESS [from SRC] [iif ...] [oif ...]``.
        Raises KernelError (ENETUNREACH) when there is no route.
        """
        require_device(iif, self._netns, "iif")
        require_device(oif, self._netns, "oif")
        target = ip_address(address)
        source = None if src is None else ip_address(src, "src")
        number = None if mark is None else numbers.integer(mark, "mark", 0, numbers.U32)
        runtime = self._runtime
        request = get_route(
            target,
            src=source,
            iif=None if iif is None else runtime.index_of(names.device(iif)),
            oif=None if oif is None else runtime.index_of(names.device(oif)),
            mark=number,
        )
        return parse_route(runtime.route.get(request), _Names(runtime))

    # -- changing -----------------------------------------------------------------

    def add(
        self,
        dst: NetworkLike | Route,
        *,
        via: AddressLike | None = None,
        dev: DeviceLike | None = None,
        src: AddressLike | None = None,
        metric: int | None = None,
        scope: str | int | None = None,
        proto: str | int | None = None,
        mtu: int | None = None,
        onlink: bool = False,
        type: str = "unicast",
        nexthops: Iterable[NextHop] | None = None,
        family: Literal[4, 6] | None = None,
    ) -> Route:
        """Add a route; returns it as the kernel has it.

        ``dst`` is a network, ``"default"``, or a Route read elsewhere. ``mtu`` in bytes.
        ``type`` is ``unicast``, ``blackhole``, ``unreachable`` or ``prohibit``.

        Twin: ``ip route add``. Raises ExistsError when there is one to this destination with this
        metric, NotFoundError for an unknown device, KernelError "Nexthop has invalid gateway"
        when ``via`` can't be reached.
        """
        route = self._build(dst, via, dev, src, metric, scope, proto, mtu, onlink, type, nexthops, family)
        return self._send(route, replace=False)

    def replace(
        self,
        dst: NetworkLike | Route,
        *,
        via: AddressLike | None = None,
        dev: DeviceLike | None = None,
        src: AddressLike | None = None,
        metric: int | None = None,
        scope: str | int | None = None,
        proto: str | int | None = None,
        mtu: int | None = None,
        onlink: bool = False,
        type: str = "unicast",
        nexthops: Iterable[NextHop] | None = None,
        family: Literal[4, 6] | None = None,
    ) -> Route:
        """Add a route, or change the one to this destination with this metric. Twin: ``ip route replace``."""
        route = self._build(dst, via, dev, src, metric, scope, proto, mtu, onlink, type, nexthops, family)
        return self._send(route, replace=True)

    def delete(
        self,
        dst: NetworkLike | Route,
        *,
        via: AddressLike | None = None,
        dev: DeviceLike | None = None,
        metric: int | None = None,
        type: str | None = None,
        family: Literal[4, 6] | None = None,
    ) -> None:
        """Delete one route. Twin: ``ip route del``. NotFoundError when there is none such."""
        if isinstance(dst, Route):
            route = dst.in_table(self._table)
        else:
            require_device(dev, self._netns)
            # Without a way, any route to there is meant: the one type that needs no way stands for all.
            kind = type or ("blackhole" if via is None and dev is None else "unicast")
            route = Route.build(
                dst, via=via, dev=dev, metric=metric, type=kind, table=self._table, family=family
            )
        any_type = type is None and not isinstance(dst, Route)
        self._delete(self._runtime, route, any_type)
        self._changes = [change for change in self._changes if not _same_key(change[0], route)]

    def flush(self) -> None:
        """Delete what was added through this object, and put back what it replaced."""
        errors = self._undo_changes(self._runtime)
        if errors:
            raise TeardownError(f"{self!r} could not be flushed whole", errors)

    # -- a scope ------------------------------------------------------------------

    def close(self) -> None:
        """End the scope: undo what was added through it. A second call does nothing."""
        if self._state != "closed" and self._pid == process():
            errors = undo([self])
            if len(errors) == 1:
                raise errors[0]
            if errors:
                raise TeardownError(f"{self!r} could not be undone whole", errors)

    def __enter__(self) -> Self:
        if self._state == "open":
            return self
        self._check()
        self._state = "open"
        self._scoped = True
        runtime = self._runtime
        if not runtime.ours:  # what is added outlives a borrowed handle: else it could not be undone
            runtime.users += 1
            self._needed = runtime
        if self._holder is None:
            ROOT._hold(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._state == "open" and self._pid == process():
            leave_block(repr(self), undo([self]), problem)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, problem, traceback)

    def _is_alive(self) -> bool:
        return self._state == "open"

    def _begin(self, group: int) -> None:
        self._check()
        self.__enter__()

    def _remove(self, teardown: Teardown) -> None:
        runtime = self._needed or self._netns._runtime_or_none()
        if runtime is None or runtime in teardown.doomed:
            self._changes.clear()
            return
        errors = self._undo_changes(runtime)
        if errors:
            raise errors[0] if len(errors) == 1 else TeardownError(f"{self!r}", errors)

    def _removed(self) -> None:
        self._state = "closed"
        needed, self._needed = self._needed, None
        if needed is not None:
            needed.release()
        self._let_go()

    # -- inside -------------------------------------------------------------------

    @property
    def _runtime(self) -> Runtime:
        return self._netns._live_runtime()

    def _check(self) -> None:
        if self._pid != process():
            raise StateError(f"{self!r} belongs to the process that forked this one")
        if self._state == "closed":
            raise StateError(f"{self!r} is closed: make a new RouteTable")
        self._netns._live_runtime()

    def _read(self, family: int | None = None) -> list[Route]:
        runtime = self._runtime
        called = _Names(runtime)
        routes: list[Route] = []
        for version in (4, 6) if family is None else (family,):
            try:
                replies = runtime.route.dump(list_routes(version, self._table))
            except NotFoundError:
                continue  # strict checking says so of a table that has no route yet
            parsed = [parse_route(reply, called) for reply in replies]
            routes += [route for route in parsed if route.table == self._table]
        return routes

    def _build(
        self,
        dst: NetworkLike | Route,
        via: AddressLike | None,
        dev: DeviceLike | None,
        src: AddressLike | None,
        metric: int | None,
        scope: str | int | None,
        proto: str | int | None,
        mtu: int | None,
        onlink: bool,
        type: str,
        nexthops: Iterable[NextHop] | None,
        family: Literal[4, 6] | None,
    ) -> Route:
        if isinstance(dst, Route):
            given = (via, dev, src, metric, scope, proto, mtu, nexthops, family)
            if onlink or type != "unicast" or any(value is not None for value in given):
                raise SpecError("a Route has everything already: leave out the other keywords")
            return dst.in_table(self._table)
        require_device(dev, self._netns)
        route = Route.build(
            dst, via=via, dev=dev, src=src, metric=metric, scope=scope, proto=proto, mtu=mtu,
            onlink=onlink, type=type, nexthops=nexthops, table=self._table, family=family,
        )  # fmt: skip
        for hop in route.nexthops:
            require_device(getattr(hop, "given", None), self._netns)  # None after unpickling
        return route

    def _send(self, route: Route, replace: bool) -> Route:
        self._check()
        runtime = self._runtime
        before = self._same_as(route) if replace and self._scoped else ()
        request = self._request(runtime, route, replace)
        if self._scoped:
            self._changes.append((route, before))
        whole = not self._scoped and _is_whole(route)
        if not whole:
            request.flags |= NLM_F_ECHO  # what the kernel makes of it comes back with the ACK
        try:
            replies = runtime.route.request(request)
        except BaseException as problem:
            if self._scoped and isinstance(problem, KernelError):
                self._changes.pop()
            raise
        made = route if whole else _echoed(runtime, route, replies)
        if self._scoped:
            self._changes[-1] = (made, before)
        return made

    def _request(self, runtime: Runtime, route: Route, replace: bool) -> Request:
        index = None if route.dev is None else runtime.index_of(route.dev)
        hops = [None if hop.dev is None else runtime.index_of(hop.dev) for hop in route.nexthops]
        return add_route(route, index, hops, replace=replace)

    def _same_as(self, route: Route) -> tuple[Route, ...]:
        """The routes that a replace of this one overwrites."""
        return tuple([each for each in self._read(route.family) if _same_key(each, route)])

    def _delete(self, runtime: Runtime, route: Route, any_type: bool = False) -> None:
        index = None if route.dev is None else runtime.index_of(route.dev)
        hops = [None if hop.dev is None else runtime.index_of(hop.dev) for hop in route.nexthops]
        runtime.route.request(delete_route(route, index, hops, any_type=any_type))

    def _undo_changes(self, runtime: Runtime) -> list[Exception]:
        errors: list[Exception] = []
        kept: list[Route] = []
        for change in self._changes[::-1]:
            route, before = change
            if any(_same_key(route, newer) for newer in kept):
                continue  # what was done to this route later must be undone first
            try:
                self._undo_change(runtime, route, before)
            except NotFoundError:
                pass  # gone already
            except Exception as problem:
                problem.add_note(f"route '{route}' may still be in {runtime.label}")
                errors.append(problem)
                kept.append(route)  # it stays in the list, and is tried again the next time
                continue
            self._changes.remove(change)
        return errors

    def _undo_change(self, runtime: Runtime, route: Route, before: tuple[Route, ...]) -> None:
        try:
            for old in before:
                runtime.route.request(self._request(runtime, old, replace=True))
        except NotFoundError:
            before = ()  # its link is gone, and the old route would be gone with it
        if not before:
            self._delete(runtime, route)

    def __repr__(self) -> str:
        return f"<RouteTable {names.table_name(self._table)} in {self._netns._called()}>"


def _is_whole(route: Route) -> bool:
    """Whether the kernel adds nothing to a route: it finds devices by gateways, and IPv6 metrics."""
    return route.family == 4 and route.dev is not None


def _same_key(one: Route, other: Route) -> bool:
    """Whether the kernel takes two routes of a table for the same one."""
    key = (one.dst, one.family, one.metric or _default_metric(one.family))
    return key == (other.dst, other.family, other.metric or _default_metric(other.family))


def _default_metric(family: int) -> int:
    return 0 if family == 4 else 1024  # IP6_RT_PRIO_USER


def _echoed(runtime: Runtime, asked: Route, replies: list[Reply]) -> Route:
    """The route as the kernel made it, with the metric and the device of its choice."""
    for reply in replies:
        if reply[0] == RTM_NEWROUTE:
            return parse_route(reply, lambda index: _name_of(runtime, index))
    return asked


def _name_of(runtime: Runtime, index: int) -> str:
    return parse_link(runtime.route.get(get_link(index=index))).name


class _Names:
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


NameOf = Callable[[int], str]
