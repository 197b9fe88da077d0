"""The plan itself: namespaces, bridges and the links between them, each by its name."""

from __future__ import annotations

from collections import ChainMap
from types import MappingProxyType

from netkit._shown import Drawn
from netkit._spec import names, numbers
from netkit._spec.addresses import mac as parse_mac
from netkit._topology import checks
from netkit._topology.naming import unknown
from netkit._topology.values import BridgePlan, EndPlan, LinkPlan, NamespacePlan
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Self

    from netkit._spec.addresses import AddressLike, InterfaceLike, NetworkLike
    from netkit._topology.network import Network

    Addresses = InterfaceLike | Iterable[InterfaceLike]
    Subnets = NetworkLike | Iterable[NetworkLike]


class Plan(Drawn):
    """What a topology consists of, and how it is written; `Topology` is the whole of it."""

    def __init__(
        self,
        *,
        subnet: Subnets | None = "auto",
        routing: bool = True,
    ) -> None:
        self._subnet = checks.pool(subnet)
        self._routing = numbers.boolean(routing, "routing")
        self._namespaces: dict[str, NamespacePlan] = {}
        self._bridges: dict[str, BridgePlan] = {}
        self._links: list[LinkPlan] = []
        self._entered: Network | None = None

    # -- reading ------------------------------------------------------------------

    @property
    def subnet(self) -> tuple[str, ...]:
        """Where subnets come from that are not given."""
        return self._subnet

    @property
    def routing(self) -> bool:
        """Whether static routes are worked out."""
        return self._routing

    @property
    def namespaces(self) -> Mapping[str, NamespacePlan]:
        """The namespaces, by name."""
        return MappingProxyType(self._namespaces)

    @property
    def bridges(self) -> Mapping[str, BridgePlan]:
        """The bridges, by name."""
        return MappingProxyType(self._bridges)

    @property
    def links(self) -> tuple[LinkPlan, ...]:
        """The links, in the order in which they were added."""
        return tuple(self._links)

    # -- writing ------------------------------------------------------------------

    def add_namespace(
        self,
        name: str,
        *,
        forwarding: bool = False,
        named: bool | str = False,
        sysctls: Mapping[str, str | int] | None = None,
    ) -> str:
        """Add a namespace; returns its name.

        ``forwarding`` makes it a router, for the families that it has addresses of. ``named`` registers it
        in /run/netns under its name in the plan, or under another. ``sysctls`` are written before its links
        are made, those of a device after. Twin: ``ip netns add``.
        """
        self._put_namespace(
            NamespacePlan(
                self._new_name(name, "namespace name"),
                checks.named(named),
                numbers.boolean(forwarding, "forwarding"),
                checks.sysctls(sysctls),
            )
        )
        return name

    def add_router(
        self,
        name: str,
        *,
        named: bool | str = False,
        sysctls: Mapping[str, str | int] | None = None,
    ) -> str:
        """Add a namespace that forwards: ``add_namespace(name, forwarding=True)``.

        Twin: ``ip netns add`` and ``sysctl -w net.ipv4.ip_forward=1``.
        """
        return self.add_namespace(name, forwarding=True, named=named, sysctls=sysctls)

    def add_bridge(
        self,
        name: str,
        namespace: str | None = None,
        *,
        device: str | None = None,
        address: Addresses | None = None,
        subnet: Subnets | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        stp: bool = False,
        forward_delay: float | None = None,
        hello_time: float | None = None,
        max_age: float | None = None,
        ageing_time: float | None = None,
        mcast_snooping: bool | None = None,
        vlan_filtering: bool | None = None,
    ) -> str:
        """Add a bridge, in a namespace of the plan or in one of its own; returns its name.

        ``device`` is what it is called in its namespace: as here, when left out. ``address="auto"`` gives
        it the first address of its subnet, for others to have their default route by. ``subnet`` is what
        the addresses of all that is linked to it are handed out from: a network, ``"auto"``, ``"auto6"``,
        or several. The other keywords are those of `Bridge`. Twin: ``ip link add NAME type bridge``.
        """
        options = {
            "mac": mac, "mtu": mtu, "stp": stp, "forward_delay": forward_delay, "hello_time": hello_time,
            "max_age": max_age, "ageing_time": ageing_time, "mcast_snooping": mcast_snooping,
            "vlan_filtering": vlan_filtering,
        }  # fmt: skip
        self._new_name(name, "bridge name")
        self._put_bridge(checks.bridge(name, namespace, device, address, subnet, options))
        return name

    def add_link(
        self,
        end: str,
        peer: str,
        *,
        name: str | None = None,
        peer_name: str | None = None,
        address: Addresses | None = "auto",
        peer_address: Addresses | None = "auto",
        subnet: Subnets | None = None,
        mtu: int | None = None,
        mac: str | None = None,
        peer_mac: str | None = None,
        queues: int = 1,
        default_route: AddressLike | bool = False,
        peer_default_route: AddressLike | bool = False,
    ) -> None:
        """Link two namespaces, a namespace and a bridge, or two bridges, by a veth.

        ``name`` and ``peer_name`` are the devices. ``address`` and ``peer_address`` are ``"auto"`` (handed
        out), one or several with prefix lengths, or None. ``subnet`` is for a link between namespaces; that
        of a bridge is given there. ``default_route=True`` gives ``end`` one default route per family by
        the other end, or by the bridge; a name or an address of the same wire is another gateway.
        The other keywords are those of `VethPair`. Twin: ``ip link add ... type veth peer ...``.
        """
        ends = (
            self._end(end, name, address, mac, default_route),
            self._end(peer, peer_name, peer_address, peer_mac, peer_default_route),
        )
        self._put_link(
            LinkPlan(
                ends,
                checks.link_subnet(subnet),
                None if mtu is None else numbers.mtu(mtu),
                checks.queues(queues),
            )
        )

    # -- inside -------------------------------------------------------------------

    def _known(self) -> Collection[str]:
        """The names of namespaces and bridges, without a copy of them."""
        return ChainMap[str, object](self._namespaces, self._bridges)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def _new_name(self, name: object, what: str) -> str:
        text = names.namespace_name(name, what)
        for kind, known in (("namespace", self._namespaces), ("bridge", self._bridges)):
            if text in known:
                raise SpecError(f"{what} {text!r} is taken: the plan has a {kind} of this name")
        return text

    def _namespace(self, name: object) -> NamespacePlan:
        if not isinstance(name, str) or name not in self._namespaces:
            raise SpecError(unknown(name, self._namespaces, "namespace of the plan"))
        return self._namespaces[name]

    def _end(self, at: object, name: object, address: object, mac: object, default_route: object) -> EndPlan:
        if not isinstance(at, str) or (at not in self._namespaces and at not in self._bridges):
            raise SpecError(unknown(at, self._known(), "namespace or bridge of the plan"))
        given = checks.addressing(address)
        gateway = checks.default_route(default_route)
        if at in self._bridges:
            if given not in ("auto", ()) or gateway is not False:
                raise SpecError(
                    f"the end at bridge '{at}' is a port, which has no address and no route: give the "
                    f"bridge one, add_bridge('{at}', address=...)"
                )
            given = ()
        return EndPlan(
            at,
            None if name is None else names.interface_name(name),
            given,
            None if mac is None else parse_mac(mac),
            gateway,
        )

    def _put_namespace(self, plan: NamespacePlan) -> None:
        self._namespaces[plan.name] = plan

    def _put_bridge(self, plan: BridgePlan) -> None:
        if plan.namespace is not None:
            self._namespace(plan.namespace)
        self._bridges[plan.name] = plan

    def _put_link(self, plan: LinkPlan) -> None:
        one, other = plan.ends
        if one.at == other.at:
            raise SpecError(f"a link from '{one.at}' to itself: a link joins two different ones")
        if plan.subnet is not None and (one.at in self._bridges or other.at in self._bridges):
            bridge = one.at if one.at in self._bridges else other.at
            raise SpecError(f"subnet= of a link to a bridge: add_bridge('{bridge}', subnet=...) gives it")
        self._links.append(plan)

    def __copy__(self) -> Self:
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._namespaces = dict(self._namespaces)
        copy._bridges = dict(self._bridges)
        copy._links = list(self._links)
        copy._entered = None
        return copy

    def __getstate__(self) -> dict[str, object]:
        """For pickle and deepcopy: the plan, not what is built of it."""
        return {**self.__dict__, "_entered": None}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return NotImplemented
        return self._parts() == other._parts()

    __hash__ = None  # type: ignore[assignment]

    def _parts(self) -> tuple[object, ...]:
        return self._subnet, self._routing, self._namespaces, self._bridges, self._links

    def __repr__(self) -> str:
        counts = ((self._namespaces, "namespace"), (self._bridges, "bridge"), (self._links, "link"))
        shown = [f"{len(of)} {word}{'' if len(of) == 1 else 's'}" for of, word in counts]
        return f"<Topology of {', '.join(shown)}>"
