"""Ask a driver for its carrier, which makes the kernel act on a carrier change at once.

A veth whose second end comes up has carrier, but the kernel lets its first end send only
once a deferred job has run (net/core/link_watch.c). ETHTOOL_GLINK runs that job for the
one device (ethtool_op_get_link calls linkwatch_sync_dev), so no event need be waited for.
The ioctl works on any socket of the namespace, a netlink socket too.
"""

from __future__ import annotations

from array import array
from fcntl import ioctl
from struct import Struct

_SIOCETHTOOL = 0x8946
_ETHTOOL_GLINK = 0x0A
_IFREQ = Struct("16sP16x")  # struct ifreq: the name, and a pointer to the command


def sync_carrier(descriptor: int, name: str) -> bool:
    """Whether the link has carrier; pending carrier changes have been acted on afterwards."""
    command = array("I", [_ETHTOOL_GLINK, 0])
    address, _ = command.buffer_info()
    ioctl(descriptor, _SIOCETHTOOL, _IFREQ.pack(name.encode(), address))
    return bool(command[1])
