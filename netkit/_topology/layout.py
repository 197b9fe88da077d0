"""A plan worked out to the last name, address and route.

Nothing is asked of the kernel. What can be wrong with a plan as a whole is found here, before anything
is made.
"""

from __future__ import annotations

from netkit._address import refuse_small_mtu
from netkit._system.sysctl import key_path
from netkit._topology.addressing import Addressing
from netkit._topology.gateways import GivenRoutes
from netkit._topology.interfaces import Wiring, home_of
from netkit._topology.naming import place, unknown
from netkit._topology.references import References
from netkit._topology.routing import Routing
from netkit._topology.rule_checks import NAT_KINDS
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Literal

    from netkit._spec.address import Address
    from netkit._spec.nat import NatSpec
    from netkit._spec.routes import Route
    from netkit._topology.interfaces import Interface
    from netkit._topology.plan import Plan
    from netkit._topology.subnets import Subnet
    from netkit._topology.values import NamespacePlan, NatPlan, Options

    Backend = Literal["nftables", "iptables"]
    Settings = dict[str, list[tuple[str, str]]]

_PER_DEVICE = ("conf", "neigh")


class Layout:
    """All that is to be made. Namespaces go by their names in the plan, a bridge's own one by ``/BRIDGE``."""

    def __init__(self, plan: Plan, occupied: Iterable[Subnet] = ()) -> None:
        namespaces = plan.namespaces
        self.namespaces = _registered(namespaces.values())
        for bridge in plan.bridges.values():
            self.namespaces.setdefault(home_of(bridge))
        routers = frozenset([name for name, each in namespaces.items() if each.forwarding])
        self._options = {name: each.options for name, each in plan.bridges.items()}
        self.wiring = Wiring(plan.bridges, plan.links)
        self.automatic = Addressing(self.wiring.segments, plan.subnet, routers).run(occupied)
        self.addresses = self._addresses(namespaces)
        self._refuse_small_mtus()
        self.subnets = {name: tuple(bridge.segment.subnets) for name, bridge in self.wiring.bridges.items()}
        references = References(self.addresses, self.subnets)
        given = GivenRoutes(self.wiring, references)
        given.add_routes(namespaces.values())
        given.add_defaults(self.wiring.cables)
        if plan.routing and routers:
            for version in (4, 6):
                Routing(version, self.wiring.segments, routers, given.by_namespace).run()
        self.routes = self._without_link(given.elsewhere)
        self.early, self.late = self._settings(namespaces)
        self.nat = self._nat(namespaces.values(), references)

    @property
    def has_ipv6(self) -> bool:
        """Whether anything in the plan is of IPv6: an address, a route, a sysctl."""
        addresses = any(each.version == 6 for some in self.addresses.values() for each in some)
        routes = any(route.family == 6 for some in self.routes.values() for route in some)
        settings = [path for some in (self.early, self.late) for pairs in some.values() for path, _ in pairs]
        return addresses or routes or any(path.startswith("net/ipv6/") for path in settings)

    def bridges(self) -> Iterator[tuple[str, Interface, Options]]:
        """Each bridge with its device and the keywords of `Bridge`."""
        for name, interface in self.wiring.bridges.items():
            yield name, interface, self._options[name]

    def forget_wiring(self) -> None:
        """Free what is not needed any more: of thousands of ends it takes as much as they themselves.

        Ends and wires lead to each other, and the garbage collector is paused while they are made.
        """
        for segment in self.wiring.segments:
            segment.interfaces.clear()
        del self.wiring

    def _refuse_small_mtus(self) -> None:
        for number, cable in enumerate(self.wiring.cables):
            if cable.plan.mtu is not None:
                for end in (cable.near, cable.far):
                    refuse_small_mtu(cable.plan.mtu, end.addresses, f"links[{number}].mtu")

    def _addresses(self, namespaces: Mapping[str, NamespacePlan]) -> dict[str, tuple[Address, ...]]:
        """By namespace, in the plan's order of links, bridges first; by bridge."""
        found: dict[str, tuple[Address, ...]] = dict.fromkeys(namespaces, ())
        for name, bridge in self.wiring.bridges.items():
            found[name] = bridge.addresses
            if bridge.netns in namespaces:
                found[bridge.netns] += bridge.addresses
        for cable in self.wiring.cables:
            ends = (cable.far,) if cable.master is not None else (cable.near, cable.far)
            for end in ends if cable.far_master is None else ():
                found[end.netns] += end.addresses
        return found

    def _without_link(self, elsewhere: Mapping[str, Sequence[Route]]) -> dict[str, list[Route]]:
        """Routes that are added when all links are there: those by a bridge's own device, and by none."""
        found = {netns: list(routes) for netns, routes in elsewhere.items()}
        for bridge in self.wiring.bridges.values():
            if bridge.routes:
                found.setdefault(bridge.netns, []).extend(bridge.routes)
        return found

    def _nat(
        self, namespaces: Iterable[NamespacePlan], references: References
    ) -> list[tuple[str, NatSpec, Backend | None]]:
        found: list[tuple[str, NatSpec, Backend | None]] = []
        with_rules = [each for each in namespaces if each.nat]
        devices_of = self._devices() if with_rules else {}
        for each in with_rules:
            devices = ["lo", *devices_of.get(each.name, ())]
            for number, rule in enumerate(each.nat):
                where = f"{place('namespaces', each.name)}.nat[{number}]"
                spec, backend = _nat_rule(rule, references, where)
                for word, match in (("iif", spec.iif), ("oif", spec.oif)):
                    if match is not None and match.value not in devices:
                        raise SpecError(f"{where}.{word}: {unknown(match.value, devices, 'device of it')}")
                found.append((each.name, spec, backend))
        return found

    def _devices(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        ends = [end for cable in self.wiring.cables for end in (cable.near, cable.far)]
        for each in (*self.wiring.bridges.values(), *ends):
            found.setdefault(each.netns, []).append(each.device)
        return found

    def _settings(self, namespaces: Mapping[str, NamespacePlan]) -> tuple[Settings, Settings]:
        """The sysctls, as paths: what can be written before the links are there, and those of devices."""
        early: Settings = {}
        late: Settings = {}
        for name, each in namespaces.items():
            if each.forwarding:
                early[name] = self._router_settings(name)
            for key, value in each.sysctls:
                path = key_path(key)
                words = path.split("/")
                own = len(words) > 3 and words[2] in _PER_DEVICE and words[3] not in ("all", "default", "lo")
                (late if own else early).setdefault(name, []).append((path, value))
        return early, late

    def _router_settings(self, name: str) -> list[tuple[str, str]]:
        """Forwarding for the families that it has.

        With several ways, answers come by another one than questions went: a new namespace takes the
        machine's rp_filter over, and what that is must not decide whether they arrive.
        """
        versions = {address.version for address in self.addresses[name]}
        settings: list[tuple[str, str]] = []
        if 4 in versions:
            settings += [
                ("net/ipv4/conf/all/forwarding", "1"),
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
            ]
        if 6 in versions:
            settings.append(("net/ipv6/conf/all/forwarding", "1"))
        return settings


def _registered(plans: Iterable[NamespacePlan]) -> dict[str, str | None]:
    """The names in /run/netns by those in the plan, each only once."""
    found: dict[str, str | None] = {}
    owners: dict[str, str] = {}
    for plan in plans:
        name = plan.named if isinstance(plan.named, str) else plan.name if plan.named else None
        found[plan.name] = name
        if name is not None and owners.setdefault(name, plan.name) != plan.name:
            raise SpecError(
                f"{place('namespaces', plan.name)}.named: {name!r} is what namespace "
                f"'{owners[name]}' is registered as"
            )
    return found


def _nat_rule(plan: NatPlan, references: References, where: str) -> tuple[NatSpec, Backend | None]:
    options = dict(plan.options)
    backend = options.pop("backend", None)
    family = options.get("family")
    addresses = ("saddr", "daddr", "to") if plan.kind in ("snat", "dnat") else ("saddr", "daddr")
    said = references.family(*[options.get(word) for word in addresses])
    chosen = family if isinstance(family, int) else said
    for word in ("saddr", "daddr"):
        value = options.get(word)
        if isinstance(value, str):
            options[word] = references.network(value, f"{where}.{word}", chosen)
    to = options.get("to")
    if isinstance(to, str) and plan.kind in ("snat", "dnat"):
        options["to"] = references.target(to, f"{where}.to", chosen)
    try:
        return NAT_KINDS[plan.kind](**options), backend  # type: ignore[return-value]
    except SpecError as problem:
        raise SpecError(f"{where}: {problem}") from None
