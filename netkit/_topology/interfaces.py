"""The devices of a plan: where each is, what it is called, and who is on one wire with whom."""

from __future__ import annotations

from netkit._spec.address import Address
from netkit._spec.routes import Route
from netkit._topology.devices import Devices
from netkit._topology.naming import place
from netkit._topology.subnets import Subnet
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from netkit._topology.values import Addressing, BridgePlan, EndPlan, LinkPlan

# BR_PORT_BITS of net/bridge/br_private.h: a port's number has ten bits, and 0 is none.
MOST_PORTS = 1023


class Interface:
    """A device that is to be made: the end of a link, or a bridge."""

    __slots__ = ("addresses", "device", "netns", "owner", "routes", "segment", "wanted", "where")

    segment: Segment  # of a bridge's port: none

    def __init__(
        self, netns: str, device: str | None, owner: str, wanted: Addressing, where: tuple[int, int] | str
    ) -> None:
        self.netns = netns
        self.device = device or ""
        self.owner = owner  # what people call it by: a namespace, or a bridge
        self.wanted = wanted
        self.where = where  # (link, end), or the bridge's name
        self.addresses: tuple[Address, ...] = () if wanted == "auto" else wanted
        self.routes: tuple[Route, ...] = ()

    @property
    def path(self) -> str:
        """Where it stands in the plan."""
        if isinstance(self.where, str):
            return place("bridges", self.where)
        return f"links[{self.where[0]}].ends[{self.where[1]}]"


class Cable:
    """A veth that is to be made; ``near`` is the port where one end is one."""

    __slots__ = ("far", "far_master", "master", "near", "plan", "swapped")

    def __init__(self, plan: LinkPlan, near: Interface, far: Interface) -> None:
        self.plan = plan
        self.near = near
        self.far = far
        self.master: str | None = None
        self.far_master: str | None = None
        self.swapped = False


class Segment:
    """What is on one wire: joined bridges and all that is linked to them, or a link between namespaces."""

    __slots__ = ("interfaces", "is_bridged", "subnet", "subnets", "where")

    def __init__(
        self, where: str, subnet: tuple[str, ...] | None, interfaces: list[Interface], is_bridged: bool
    ) -> None:
        self.where = where
        self.subnet = subnet
        self.interfaces: list[Interface] = []
        self.is_bridged = is_bridged
        self.subnets: list[Subnet] = []
        for interface in interfaces:
            self.add(interface)

    def add(self, interface: Interface) -> None:
        """Put a device on this wire."""
        self.interfaces.append(interface)
        interface.segment = self

    def bridge_addresses(self) -> tuple[Address, ...]:
        """Those of the first bridge that has any; bridges come first here."""
        for interface in self.interfaces:
            if not isinstance(interface.where, str) or interface.addresses:
                return interface.addresses if isinstance(interface.where, str) else ()
        return ()


class Wiring:
    """All interfaces of a plan, with their names, as cables and segments."""

    __slots__ = ("bridges", "cables", "segments")

    def __init__(self, bridges: Mapping[str, BridgePlan], links: Sequence[LinkPlan]) -> None:
        self.bridges = {
            name: Interface(home_of(plan), plan.device, name, plan.address, name)
            for name, plan in bridges.items()
        }
        self.cables = [self._cable(number, plan) for number, plan in enumerate(links)]
        self._refuse_crowds()
        Devices(self.bridges.values(), self.cables).name_all()
        self.segments = self._segments(bridges)

    def interfaces(self) -> Iterator[Interface]:
        """All that can have addresses: bridges, and ends in namespaces."""
        yield from self.bridges.values()
        for cable in self.cables:
            if cable.master is None:
                yield cable.near
            if cable.far_master is None:
                yield cable.far

    def _cable(self, number: int, plan: LinkPlan) -> Cable:
        one, other = plan.ends
        cable = Cable(plan, self._end(number, 0, one), self._end(number, 1, other))
        bridges = self.bridges
        if port_first(plan, bridges):
            cable.near, cable.far = cable.far, cable.near
            cable.swapped = True
            cable.master = other.at
        elif one.at in bridges:
            cable.master = one.at
            if other.at in bridges:
                cable.far_master = other.at
        return cable

    def _end(self, link: int, number: int, plan: EndPlan) -> Interface:
        bridge = self.bridges.get(plan.at)
        if bridge is None:
            return Interface(plan.at, plan.name, plan.at, plan.address, (link, number))
        return Interface(bridge.netns, plan.name, plan.at, (), (link, number))

    def _refuse_crowds(self) -> None:
        ports: dict[str, int] = {}
        for cable in self.cables:
            for bridge in (cable.master, cable.far_master):
                if bridge is not None:
                    ports[bridge] = ports.get(bridge, 0) + 1
        for bridge, count in ports.items():
            if count > MOST_PORTS:
                raise SpecError(
                    f"{place('bridges', bridge)}: {count} links, but a bridge takes {MOST_PORTS} ports; "
                    "link other bridges to it, as Topology.star() does"
                )

    def _segments(self, plans: Mapping[str, BridgePlan]) -> list[Segment]:
        joined = _Joined(plans)
        found: list[Segment] = []
        for number, cable in enumerate(self.cables):
            if cable.far_master is not None:
                joined.join(cable.master or "", cable.far_master, number)
        shared = {
            name: Segment(place("bridges", name), joined.subnet[name], [], True)
            for name in plans
            if joined.first_of(name) == name
        }
        for name, bridge in self.bridges.items():
            shared[joined.first_of(name)].add(bridge)
        found += shared.values()
        for number, cable in enumerate(self.cables):
            if cable.master is None:
                ends = [cable.near, cable.far]
                found.append(Segment(f"links[{number}]", cable.plan.subnet, ends, False))
            elif cable.far_master is None:
                shared[joined.first_of(cable.master)].add(cable.far)
        return found


def port_first(plan: LinkPlan, bridges: Container[str]) -> bool:
    """Whether the veth is made from the second end: a port is the near one, for it has a master."""
    one, other = plan.ends
    return other.at in bridges and one.at not in bridges


def home_of(plan: BridgePlan) -> str:
    """The key of the namespace that a bridge is in: one of its own has none that a user could write."""
    return plan.namespace if plan.namespace is not None else f"/{plan.name}"


class _Joined:
    """Which bridges are one network, for they are linked to each other."""

    def __init__(self, plans: Mapping[str, BridgePlan]) -> None:
        self._parent = {name: name for name in plans}
        self.subnet = {name: plan.subnet for name, plan in plans.items()}

    def first_of(self, name: str) -> str:
        parent = self._parent
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    def join(self, one: str, other: str, number: int) -> None:
        first, second = self.first_of(one), self.first_of(other)
        if first == second:
            return
        ours, theirs = self.subnet[first], self.subnet[second]
        if ours is not None and theirs is not None and ours != theirs:
            raise SpecError(
                f"links[{number}]: it makes one network of bridges '{first}' and '{second}', but their "
                f"subnets differ: {', '.join(ours)} and {', '.join(theirs)}; give one of them"
            )
        self._parent[second] = first
        self.subnet[first] = theirs if ours is None else ours
