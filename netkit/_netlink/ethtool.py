"""What an ioctl answers in a microsecond or two: a link's index, its name, and its carrier.

It works on any socket of the namespace, a netlink socket too (netdevice(7)).
"""

from __future__ import annotations

from fcntl import ioctl
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array

_SIOCGIFNAME = 0x8910
_SIOCGIFINDEX = 0x8933
_SIOCETHTOOL = 0x8946
_ETHTOOL_GLINK = 0x0A
_IFREQ = Struct("16sP16x")  # struct ifreq: the name, and a pointer to the command
_IFREQ_INDEX = Struct("16si20x")


def interface_index(descriptor: int, name: str) -> int:
    """The index of the link of this name; OSError ENODEV when there is none.

    Alternative names are found too, if they have at most 15 bytes. Unlike RTM_GETLINK this
    takes no lock (dev_get_by_name_rcu in net/core/dev_ioctl.c).
    """
    request = _IFREQ_INDEX.pack(name.encode(), 0)
    return int(_IFREQ_INDEX.unpack(ioctl(descriptor, _SIOCGIFINDEX, request))[1])


def interface_name(descriptor: int, index: int) -> str:
    """The name of the link of this index; OSError ENODEV when there is none."""
    answer = ioctl(descriptor, _SIOCGIFNAME, _IFREQ_INDEX.pack(b"", index))
    return answer.partition(b"\0")[0].decode("utf-8", "replace")


def sync_carrier(descriptor: int, name: str) -> None:
    """Let the kernel act on pending carrier changes of a link; OSError if it has no carrier.

    A veth whose second end comes up has carrier, but the kernel lets its first end send only
    once a deferred job has run (net/core/link_watch.c). ETHTOOL_GLINK runs that job for the
    one device (ethtool_op_get_link calls linkwatch_sync_dev), so no event need be waited for.
    """
    ioctl(descriptor, _SIOCETHTOOL, _IFREQ.pack(name.encode(), _command[0] if _command else _new_command()))


def _new_command() -> int:
    """The address of a struct ethtool_value: the number of the command, and the answer.

    It is one for all, for nobody reads the answer.
    """
    from array import array  # it imports collections

    value = array("I", [_ETHTOOL_GLINK, 0])
    _kept.append(value)
    _command.append(value.buffer_info()[0])
    return _command[0]


_command: list[int] = []
_kept: list[array[int]] = []
