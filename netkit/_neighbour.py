"""The neighbours (ARP and NDP entries) of a namespace."""

from __future__ import annotations

from collections.abc import Iterator

from netkit._additions import Additions
from netkit._link import link_by_name, require_device
from netkit._links import read_links
from netkit._netlink.neighbour import (
    add_neighbour,
    delete_neighbour,
    list_neighbours,
    parse_neighbours,
    shown_neighbours,
)
from netkit._shown import Shown
from netkit._spec import names
from netkit._spec.mac import mac as parse_mac
from netkit._spec.neighbours import Neighbour, neighbour_address
from netkit._system.signals import held_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._runtime import Runtime
    from netkit._spec.addresses import AddressLike
    from netkit._spec.routes import DeviceLike


class Neighbours(Additions, Shown):
    """Who has which link-layer address: iterate, `add`, `replace`, `delete`.

    The kernel's own entries of multicast addresses (state ``noarp``) are left out, as ``ip`` does.

    In ``with ns.neighbours as neighbours:``, or owned by a Scope, it is a scope: what was added through it
    is deleted at the end (what `replace` changed stays as it is). Otherwise what is added stays.

    Twin: ``ip neighbour``. Source: arp(7), ip-neighbour(8). Changing needs CAP_NET_ADMIN.

    Examples:
        >>> from netkit import Namespace, VethPair
        >>> with Namespace() as a, Namespace() as b, VethPair(a, b, name="x", peer_name="y"):
        ...     _ = a.neighbours.add("10.0.0.2", mac="02:00:00:00:00:02", dev="x")
        ...     print(*a.neighbours)
        10.0.0.2 dev x lladdr 02:00:00:00:00:02 permanent
    """

    def __init__(self, netns: Namespace) -> None:
        self._netns = netns

    def _place(self) -> Runtime:
        return self._netns._live_runtime()

    def __iter__(self) -> Iterator[Neighbour]:
        called = {record.index: record.name for record in read_links(self._netns)}
        replies = shown_neighbours(self._netns._live_runtime().route.dump(list_neighbours()))
        return iter(parse_neighbours(replies, lambda index: called.get(index, f"if{index}")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, address: AddressLike, *, mac: str, dev: DeviceLike) -> Neighbour:
        """Add a permanent entry. Twin: ``ip neighbour add ADDRESS lladdr MAC dev DEV``.

        Raises SpecError for a bad value, NotFoundError for an unknown device, ExistsError when there is an
        entry of this address.
        """
        return self._send(address, mac, dev, replace=False)

    def replace(self, address: AddressLike, *, mac: str, dev: DeviceLike) -> Neighbour:
        """Add or change a permanent entry. Twin: ``ip neighbour replace``. Raises what `add` does, but
        ExistsError."""
        return self._send(address, mac, dev, replace=True)

    def delete(self, address: AddressLike, *, dev: DeviceLike) -> None:
        """Delete an entry. Twin: ``ip neighbour del``. Raises NotFoundError when there is none."""
        require_device(dev, self._netns)
        name = names.device(dev)
        index = link_by_name(self._netns, name).ifindex
        value = neighbour_address(address)
        operation = f"delete neighbour {value} of link '{name}'"
        request = delete_neighbour(index, value, operation=operation)
        with held_signals():
            self._netns._live_runtime().route.request(request)
            self._forget((index, value))

    def _send(self, address: AddressLike, mac: str, dev: DeviceLike, replace: bool) -> Neighbour:
        value = neighbour_address(address)
        lladdr = parse_mac(mac)
        require_device(dev, self._netns)
        name = names.device(dev)
        index = link_by_name(self._netns, name).ifindex
        operation = f"{'replace' if replace else 'add'} neighbour {value} on link '{name}'"
        request = add_neighbour(index, value, lladdr, replace=replace, operation=operation)
        if replace:
            self._netns._live_runtime().route.request(request)
        else:
            self._add((index, value), request, delete_neighbour(index, value))
        return Neighbour(value, lladdr, name, "permanent")

    def __repr__(self) -> str:
        return f"<Neighbours of {self._netns._called()}>"
