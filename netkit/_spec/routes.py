"""Routes and their next hops. Rule is here too for those who look for it."""

from __future__ import annotations

from collections.abc import Iterable

from netkit._spec import numbers
from netkit._spec._family import agreed_family, checked_via
from netkit._spec.addresses import ip_address, ip_network
from netkit._spec.names import (
    device,
    protocol_name,
    protocol_number,
    route_type,
    scope_name,
    scope_number,
    table_name,
    table_number,
)
from netkit._spec.neighbours import FdbEntry as FdbEntry
from netkit._spec.neighbours import Neighbour as Neighbour
from netkit._spec.rules import Rule as Rule
from netkit._spec.value import Value, become, fill, shown, type_of
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, Protocol, TypeAlias

    from netkit._spec.addresses import AddressLike, IPAddress, IPNetwork, NetworkLike

    class HasName(Protocol):
        """A Link, or whatever else has the name of a device, and its `ifindex` or `index`."""

        @property
        def name(self) -> str: ...

    DeviceLike: TypeAlias = str | HasName
    Destination: TypeAlias = IPNetwork | Literal["default"]

_set = object.__setattr__
_NO_FLAGS: frozenset[str] = frozenset()


class NextHop(Value):
    """One way of a multipath route: a gateway, a device, or both, and a weight of 1 to 256.

    Twin: ``nexthop via ADDRESS dev DEVICE weight NUMBER`` of ip-route(8). Source: rtnetlink(7), struct
    rtnexthop. Raises SpecError for bad values.

    Examples:
        >>> from netkit import NextHop
        >>> NextHop(via="10.0.0.2", weight=3).weight
        3
    """

    _fields = ("via", "dev", "weight", "flags")
    _compared = ("via", "dev", "weight")
    __slots__ = (*_fields, "given")  # what dev= was: a Link knows its namespace, a name does not

    via: IPAddress | None
    dev: str | None
    weight: int
    flags: frozenset[str]

    def __init__(
        self,
        via: AddressLike | None = None,
        dev: DeviceLike | None = None,
        weight: int = 1,
        flags: frozenset[str] = _NO_FLAGS,
    ) -> None:
        if via is None and dev is None:
            raise SpecError("a next hop leads nowhere: give via=, dev= or both")
        _set(self, "via", None if via is None else checked_via(via))
        _set(self, "dev", None if dev is None else device(dev))
        _set(self, "weight", numbers.weight(weight))
        _set(self, "flags", flags)
        _set(self, "given", dev)


class _RouteFields:
    __slots__ = (  # noqa: RUF023  in the order in which they are shown
        "dst",
        "via",
        "dev",
        "src",
        "metric",
        "scope",
        "proto",
        "mtu",
        "onlink",
        "type",
        "table",
        "family",
        "nexthops",
        "flags",
    )
    dst: Destination
    via: IPAddress | None
    dev: str | None
    src: IPAddress | None
    metric: int | None
    scope: str
    proto: str
    mtu: int | None
    onlink: bool
    type: str
    table: int
    family: int
    nexthops: tuple[NextHop, ...]
    flags: frozenset[str]


class Route(_RouteFields, Value):
    """A route, frozen; equal by everything but ``flags`` (``linkdown``, ``dead``, ``offload`` ...).

    ``Route(...)`` takes its fields as they are, unchecked and cheap: for what the kernel reported.
    ``Route.build(...)`` is for what a user asks for.

    ``dst`` is an ``ip_network`` or ``"default"``, ``via`` and ``src`` an ``ip_address`` or None, ``dev`` a
    name or None, ``mtu`` in bytes; ``scope`` and ``proto`` are ip's words, ``table`` is a number.
    ``nexthops`` has the ways of a multipath route, else it is empty.

    A route of another program may have more to it: a TOS, a source, TCP's metrics, a realm, a next-hop
    object. It is not told here, and what adds the value elsewhere adds it without. To delete such a route,
    or to replace it for a while, does it justice.

    Twin: one line of ``ip route show``. Source: rtnetlink(7), struct rtmsg.
    """

    __slots__ = ()
    _fields = _RouteFields.__slots__
    _compared = _fields[:-1]

    def __init__(
        self,
        dst: Destination,
        family: int,
        *,
        via: IPAddress | None = None,
        dev: str | None = None,
        src: IPAddress | None = None,
        metric: int | None = None,
        scope: str = "global",
        proto: str = "boot",
        mtu: int | None = None,
        onlink: bool = False,
        type: str = "unicast",
        table: int = 254,
        nexthops: tuple[NextHop, ...] = (),
        flags: frozenset[str] = _NO_FLAGS,
    ) -> None:
        usual = self.__class__ is Route
        into: _RouteFields = self
        if usual:
            become(self, _RouteFields)
        else:
            into = _RouteFields()
        into.dst = dst
        into.family = family
        into.via = via
        into.dev = dev
        into.src = src
        into.metric = metric
        into.scope = scope
        into.proto = proto
        into.mtu = mtu
        into.onlink = onlink
        into.type = type
        into.table = table
        into.nexthops = nexthops
        into.flags = flags
        if usual:
            become(self, Route)
        else:
            fill(self, into)

    @classmethod
    def build(
        cls,
        dst: NetworkLike,
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
        table: int | str = 254,
        family: int | None = None,
    ) -> Route:
        """Check what a user asks for, and fill in what ip-route(8) would.

        ``dst`` is ``"default"`` or a network; the family of ``default`` is that of ``via``, the next
        hops or ``src``, else ``family``, else 4. ``metric`` 0 is the kernel's default, as None is.
        ``mtu`` is in bytes. Raises SpecError.

        Examples:
            >>> from netkit._spec.routes import Route
            >>> str(Route.build("10.9.0.0/16", via="172.18.0.1", metric=50))
            '10.9.0.0/16 via 172.18.0.1 proto netkit metric 50'
        """
        kind = type if type == "unicast" else route_type(type)
        target = None if isinstance(dst, str) and dst == "default" else ip_network(dst, "dst")
        gateway = None if via is None else checked_via(via)
        hops = () if nexthops is None else _next_hops(nexthops)
        prefsrc = None if src is None else ip_address(src, "src")
        chosen: int
        if target is not None and family is None and gateway is None and prefsrc is None and not hops:
            chosen = target.version
        else:
            ways = [("next hop via", hop.via) for hop in hops]
            chosen = agreed_family(family, ("dst", target), ("via", gateway), *ways, ("src", prefsrc))
        outgoing = None if dev is None else device(dev)
        _check_way(kind, gateway, outgoing, hops, onlink is not False and numbers.boolean(onlink, "onlink"))
        return cls(
            "default" if target is None or not target.prefixlen else target,
            chosen,
            via=gateway,
            dev=outgoing,
            src=prefsrc,
            metric=None if metric is None else numbers.metric(metric) or None,
            scope=_scope(scope, kind, chosen, gateway, hops),
            proto="netkit" if proto is None else protocol_name(protocol_number(proto)),
            mtu=None if mtu is None else numbers.mtu(mtu, low=68 if chosen == 4 else 1280),
            onlink=onlink,
            type=kind,
            table=table_number(table),
            nexthops=hops,
        )

    def __repr__(self) -> str:
        return f"<Route {self}>"

    def in_table(self, table: int) -> Route:
        """The same route in another table (a number)."""
        fields = {name: getattr(self, name) for name in self._fields}
        fields["table"] = table
        return Route(**fields)

    def selector(self, any_type: bool) -> str:
        """The words of ``ip route del`` for it: who made it and its scope do not count."""
        words = [] if any_type or self.type == "unicast" else [self.type]
        words += self._way()
        if self.metric is not None:
            words += ["metric", str(self.metric)]
        return " ".join([*words, *self._hops()])

    def _hops(self) -> list[str]:
        hops = self.nexthops
        return [
            word for hop in hops for word in ("nexthop", *_way(hop.via, hop.dev), "weight", str(hop.weight))
        ]

    def _way(self) -> list[str]:
        words = [str(self.dst), *_way(self.via, self.dev)]
        return words if self.table == 254 else [*words, "table", table_name(self.table)]

    def __str__(self) -> str:
        words = [] if self.type == "unicast" else [self.type]
        words += [*self._way(), "proto", self.proto]
        if self.scope != "global":
            words += ["scope", self.scope]
        for word, value in (("src", self.src), ("metric", self.metric), ("mtu", self.mtu)):
            if value is not None:
                words += [word, str(value)]
        if self.onlink:
            words.append("onlink")
        return " ".join([*words, *self._hops()])


def _way(via: IPAddress | None, dev: str | None) -> list[str]:
    words = [] if via is None else ["via", str(via)]
    return words if dev is None else [*words, "dev", dev]


def _next_hops(nexthops: object) -> tuple[NextHop, ...]:
    if not isinstance(nexthops, Iterable) or isinstance(nexthops, (str, bytes)):
        raise SpecError(f"nexthops {shown(nexthops)} is no list of NextHop(via=, dev=, weight=)")
    given: Iterable[object] = nexthops  # pyright: ignore[reportUnknownVariableType]
    hops = tuple([_next_hop(hop) for hop in given])
    if not hops:
        raise SpecError("nexthops is empty: give at least one NextHop, or via= or dev=")
    return hops


def _next_hop(hop: object) -> NextHop:
    if not isinstance(hop, NextHop):
        raise SpecError(f"next hop {shown(hop)} is {type_of(hop)}: give NextHop(via=, dev=)")
    return hop


def _check_way(
    kind: str, via: IPAddress | None, dev: str | None, hops: tuple[NextHop, ...], onlink: bool
) -> None:
    if kind == "local":
        if dev is None or via is not None or hops:
            raise SpecError("type='local' is for addresses of this machine: give dev=, such as 'lo', no via=")
    elif kind != "unicast":
        if via is not None or dev is not None or hops:
            raise SpecError(f"type={kind!r} leads nowhere: leave out via=, dev= and nexthops=")
    elif hops and (via is not None or dev is not None):
        raise SpecError("nexthops= with via= or dev=: put them into a NextHop(via=, dev=)")
    elif not hops and via is None and dev is None:
        raise SpecError("a unicast route needs via=, dev= or nexthops= (or type='blackhole')")
    if onlink and (via is None or dev is None):
        raise SpecError("onlink=True needs via= and dev=: the gateway is taken to be on that link")


def _scope(
    scope: str | int | None, kind: str, family: int, via: IPAddress | None, hops: tuple[NextHop, ...]
) -> str:
    if scope is not None:
        return scope_name(scope_number(scope))
    # As ip-route(8): host for what is local, link for what is reached directly. IPv6 routes have but global.
    if kind == "local" and family == 4:
        return "host"
    direct = kind == "unicast" and via is None and not hops
    return "link" if direct and family == 4 else "global"
