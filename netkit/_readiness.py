"""When a link can send, and when a new IPv6 address can be used and neighbours find it.

The kernel answers RTM_NEWADDR first and goes on later, on a work queue (addrconf_dad_work). There it
joins the address's solicited-node group: a solicitation that comes in between gets no answer, and its
sender asks again a second later; without the wait, every tenth pair began with that second. Then it
makes the local route, without which packets to the address are sent on. IPv4 has nothing of the kind.
"""

from __future__ import annotations

import os
from _socket import AF_INET6, inet_ntop, inet_pton
from time import monotonic

from netkit._netlink.link import IFF_UP, get_link, parse_link, touch_link
from netkit._netlink.link_message import IFF_LOOPBACK, IFF_NOARP
from netkit._runtime import Runtime
from netkit._spec.address import Address
from netkit.errors import KernelError, NotFoundError

_SOLICITED_NODE = inet_pton(AF_INET6, "ff02::1:ff00:0")[:13]
# Seconds. Usually it takes a fraction of one millisecond; but the work queue is the machine's, and so is the
# lock that it takes: others who delete thousands of links keep it waiting for seconds.
_PATIENCE = 60.0  # as for answers: what was not heard of by then is given up without a word


def settle_carrier(runtime: Runtime, index: int) -> None:
    """Let the kernel act on a link's carrier now."""
    try:
        runtime.sync_carrier(parse_link(runtime.route.get(get_link(index=index))).name)
    except (NotFoundError, OSError):
        return  # a kind without ETHTOOL_GLINK has no carrier to wait for


def wait_until_heard(runtime: Runtime, index: int, addresses: tuple[Address, ...]) -> None:
    """Return when the IPv6 addresses that were just added to a link can be used."""
    new = [address for address in addresses if address.version == 6]
    if not new:
        return
    deadline = monotonic() + _PATIENCE
    if _wait_for_groups(runtime, index, new, deadline):
        # From the join to the local route the kernel holds its lock: who has had it since can be sure.
        runtime.route.request(touch_link(index))


def _wait_for_groups(runtime: Runtime, index: int, addresses: list[Address], deadline: float) -> bool:
    from netkit._netlink.multicast import list_groups, parse_group

    wanted = {_solicited_node(address.packed) for address in addresses}
    first = True
    while True:
        try:
            wanted -= {parse_group(reply) for reply in runtime.route.dump(list_groups(index))}
        except KernelError:
            return False  # no such list here: nothing to go by
        if not wanted:
            return True
        flags = _flags(runtime, index) if first else 0
        if flags & (IFF_LOOPBACK | IFF_NOARP):  # it joins no such group
            if flags & IFF_UP:
                _wait_for_routes(runtime, index, addresses, deadline)
            return False
        if monotonic() > deadline:
            return False
        first = False
        os.sched_yield()


def _flags(runtime: Runtime, index: int) -> int:
    return parse_link(runtime.route.get(get_link(index))).flags


def _wait_for_routes(runtime: Runtime, index: int, addresses: list[Address], deadline: float) -> None:
    """On `lo` and its like the local routes are all there is to be seen."""
    from netkit._netlink.route import get_route, is_local

    for address in addresses:
        request = get_route(address.ip, oif=index)
        while monotonic() < deadline:
            try:
                if is_local(runtime.route.get(request)):
                    break
            except KernelError:
                pass  # no route at all yet
            os.sched_yield()


def _solicited_node(packed: bytes) -> str:
    """RFC 4291, 2.7.1: ff02::1:ffXX:XXXX with the last three bytes of the address."""
    return inet_ntop(AF_INET6, _SOLICITED_NODE + packed[-3:])
