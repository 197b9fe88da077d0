"""What a plan says of one namespace, bridge, link, route or NAT rule: frozen values, checked already."""

from __future__ import annotations

from netkit._spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from netkit._spec.address import Address

    Addressing: TypeAlias = "tuple[Address, ...] | Literal['auto']"
    Option: TypeAlias = "str | int | float | bool"
    Options: TypeAlias = tuple[tuple[str, Option], ...]

_set = object.__setattr__


class RoutePlan(Value):
    """A route of a namespace; ``options`` are the keywords of `RouteTable.add`, ``via`` may be a name."""

    __slots__ = _fields = ("dst", "options")

    dst: str
    options: Options

    def __init__(self, dst: str, options: Options) -> None:
        _set(self, "dst", dst)
        _set(self, "options", options)


class NatPlan(Value):
    """A NAT rule of a namespace; ``options`` are the keywords of `NatRule`, and addresses may be names."""

    __slots__ = _fields = ("kind", "options")

    kind: str
    options: Options

    def __init__(self, kind: str, options: Options) -> None:
        _set(self, "kind", kind)
        _set(self, "options", options)


class NamespacePlan(Value):
    """A namespace of the plan.

    ``named`` is False (anonymous in the kernel), True (registered under its name in the plan) or the name
    to register. ``forwarding`` makes it a router. ``sysctls`` are pairs of key and value.
    """

    __slots__ = _fields = ("name", "named", "forwarding", "sysctls", "routes", "nat")

    name: str
    named: bool | str
    forwarding: bool
    sysctls: tuple[tuple[str, str], ...]
    routes: tuple[RoutePlan, ...]
    nat: tuple[NatPlan, ...]

    def __init__(
        self,
        name: str,
        named: bool | str = False,
        forwarding: bool = False,
        sysctls: tuple[tuple[str, str], ...] = (),
        routes: tuple[RoutePlan, ...] = (),
        nat: tuple[NatPlan, ...] = (),
    ) -> None:
        _set(self, "name", name)
        _set(self, "named", named)
        _set(self, "forwarding", forwarding)
        _set(self, "sysctls", sysctls)
        _set(self, "routes", routes)
        _set(self, "nat", nat)

    def _with(
        self,
        sysctls: tuple[tuple[str, str], ...] | None = None,
        routes: tuple[RoutePlan, ...] | None = None,
        nat: tuple[NatPlan, ...] | None = None,
    ) -> NamespacePlan:
        """The same with something else in it."""
        return NamespacePlan(
            self.name,
            self.named,
            self.forwarding,
            self.sysctls if sysctls is None else sysctls,
            self.routes if routes is None else routes,
            self.nat if nat is None else nat,
        )


class BridgePlan(Value):
    """A bridge of the plan.

    ``namespace`` is None for one in an anonymous namespace of its own. ``device`` is its name there, or
    None for one that is derived. ``address`` is ``"auto"`` (the first of its subnet) or what it is given.
    ``subnet`` is None for one from the topology's. ``options`` are the keywords of `Bridge`.
    """

    __slots__ = _fields = ("name", "namespace", "device", "address", "subnet", "options")

    name: str
    namespace: str | None
    device: str | None
    address: Addressing
    subnet: tuple[str, ...] | None
    options: Options

    def __init__(
        self,
        name: str,
        namespace: str | None = None,
        device: str | None = None,
        address: Addressing = (),
        subnet: tuple[str, ...] | None = None,
        options: Options = (),
    ) -> None:
        _set(self, "name", name)
        _set(self, "namespace", namespace)
        _set(self, "device", device)
        _set(self, "address", address)
        _set(self, "subnet", subnet)
        _set(self, "options", options)


class EndPlan(Value):
    """One end of a link: ``at`` is the name of a namespace or of a bridge.

    ``default_route`` is True (by the other end), or the name or address of the gateway.
    """

    __slots__ = _fields = ("at", "name", "address", "mac", "default_route")

    at: str
    name: str | None
    address: Addressing
    mac: str | None
    default_route: bool | str

    def __init__(
        self,
        at: str,
        name: str | None = None,
        address: Addressing = "auto",
        mac: str | None = None,
        default_route: bool | str = False,
    ) -> None:
        _set(self, "at", at)
        _set(self, "name", name)
        _set(self, "address", address)
        _set(self, "mac", mac)
        _set(self, "default_route", default_route)


class LinkPlan(Value):
    """A link of the plan: a veth whose ``ends`` are in namespaces, or ports of bridges."""

    __slots__ = _fields = ("ends", "subnet", "mtu", "queues")

    ends: tuple[EndPlan, EndPlan]
    subnet: tuple[str, ...] | None
    mtu: int | None
    queues: int

    def __init__(
        self,
        ends: tuple[EndPlan, EndPlan],
        subnet: tuple[str, ...] | None = None,
        mtu: int | None = None,
        queues: int = 1,
    ) -> None:
        _set(self, "ends", ends)
        _set(self, "subnet", subnet)
        _set(self, "mtu", mtu)
        _set(self, "queues", queues)
