"""The routes that a plan names: default routes of links' ends, and routes of namespaces.

Gateways may be given as names: what is meant is the address on the same wire.
"""

from __future__ import annotations

from netkit._spec.address import Address
from netkit._spec.routes import Route
from netkit._topology.naming import called, place, unknown
from netkit._topology.references import References
from netkit._topology.routing import route_by
from netkit._topology.subnets import BYTES, Subnet
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netkit._topology.interfaces import Cable, Interface, Segment, Wiring
    from netkit._topology.values import NamespacePlan, RoutePlan


class GivenRoutes:
    """What the plan's routes are in numbers. ``by_namespace`` has all of them."""

    def __init__(self, wiring: Wiring, references: References) -> None:
        self._wiring = wiring
        self._references = references
        self._on_wire: dict[tuple[int, str], tuple[Address, ...]] = {}
        self._seen: set[int] = set()
        self._routes: dict[bytes, Route] = {}
        self._defaults: dict[tuple[str, int], Interface | str] = {}
        self.by_namespace: dict[str, list[Route]] = {}
        self.elsewhere: dict[str, list[Route]] = {}  # those that leave by no link of the plan

    # -- default routes of ends -------------------------------------------------------

    def add_defaults(self, cables: Iterable[Cable]) -> None:
        """Give the ends their default routes."""
        for cable in cables:
            for end, other in ((cable.near, cable.far), (cable.far, cable.near)):
                chosen = cable.plan.ends[end.where[1] if isinstance(end.where, tuple) else 0].default_route
                if chosen is not False:
                    self._add_default(end, self._gateways(cable, end, other, chosen))

    def _gateways(
        self, cable: Cable, end: Interface, other: Interface, chosen: bool | str
    ) -> Sequence[Address]:
        if isinstance(chosen, str):
            named = self._addresses_on(end.segment, chosen)
            if named is not None:
                return named
            address = self._references.host(chosen, _where(end))
            if _first(end.addresses, address.version) is not None:
                _check_near(address, end)
            return [address]
        found = other.addresses
        if cable.master is not None:  # the bridge, or the one of those it is joined with that has an address
            found = self._wiring.bridges[cable.master].addresses or end.segment.bridge_addresses()
        if not found:
            hint = f"add_bridge('{other.owner}', address='auto')" if cable.master else "give it one"
            raise SpecError(f"{_where(end)}: '{other.owner}' has no address to be the gateway: {hint}")
        return found

    def _add_default(self, end: Interface, gateways: Sequence[Address]) -> None:
        added = False
        for version in (4, 6):
            gateway = _first(gateways, version)
            first = None if gateway is None else _first(end.addresses, version)
            if gateway is None or first is None:
                continue
            if end.wanted != "auto" and not _is_near(gateway, end.addresses):
                raise SpecError(f"{_where(end)}: the gateway {gateway.ip} is not in the network of {first}")
            if self._references.owns(end.netns, gateway):
                raise SpecError(
                    f"{_where(end)}: {gateway.ip} is its own address: a gateway is at the other end"
                )
            self._note_default(end.netns, version, end)
            route = self._routes.get(gateway.packed)
            if route is None:
                route = self._routes[gateway.packed] = route_by("default", gateway)
            end.routes += (route,)
            self.by_namespace.setdefault(end.netns, []).append(route)
            added = True
        if not added:
            raise SpecError(
                f"{_where(end)}: the gateway has {_shown(gateways)}, '{end.owner}' has "
                f"{_shown(end.addresses)}: no family in common"
            )

    def _note_default(self, netns: str, version: int, by: Interface | str) -> None:
        first = self._defaults.setdefault((netns, version), by)
        if first is not by:
            raise SpecError(
                f"{_where(by)}: {called(netns)} has an IPv{version} default route already ({_where(first)}): "
                "give the other one a metric, with add_route()"
            )

    def _addresses_on(self, segment: Segment, name: str) -> tuple[Address, ...] | None:
        """What a namespace or bridge has on a wire; None if it is not there."""
        if id(segment) not in self._seen:
            self._seen.add(id(segment))
            for interface in segment.interfaces:
                key = (id(segment), interface.owner)
                self._on_wire[key] = self._on_wire.get(key, ()) + interface.addresses
        return self._on_wire.get((id(segment), name))

    # -- routes of namespaces ---------------------------------------------------------

    def add_routes(self, namespaces: Iterable[NamespacePlan]) -> None:
        """Give the namespaces the routes that the plan has for them."""
        own: dict[str, list[Interface]] = {}
        for namespace in namespaces:
            for number, plan in enumerate(namespace.routes):
                own = own or self._interfaces()
                where = f"{place('namespaces', namespace.name)}.routes[{number}]"
                self._add_route(namespace.name, own.get(namespace.name, []), plan, where)

    def _interfaces(self) -> dict[str, list[Interface]]:
        found: dict[str, list[Interface]] = {}
        for interface in self._wiring.interfaces():
            found.setdefault(interface.netns, []).append(interface)
        return found

    def _add_route(self, netns: str, own: list[Interface], plan: RoutePlan, where: str) -> None:
        options = dict(plan.options)
        dev = options.get("dev")
        via = options.get("via")
        names = self._references
        said = options.get("family") or names.family(plan.dst, via, options.get("src"))
        family = said if isinstance(said, int) else None
        dst = names.network(plan.dst, f"{where}.dst", family)
        if isinstance(via, str):
            options["via"] = self._via(own, via, f"{where}.via", family or names.family(dst))
        try:
            route = Route.build(dst, **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except SpecError as problem:
            raise SpecError(f"{where}: {problem}") from None
        if route.dst == "default" and route.metric is None:
            self._note_default(netns, route.family, where)
        interface = self._way_out(own, route, dev, where)
        self.by_namespace.setdefault(netns, []).append(route)
        if interface is None or isinstance(interface.where, str):
            self.elsewhere.setdefault(netns, []).append(route)
        else:
            interface.routes += (route,)

    def _via(self, own: list[Interface], via: str, where: str, family: int | None) -> str:
        """The address of a gateway that is given by name, on a wire of this namespace."""
        named = [each for end in own for each in self._addresses_on(end.segment, via) or ()]
        of_family = [each for each in named if family in (None, each.version)]
        found = of_family or named or [self._references.host(via, where)]
        if any(found[0].packed == each.packed for end in own for each in end.addresses):
            raise SpecError(f"{where}: {found[0].ip} is its own address: a gateway is at the other end")
        return str(found[0].ip)

    def _way_out(self, own: list[Interface], route: Route, dev: object, where: str) -> Interface | None:
        if dev is not None and dev != "lo":
            devices = {each.device: each for each in own}
            if dev not in devices:
                raise SpecError(f"{where}.dev: {unknown(dev, devices, 'device of it')}")
            return devices[str(dev)]
        if route.via is None:
            return None
        for interface in own:
            if _is_near(Address(route.via.packed, 0), interface.addresses):
                return interface
        networks = [str(Subnet.of(address)) for each in own for address in each.addresses]
        raise SpecError(f"{where}.via: {route.via} is in no network of it: {', '.join(networks) or 'none'}")


def _where(given: Interface | str) -> str:
    """Where in the plan it stands: a route does so already, of an end it is put together when it is read."""
    return given if isinstance(given, str) else f"{given.path}.default_route"


def _first(addresses: Sequence[Address], version: int) -> Address | None:
    """The first of a family."""
    size = BYTES[version]
    for address in addresses:
        if len(address.packed) == size:
            return address
    return None


def _is_near(gateway: Address, own: Iterable[Address]) -> bool:
    number = int.from_bytes(gateway.packed, "big")
    for address in own:
        if len(address.packed) == len(gateway.packed):
            subnet = Subnet.of(address)
            if subnet.start <= number <= subnet.last:
                return True
    return False


def _check_near(gateway: Address, end: Interface) -> None:
    if not _is_near(gateway, end.addresses):
        networks = ", ".join([str(Subnet.of(address)) for address in end.addresses])
        raise SpecError(f"{_where(end)}: {gateway.ip} is in no network of it: {networks}")


def _shown(addresses: Sequence[Address]) -> str:
    return ", ".join([str(each.ip) for each in addresses]) or "no address"
