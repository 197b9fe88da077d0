"""Published ports behind a firewall that drops what nobody accepts: named in an error, or opened."""

from __future__ import annotations

from netkit._nat.forward import OpenedForward, refuse_closed
from netkit._spec.addresses import address_of, ip_network
from netkit._spec.forward import forward_published, networks_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._nat.publish_devices import Connected, Where
    from netkit._nat.publish_look import Look
    from netkit._nat.publish_specs import Specs
    from netkit._spec.addresses import IPAddress, IPNetwork


def opened_for(
    ns: Namespace, opens: bool | None, specs: Specs, where: Where, look: Look | None = None
) -> OpenedForward | None:
    """What lets packets to these targets pass, to be created; None where that is not asked for.

    ``opens`` None: StateError if a chain drops them. What the host alone may ask for is not forwarded.
    """
    if opens is False:
        return None
    targets = specs.forwarded_targets()
    if not targets:
        return None
    if opens is None:
        versions = {4 if size == 4 else 6 for size in set(map(len, targets))}
        refuse_closed(ns, versions, "a published port", None if look is None else look.tables())
        return None
    return OpenedForward(
        ns, forward_published(networks_of([_place(each, where.of(each)) for each in targets]))
    )


def _place(target: bytes, where: Connected) -> tuple[IPAddress, IPNetwork]:
    """A target, and the network it is in."""
    return address_of(target), ip_network(f"{address_of(where.network)}/{where.prefixlen}")
