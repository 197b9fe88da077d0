"""From a layout to resources, in the order in which they are made."""

from __future__ import annotations

from netkit._bridge import Bridge
from netkit._end import End
from netkit._lifecycle import ROUTES, Resource, Teardown, Undo
from netkit._namespace import Namespace
from netkit._nat.rule import NatRule
from netkit._netlink.route import list_routes, parse_routes
from netkit._system import sysctl
from netkit._topology.layout import Layout
from netkit._topology.subnets import Subnet
from netkit._veth import VethPair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from netkit._lifecycle import Owned, Scope
    from netkit._spec.routes import Route
    from netkit._topology.interfaces import Cable, Interface
    from netkit._topology.plan import Plan


class Settings(Resource):
    """Sysctls of a namespace of ours, in one visit; they end with it."""

    _stage = ROUTES

    def __init__(self, netns: Namespace, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._netns = netns
        self._pairs = pairs

    def _create(self, undo: Undo) -> None:
        self._netns._live_runtime().inside(self._write)

    def _write(self) -> None:
        for path, text in self._pairs:
            sysctl.write(path, text)

    def _remove(self, teardown: Teardown) -> None:
        """They are the namespace's own."""

    def _exists(self) -> bool:
        return self._netns.exists

    def __repr__(self) -> str:
        return f"<{len(self._pairs)} sysctls in {self._netns._called()}>"


class Routes(Resource):
    """Routes of a namespace of ours that leave by no link of the plan; they end with it."""

    _stage = ROUTES

    def __init__(self, netns: Namespace, routes: Sequence[Route]) -> None:
        super().__init__()
        self._netns = netns
        self._routes = routes

    def _create(self, undo: Undo) -> None:
        table = self._netns.routes
        for route in self._routes:
            table.add(route)

    def _remove(self, teardown: Teardown) -> None:
        """They are the namespace's own."""

    def _exists(self) -> bool:
        return self._netns.exists

    def __repr__(self) -> str:
        return f"<{len(self._routes)} routes in {self._netns._called()}>"


class Parts:
    """The resources of a network, by what they are."""

    __slots__ = ("_joints", "bridges", "links", "namespaces")

    def __init__(self, layout: Layout) -> None:
        self.namespaces = {key: _namespace(key, name) for key, name in layout.namespaces.items()}
        detects = not layout.has_ipv6
        for namespace in self.namespaces.values():
            namespace._detects_duplicates = detects
        self.bridges = {
            name: _bridge(self.namespaces[each.netns], each, dict(each_options))
            for name, each, each_options in layout.bridges()
        }
        cables = layout.wiring.cables
        self.links = [self._link(cable) for cable in cables]
        self._joints = [
            (self.bridges[cable.far_master], pair)
            for pair, cable in zip(self.links, cables, strict=True)
            if cable.far_master is not None
        ]

    def _link(self, cable: Cable) -> VethPair:
        plan, swapped = cable.plan, cable.swapped
        return VethPair._of(
            self._end(cable.near, plan.mtu, plan.ends[swapped].mac),
            self._end(cable.far, plan.mtu, plan.ends[not swapped].mac),
            plan.queues,
            master=None if cable.master is None else self.bridges[cable.master],
        )

    def _end(self, plan: Interface, mtu: int | None, mac: str | None) -> End:
        end = End(self.namespaces[plan.netns], plan.device, plan.addresses, mtu, mac, None)
        end.routes = plan.routes
        return end

    def own(self, scope: Scope, layout: Layout) -> None:
        """Create everything together, owned by a scope."""
        namespaces = self.namespaces
        resources: list[Owned] = [Settings(namespaces[key], pairs) for key, pairs in layout.early.items()]
        resources += [*namespaces.values(), *self.bridges.values(), *self.links]
        resources += [Settings(namespaces[key], pairs) for key, pairs in layout.late.items()]
        resources += [Routes(namespaces[key], routes) for key, routes in layout.routes.items()]
        resources += [NatRule(namespaces[key], spec, backend) for key, spec, backend in layout.nat]
        scope._own_together(tuple(resources))
        for bridge, pair in self._joints:
            bridge.add_port(pair.peer)


def _namespace(key: str, registered: str | None) -> Namespace:
    namespace = Namespace(registered)
    if registered is None:
        namespace._label = f"namespace '{key}'" if key[0] != "/" else f"the namespace of bridge '{key[1:]}'"
    return namespace


def _bridge(netns: Namespace, interface: Interface, options: dict[str, object]) -> Bridge:
    bridge = Bridge(netns, interface.device, **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bridge._addresses = interface.addresses
    return bridge


def layout_here(plan: Plan) -> Layout:
    """The layout of a plan, whose automatic subnets are clear of the current namespace's routes.

    What is wrong with the plan is found before those are asked for.
    """
    layout = Layout(plan)
    if layout.automatic:
        routed = _routed_here()
        if any(block in each or each in block for block in layout.automatic for each in routed):
            return Layout(plan, routed)
    return layout


def _routed_here() -> list[Subnet]:
    """The networks that a route of the current namespace leads to, in any table."""
    with Namespace.current() as here:
        route = here._live_runtime().route
        found = parse_routes(route.dump(list_routes()), {})
    return [
        Subnet(route.family, int(route.dst.network_address), route.dst.prefixlen)
        for route in found
        if not isinstance(route.dst, str) and route.dst.prefixlen >= _NARROW[route.family]
    ]


# A wider route is as good as a default route: VPNs have 0.0.0.0/1 and 128.0.0.0/1 instead of one.
_NARROW = {4: 8, 6: 7}
