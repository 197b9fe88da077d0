"""RouteTable: the routes of one table of a namespace, and a scope for those it adds."""

from __future__ import annotations

from errno import ENOENT

import netkit._forks as forks
from netkit._known import require_namespace
from netkit._leftovers import past_leftovers
from netkit._lifecycle import Block, Teardown
from netkit._link import Link, require_device
from netkit._netlink.route import get_route
from netkit._netlink.route_record import parse_route
from netkit._route_changes import Changes, same_key
from netkit._route_owners import inherit_route, refuse_owned
from netkit._route_requests import Names, add, addition, copies, delete, delete_read, deletion, read_routes
from netkit._runtime import Runtime
from netkit._shown import Shown
from netkit._spec import names, numbers
from netkit._spec._family import checked_family
from netkit._spec.addresses import ip_address
from netkit._spec.routes import NextHop, Route
from netkit._system.signals import deferred_signals, held_signals
from netkit.errors import SpecError, StateError, TeardownError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal

    from netkit._namespace import Namespace
    from netkit._netlink.wire import Request
    from netkit._spec.addresses import AddressLike, NetworkLike
    from netkit._spec.routes import DeviceLike


class RouteTable(Block, Shown):
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

    def __init__(self, ns: Namespace, table: int | str = "main") -> None:
        self._netns = require_namespace(ns, "ns")
        self._table = names.table_number(table)
        self._pid = forks.pid
        self._scoped = True  # ns.routes is not, unless it is entered
        self._changes = Changes()

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

        ``type`` is ``unicast``, ``blackhole``, ``local`` ...: any type a route can have. Twin:
        ``ip route show table TABLE [dst] [dev] [via] [type] [proto]``. Raises SpecError for a bad value.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     _ = box.routes.add("10.9.0.0/16", type="prohibit")
            ...     print(*box.routes.filter(type="prohibit"))
            prohibit 10.9.0.0/16 proto netkit
        """
        version = checked_family(family)
        kind = None if type is None else names.route_type_name(names.route_type_number(type))
        wanted = None if dst is None else Route.build(dst, type="blackhole", family=family).dst
        require_device(dev, self._netns)
        device = None if dev is None else names.device(dev)
        gateway = None if via is None else ip_address(via, "via")
        protocol = None if proto is None else names.protocol_name(names.protocol_number(proto))
        return [
            route
            for route in self._read(version)
            if (wanted is None or route.dst == wanted)
            and (device is None or route.dev == device or any(h.dev == device for h in route.nexthops))
            and (gateway is None or route.via == gateway or any(h.via == gateway for h in route.nexthops))
            and (kind is None or route.type == kind)
            and (protocol is None or route.proto == protocol)
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

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     print(box.routes.get("127.0.0.1").dev)
            lo
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
        return parse_route(runtime.route.get(request), Names(runtime))

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
        ``type`` is ``unicast``, ``local``, ``blackhole``, ``unreachable`` or ``prohibit``.

        Twin: ``ip route add``. Raises ExistsError when there is one to this destination with this
        metric, NotFoundError for an unknown device, KernelError "Nexthop has invalid gateway"
        when ``via`` can't be reached, SpecError for bad values.

        Examples:
            >>> from netkit import Namespace, NextHop
            >>> with Namespace() as box:
            ...     _ = box.links["lo"].addresses.add("10.0.0.1/24")
            ...     print(box.routes.add("10.9.0.0/16", via="10.0.0.2", metric=5, mtu=1400))
            ...     hops = [NextHop(via="10.0.0.2", weight=2), NextHop(via="10.0.0.3")]
            ...     print(len(box.routes.add("10.8.0.0/16", nexthops=hops).nexthops))
            10.9.0.0/16 via 10.0.0.2 dev lo proto netkit metric 5 mtu 1400
            2
        """
        route, index = self._asked(
            dst, via, dev, src, metric, scope, proto, mtu, onlink, type, nexthops, family
        )
        return self._add(route, index, replace=False)

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
        """Add a route, or change the one to this destination with this metric. Twin: ``ip route replace``.

        Parameters are those of `add`. Raises what that does, but ExistsError.
        """
        route, index = self._asked(
            dst, via, dev, src, metric, scope, proto, mtu, onlink, type, nexthops, family
        )
        return self._add(route, index, replace=True)

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
        """Delete one route: the first to ``dst`` that has all that is given. Twin: ``ip route del``.

        Raises NotFoundError when there is none such, SpecError for a bad value.
        """
        index = None
        if isinstance(dst, Route):
            route, any_type = dst.in_table(self._table), False
        else:
            called = dev
            if isinstance(dev, Link):
                require_device(dev, self._netns)
                called, index = dev._last_name, dev._ifindex
            # Without a way, any route to there is meant: the one type that needs no way stands for all.
            kind = type or ("blackhole" if via is None and dev is None else "unicast")
            route = Route.build(
                dst, via=via, dev=called, metric=metric, type=kind, table=self._table, family=family
            )
            any_type = type is None
        if not self._scoped:
            self._delete(route, index, any_type, read=isinstance(dst, Route))
            return
        with held_signals():
            self._delete(route, index, any_type, read=isinstance(dst, Route))
            self._changes.forget(route)

    def _delete(self, route: Route, index: int | None, any_type: bool, read: bool) -> None:
        if read:
            delete_read(self._runtime, route)
        else:
            delete(self._runtime, route, index, any_type=any_type)

    def adopt(self, dst: NetworkLike | Route, *, metric: int | None = None) -> Route:
        """Own a route of this table that nobody owns: it is deleted like what was added here.

        Whoever added it, it may be detached, left by ``ip`` or the kernel, or by a process that is dead.
        ``dst`` is a Route, as iterating gives it, or a network or ``"default"``; of several to the same
        destination ``metric`` names one. Returns the route. Twin: none, ``ip`` owns nothing. Raises
        NotFoundError when there is none, StateError for what another RouteTable of this program owns, or
        another process that lives, and for ``ns.routes``, which is no scope.

        Examples:
            >>> from netkit import Namespace, RouteTable
            >>> with Namespace() as box:
            ...     _ = box.routes.add("10.9.0.0/16", type="blackhole")
            ...     with RouteTable(box) as table:
            ...         print(table.adopt("10.9.0.0/16"))
            ...     print(len(box.routes))
            blackhole 10.9.0.0/16 proto netkit
            0
        """
        self._check_scope("adopt a route")
        route = self._present(dst, metric)
        with held_signals():
            refuse_owned(self, route)
            self._changes.adopt(self._runtime, route)
            try:
                refuse_owned(self, route)  # who has looked when we did: now both are noted
                self._present(route, None)  # a guard may have been at it
            except BaseException:
                self._changes.forget(route)
                raise
            inherit_route(self._runtime, route)
        return route

    def detach(self, dst: NetworkLike | Route | None = None, *, metric: int | None = None) -> RouteTable:
        """Leave a route that was added here, or without ``dst`` all of them: they outlive the scope.

        What was replaced is not put back then. Returns the table. Twin: none. Raises NotFoundError when
        there is no such route, StateError for ``ns.routes``, which is no scope.
        """
        self._check_scope("detach routes")
        with held_signals():
            if dst is None:
                self._changes.clear()
            else:
                self._changes.forget(self._present(dst, metric))
        return self

    def _owns(self, table: RouteTable, route: Route) -> bool:
        """Whether it will undo this route of the other table, which may be the same one of the kernel's."""
        same = self._table == table._table and self._netns._same_as(table._netns)
        return same and self._is_alive() and self._changes.has(route)

    def _leave_in_place(self) -> None:
        self.detach()

    def _check_scope(self, verb: str) -> None:
        self._check()
        if not self._scoped:
            raise StateError(
                f"cannot {verb}: ns.routes owns nothing. Use `with RouteTable(ns) as table:`, or Scope.own"
            )

    def _present(self, dst: NetworkLike | Route, metric: int | None) -> Route:
        """The route in the table that is meant."""
        if isinstance(dst, Route):
            found = tuple([each for each in self._read(dst.family) if same_key(each, dst)])
        else:
            found = tuple([each for each in self.filter(dst=dst) if metric in (None, each.metric)])
        if not found:
            raise kernel_error(f"find route '{dst}' in {self!r}", ENOENT)
        return found[0]

    def flush(self) -> None:
        """Delete what was added through this object, and put back what it replaced.

        Not the whole table. Twin: ``ip route flush table TABLE proto netkit``, if nobody else uses it. Raises
        TeardownError with what could not be undone.
        """
        with deferred_signals():
            errors = self._changes.undo(self._runtime)
        if errors:
            raise TeardownError(f"{self!r} could not be flushed whole", errors)

    # -- a scope ------------------------------------------------------------------

    def _open(self) -> Runtime:
        self._check()
        self._scoped = True
        return self._runtime

    def _remove(self, teardown: Teardown) -> None:
        runtime = self._needed or self._netns._runtime_or_none()
        if runtime is None or runtime in teardown.doomed:
            self._changes.clear()
            return
        errors = self._changes.undo(runtime)
        if errors:
            raise errors[0] if len(errors) == 1 else TeardownError(f"{self!r}", errors)

    # -- inside -------------------------------------------------------------------

    @property
    def _runtime(self) -> Runtime:
        return self._netns._live_runtime()

    def _check(self) -> Runtime:
        if self._pid != forks.pid:
            raise StateError(f"{self!r} belongs to the process that forked this one")
        if self._state == "closed":
            raise StateError(f"{self!r} is closed: make a new RouteTable")
        return self._netns._live_runtime()

    def _read(self, family: int | None = None) -> list[Route]:
        return read_routes(self._runtime, self._table, (4, 6) if family is None else (family,))

    def _asked(
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
    ) -> tuple[Route, int | None]:
        """The route that the keywords describe, and the index of its device if that is known."""
        if isinstance(dst, Route):
            given = (via, dev, src, metric, scope, proto, mtu, nexthops, family)
            if onlink or type != "unicast" or any(value is not None for value in given):
                raise SpecError("a Route has everything already: leave out the other keywords")
            return dst.in_table(self._table), None
        called, index = _device(dev, self._netns)
        route = Route.build(
            dst, via=via, dev=called, src=src, metric=metric, scope=scope, proto=proto, mtu=mtu,
            onlink=onlink, type=type, nexthops=nexthops, table=self._table, family=family,
        )  # fmt: skip
        for hop in route.nexthops:
            require_device(getattr(hop, "given", None), self._netns)  # None after unpickling
        return route, index

    def _add(self, route: Route, index: int | None, replace: bool) -> Route:
        runtime = self._check()
        if self._scoped:
            with held_signals():
                before = self._replaced_by(route) if replace else ()
                return self._changes.add(runtime, route, index, replace=replace, before=before)
        request = addition(runtime, route, index, replace=replace, echo=not _is_whole(route))
        return past_leftovers(
            runtime, lambda: deletion(runtime, route, index), lambda: add(runtime, route, request)
        )

    def _replaced_by(self, route: Route) -> tuple[Request, ...]:
        """What brings back the routes that a replace by this one overwrites."""
        return copies(self._runtime, route, lambda each: same_key(each, route))

    def __repr__(self) -> str:
        return f"<RouteTable {names.table_name(self._table)} in {self._netns._called()}>"


def _device(dev: DeviceLike | None, netns: Namespace) -> tuple[DeviceLike | None, int | None]:
    """The name of a device, and its index where it was given as a Link."""
    if not isinstance(dev, Link):
        return dev, None
    require_device(dev, netns)
    return netns._live_runtime().name_of(dev._ifindex), dev._ifindex


def _is_whole(route: Route) -> bool:
    """Whether the kernel adds nothing to a route: it finds devices by gateways, and IPv6 metrics."""
    return route.family == 4 and route.dev is not None
