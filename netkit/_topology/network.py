"""Network: a topology that is built, by the names of its plan."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from errno import ENOENT

from netkit._lifecycle import Holder, Resource, Scope, Teardown, Undo, undo
from netkit._lifecycle.owned import NAMESPACES
from netkit._shown import Drawn
from netkit._spec.value import shown
from netkit._system.collector import collector_paused
from netkit._topology.building import Parts, layout_here
from netkit._topology.interfaces import port_first
from netkit._topology.naming import suggestion
from netkit.errors import NotFoundError, SpecError, StateError, TeardownError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, ValuesView
    from typing import Literal, TypeVar

    from netkit._bridge import Bridge
    from netkit._lifecycle import Owned
    from netkit._link import Link
    from netkit._namespace import Namespace
    from netkit._snapshot import Snapshot
    from netkit._spec.address import Address
    from netkit._topology.subnets import Subnet
    from netkit._topology.topology import Topology

    D = TypeVar("D")


class Network(Resource, Holder, Drawn):
    """A topology that is built. Made by ``with topology as net:`` or ``topology.create()``.

    It is a mapping of its namespaces by their names in the plan: ``net["box3"]``. Everything belongs to
    it: ``net.delete()``, or the end of the block, undoes all of it in bulk.

    Examples:
        >>> from netkit import Topology
        >>> with Topology.star(3, subnet="10.0.0.0/24") as net:
        ...     print(len(net), net.address("lan"), net.address("box3"))
        ...     print(net["box1"].ping(net.address("box3")).received)
        4 10.0.0.1 10.0.0.4
        1
    """

    _stage = NAMESPACES

    def __init__(self, topology: Topology) -> None:
        Resource.__init__(self)
        self._topology = copy(topology)  # what comes to the plan later is not in here
        self._parts: Parts | None = None
        self._addresses: dict[str, tuple[Address, ...]] = {}
        self._subnets: dict[str, tuple[Subnet, ...]] = {}
        self._scope: Scope | None = None

    # -- a mapping of the namespaces ----------------------------------------------

    def __getitem__(self, name: str) -> Namespace:
        namespaces = self._namespaces
        if name not in namespaces or name.startswith("/"):
            raise _not_found(name, self._topology.namespaces, "namespace")
        return namespaces[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._topology.namespaces)

    def __len__(self) -> int:
        return len(self._topology.namespaces)

    def __contains__(self, name: object) -> bool:
        return name in self._topology.namespaces

    def get(self, name: str, default: D | None = None) -> Namespace | D | None:
        """The namespace of this name, or the default. Twin: none."""
        return self[name] if name in self._topology.namespaces else default

    def keys(self) -> KeysView[str]:
        """The names of the namespaces. Twin: ``ip netns list``."""
        return self._by_name().keys()

    def values(self) -> ValuesView[Namespace]:
        """The namespaces. Twin: none."""
        return self._by_name().values()

    def items(self) -> ItemsView[str, Namespace]:
        """Names and namespaces. Twin: none."""
        return self._by_name().items()

    def _by_name(self) -> dict[str, Namespace]:
        return {name: self._namespaces[name] for name in self._topology.namespaces}

    # -- what is in it ------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        """The plan it was built from, as it was then."""
        return self._topology

    @property
    def bridges(self) -> Mapping[str, Bridge]:
        """The bridges, by name."""
        return _Named(self._live_parts().bridges, "bridge")

    def address(self, name: str, family: Literal[4, 6] | None = None) -> str:
        """The first address of a namespace or bridge, without its prefix length.

        A str, as sockets and commands take it. Raises NotFoundError when it has none of this family, or
        is not in the plan.

        Twin: ``ip -br address``.
        """
        for address in self.addresses(name):
            if family in (None, address.version):
                return str(address.ip)
        kind = "" if family is None else f" of IPv{family}"
        raise NotFoundError(f"find an address{kind} of '{name}': its links and bridges have none", ENOENT)

    def addresses(self, name: str) -> tuple[Address, ...]:
        """All addresses that a namespace or bridge was given: those of its bridges, then of its links.

        Twin: ``ip -br address``.
        """
        self._check_live()
        if name not in self._addresses:
            raise _not_found(name, self._addresses, "namespace or bridge")
        return self._addresses[name]

    def subnet(self, bridge: str, family: Literal[4, 6] | None = None) -> str:
        """The subnet of a bridge, as text: ``10.0.0.0/24``. Twin: ``ip route show``."""
        self._check_live()
        if bridge not in self._subnets:
            raise _not_found(bridge, self._subnets, "bridge")
        for subnet in self._subnets[bridge]:
            if family in (None, subnet.version):
                return str(subnet)
        raise NotFoundError(f"find the subnet of bridge '{bridge}': it has none", ENOENT)

    def link(self, name: str, peer: str) -> Link:
        """The device by which a namespace or bridge is linked to another: the end that is in ``name``.

        ``net.link("box1", "lan").down()`` unplugs it, ``.peer`` is the other end. Raises NotFoundError
        when there is no such link, SpecError when there are several.

        Twin: ``ip link show``.
        """
        found: list[Link] = []
        for plan, pair in zip(self._topology.links, self._live_parts().links, strict=True):
            ends = (plan.ends[0].at, plan.ends[1].at)
            if ends in ((name, peer), (peer, name)):
                near = ends[port_first(plan, self._topology.bridges)]
                found.append(pair.link if near == name else pair.peer)
        if len(found) == 1:
            return found[0]
        if found:
            devices = ", ".join([each._last_name for each in found])
            raise SpecError(
                f"'{name}' and '{peer}' have {len(found)} links ({devices}): name one, "
                f"net['{name}'].links['{found[0]._last_name}']"
            )
        raise NotFoundError(f"find a link of '{name}' with '{peer}'", ENOENT)

    def snapshot(self) -> dict[str, Snapshot]:
        """The snapshots of all namespaces, by name; two are equal when the configurations are. Twin: none."""
        from netkit._snapshot import take_snapshots

        return take_snapshots(self._by_name())

    # -- lifecycle ----------------------------------------------------------------

    def _create(self, undo: Undo) -> None:
        with collector_paused():
            self._create_parts(undo)

    def _create_parts(self, undo: Undo) -> None:
        layout = layout_here(self._topology)
        parts = Parts(layout)
        layout.forget_wiring()
        self._scope = scope = Scope()
        undo.add(self._take_back)
        self._hold(scope.__enter__())
        parts.own(scope, layout)
        self._parts, self._addresses, self._subnets = parts, layout.addresses, layout.subnets

    def _take_back(self) -> None:
        scope, self._scope = self._scope, None
        if scope is None:
            return
        problems = undo(scope._held_members())
        if problems:
            raise TeardownError("the network could not be taken back whole", problems)
        scope._close()

    def _remove(self, teardown: Teardown) -> None:
        """All that there is to remove are its members."""

    def _removed(self) -> None:
        super()._removed()
        scope, self._scope = self._scope, None
        if scope is not None and not scope._held:
            scope._close()

    def _members(self) -> list[Owned]:
        return [self, *self._held_members()]

    def _exists(self) -> bool:
        return all(namespace.exists for namespace in self._namespaces.values())

    def _check_detachable(self) -> None:
        """It outlives its process only if each of its namespaces has a name."""
        anonymous = [key for key, namespace in self._namespaces.items() if namespace.name is None]
        if anonymous:
            raise StateError(
                f"{self!r} can't outlive this process: "
                + ", ".join([key.lstrip("/") for key in anonymous[:4]])
                + " have no name in /run/netns; give the plan named=True"
            )

    def _adopt(self) -> None:
        raise StateError("a network is not adopted as a whole: adopt its namespaces")

    # -- inside -------------------------------------------------------------------

    @property
    def _namespaces(self) -> dict[str, Namespace]:
        return self._live_parts().namespaces

    def _live_parts(self) -> Parts:
        self._check_live()
        if self._parts is None:
            raise StateError(f"{self!r} is not built")
        return self._parts

    def __repr__(self) -> str:
        state = "" if self._state == "owned" else f" ({self._state})"
        return f"<Network {str(repr(self._topology))[1:-1].removeprefix('Topology ')}{state}>"


Mapping.register(Network)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]


class _Named(dict[str, "Bridge"]):
    """A dict whose missing keys are explained."""

    def __init__(self, values: Mapping[str, Bridge], wanted: str) -> None:
        super().__init__(values)
        self._wanted = wanted

    def __missing__(self, name: str) -> Bridge:
        raise _not_found(name, self, self._wanted)


def _not_found(name: object, known: Mapping[str, object], wanted: str) -> NotFoundError:
    hint = suggestion(name, known)
    return NotFoundError(f"find {wanted} {shown(name)}", ENOENT, hint=f"{hint[0].upper()}{hint[1:]}")
