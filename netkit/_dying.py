"""Links that are about to go: the kernel deletes those of a namespace that has ended some time after its end.

A veth to it is there until then, with its name: when its process was killed, nobody else waits for that.
"""

from __future__ import annotations

import select
from errno import EINVAL
from time import monotonic

from netkit._netlink.link import get_link, get_link_in, parse_link
from netkit._netlink.transport import NETLINK_ROUTE, drain, subscribe
from netkit.errors import KernelError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._runtime import Runtime

_RTNLGRP_LINK = 1
_PATIENCE = 60.0  # seconds, for a work queue of the machine's: usually it is some hundredths of one


def await_dying(runtime: Runtime, name: str) -> None:
    """If the link of this name is a veth to a namespace that has ended, wait until it is gone."""
    if not _is_dying(runtime, name):
        return
    deadline = monotonic() + _PATIENCE
    monitor, buffer = runtime.opener.open_netlink(runtime.check(), NETLINK_ROUTE), bytearray(1 << 15)
    try:
        subscribe(monitor, (_RTNLGRP_LINK,))
        poll = select.poll()
        poll.register(monitor.fileno(), select.POLLIN)
        while _is_dying(runtime, name) and poll.poll(max(0.0, deadline - monotonic()) * 1000):
            drain(monitor, buffer)
    finally:
        monitor.close()


def _is_dying(runtime: Runtime, name: str) -> bool:
    try:
        record = parse_link(runtime.route.get(get_link(name=name)))
    except NotFoundError:
        return False
    nsid = record.link_netnsid
    if record.kind != "veth" or nsid is None:
        return False
    if nsid < 0:
        return True  # it has lost its id already
    try:
        runtime.route.get(get_link_in(nsid, record.link or 0))
    except KernelError as refusal:
        return refusal.errno == EINVAL
    return False
