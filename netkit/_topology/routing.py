"""Static routes by which everything reaches everything: the shortest way through the routers.

Every network is a bit. What a namespace reaches in one more step is what its neighbouring routers
reached in the step before, so one step for all networks is a handful of operations on integers. The
networks of one next hop are then joined to the fewest prefixes that are exactly them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from netkit._spec.routes import Route
from netkit._topology.subnets import Subnet, covering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from netkit._spec.address import Address
    from netkit._spec.routes import Destination
    from netkit._topology.interfaces import Interface, Segment

    Member = tuple[Interface, Address]


class _Hop:
    """A way out: a device, and the router behind it."""

    __slots__ = ("gateway", "interface", "networks", "router", "via")

    def __init__(self, interface: Interface, router: str, via: Address) -> None:
        self.interface = interface
        self.router = router
        self.via = via
        self.gateway = _gateway(via)
        self.networks = 0


class Routing:
    """The routes of one family; ``given`` are those that there are already, by namespace."""

    def __init__(
        self,
        version: int,
        segments: Iterable[Segment],
        routers: frozenset[str],
        given: Mapping[str, Sequence[Route]],
    ) -> None:
        self._version = version
        self._routers = routers
        of_family = [
            (netns, route) for netns, routes in given.items() for route in routes if route.family == version
        ]
        self._given = {(netns, route.dst) for netns, route in of_family}
        self._gateways = {
            netns: None if route.via is None else route.via.packed
            for netns, route in of_family
            if route.dst == "default" and route.type == "unicast"
        }
        members = _members(version, segments)
        self._networks = [subnet for subnet, _ in members]
        self._lasts = [subnet.last for subnet in self._networks]
        self._objects: dict[tuple[int, int], IPv4Network | IPv6Network] = {}
        self._apart = sum(
            [
                1 << bit
                for bit in range(1, len(members))
                if self._networks[bit].start > self._lasts[bit - 1] + 1
            ]
        )
        self._reached: dict[str, int] = {}
        self._hops: dict[str, dict[str, _Hop]] = {}
        for bit, (_, on_it) in enumerate(members):
            self._join(1 << bit, on_it)
        self._outside = 1 << len(members)  # stands for everything that is not in the plan
        for router in routers & self._gateways.keys():
            self._reached[router] = self._reached.get(router, 0) | self._outside

    def _join(self, bit: int, members: Sequence[Member]) -> None:
        """Those on a network reach it, and each router on it is a next hop of the others."""
        routers = [each for each in members if each[0].netns in self._routers]
        for interface, own in members:
            netns = interface.netns
            self._reached[netns] = self._reached.get(netns, 0) | bit
            for router, via in routers:
                if router.netns != netns and not self._is_outside_of(router.netns, netns, own):
                    hops = self._hops.setdefault(netns, {})
                    if router.netns not in hops:
                        hops[router.netns] = _Hop(interface, router.netns, via)

    def _is_outside_of(self, router: str, netns: str, own: Address) -> bool:
        """Whether a namespace stands for the world outside: it is a router's way there, and forwards
        nothing. The world knows no way in, which is why there is NAT."""
        return netns not in self._routers and self._gateways.get(router) == own.packed

    def run(self) -> None:
        """Add the routes to the interfaces that they lead out of."""
        self._search()
        for netns, hops in self._hops.items():
            if netns in self._routers:
                self._route_router(list(hops.values()))
            else:
                self._route_other(netns, list(hops.values()))

    def _search(self) -> None:
        """Step by step, what each learns that it did not know; of equal ways, the first in the plan."""
        numbers = {netns: number for number, netns in enumerate(self._reached)}
        searching = [
            (numbers[netns], [(numbers[hop.router], hop) for hop in hops.values()], netns in self._routers)
            for netns, hops in self._hops.items()
            if netns in self._routers or not self._has_one_way(netns, hops)
        ]
        # What is not known yet: to find what is new takes one operation.
        unknown = [~reached for reached in self._reached.values()]
        nothing = [0] * len(numbers)
        news = [reached if netns in self._routers else 0 for netns, reached in self._reached.items()]
        while searching and any(news):
            following = nothing.copy()
            for number, hops, forwards in searching:
                missing = before = unknown[number]
                for router, hop in hops:
                    new = news[router] & missing
                    if new:
                        hop.networks |= new
                        missing ^= new
                if missing != before:
                    unknown[number] = missing
                    if forwards:
                        following[number] = before ^ missing
            news = following

    def _has_one_way(self, netns: str, hops: Mapping[str, _Hop]) -> bool:
        """Whether all that is not here is behind the one router that is near: then nothing is to find."""
        (first, *others) = hops.values()
        return not others and self._gateways.get(netns, first.via.packed) == first.via.packed

    def _route_router(self, hops: list[_Hop]) -> None:
        """Exactly what is there: between two default routes a packet for nobody would go to and fro."""
        for hop in hops:
            if hop.networks & self._outside:
                self._add(hop, "default")
            self._add_networks(hop)

    def _route_other(self, netns: str, hops: list[_Hop]) -> None:
        """A default route by the router that leads outside, or to most; the rest exactly."""
        if netns in self._gateways:
            gateway = self._gateways[netns]
        else:
            best = max(hops, key=lambda hop: (hop.networks & self._outside, hop.networks.bit_count()))
            self._add(best, "default")
            gateway = best.via.packed
        for hop in hops:
            if hop.via.packed != gateway:
                self._add_networks(hop)

    def _add_networks(self, hop: _Hop) -> None:
        networks = hop.networks & ~self._outside
        while networks:
            first = (networks & -networks).bit_length() - 1
            ends = (~networks | self._apart) >> first + 1
            behind = first + (ends & -ends).bit_length()
            networks = networks >> behind << behind
            last = max(self._lasts[first:behind])
            for subnet in covering(self._version, self._networks[first].start, last):
                self._add(hop, self._network(subnet))

    def _add(self, hop: _Hop, dst: Destination) -> None:
        # What a user gave goes first.
        if not self._given or (hop.interface.netns, dst) not in self._given:
            hop.interface.routes += (Route(dst, self._version, via=hop.gateway, proto="netkit"),)

    def _network(self, subnet: Subnet) -> IPv4Network | IPv6Network:
        """The same object each time: a thousand routers have routes to it."""
        key = (subnet.start, subnet.prefixlen)
        found = self._objects.get(key)
        if found is None:
            kind = IPv4Network if self._version == 4 else IPv6Network
            found = self._objects[key] = kind(key)
        return found


def _members(version: int, segments: Iterable[Segment]) -> list[tuple[Subnet, list[Member]]]:
    """Each network in the order of its addresses, and who has which address in it."""
    size = 4 if version == 4 else 16
    found: dict[tuple[str, Subnet], tuple[Subnet, list[Member]]] = {}
    for segment in segments:
        for interface in segment.interfaces:
            for address in interface.addresses:
                if len(address.packed) == size:
                    subnet = Subnet.of(address)
                    found.setdefault((segment.where, subnet), (subnet, []))[1].append((interface, address))
    return sorted(found.values(), key=lambda each: (each[0].start, each[0].prefixlen))


def _gateway(via: Address) -> IPv4Address | IPv6Address:
    return IPv4Address(via.packed) if len(via.packed) == 4 else IPv6Address(via.packed)


def route_by(dst: Destination, via: Address) -> Route:
    """A route by a neighbour's address."""
    gateway = _gateway(via)
    return Route(dst, gateway.version, via=gateway, proto="netkit")
