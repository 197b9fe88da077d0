"""Published ports behind a firewall that drops what nobody accepts: named in an error, or opened."""

from __future__ import annotations

from netkit._nat.forward import OpenedForward, refuse_closed
from netkit._spec.addresses import address_of, ip_network
from netkit._spec.forward import forward_published, networks_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from netkit._namespace import Namespace
    from netkit._nat.publish_devices import Connected


def opened_for(ns: Namespace, opens: bool | None, where: Mapping[bytes, Connected]) -> OpenedForward | None:
    """What lets packets to these targets pass, to be created; None where that is not asked for.

    ``opens`` None: StateError if a chain drops them.
    """
    if opens is False or not where:
        return None
    if opens is None:
        refuse_closed(ns, {4 if len(target) == 4 else 6 for target in where}, "a published port")
        return None
    targets = [
        (address_of(target), ip_network(f"{address_of(each.network)}/{each.prefixlen}"))
        for target, each in where.items()
    ]
    return OpenedForward(ns, forward_published(networks_of(targets)))
