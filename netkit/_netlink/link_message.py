"""What every message about a link is made of: numbers, header, and the attributes of any kind.

Source: rtnetlink(7), include/uapi/linux/if_link.h and if.h.
"""

from __future__ import annotations

from struct import Struct

from netkit._netlink.link_policy import IFINFOMSG_SIZE, LINK_POLICY
from netkit._netlink.wire import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Request, attribute, text, u32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.wire import Words

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_SETLINK = 19
RTM_NEWLINKPROP = 108
RTM_DELLINKPROP = 109

IFF_UP = 0x1
IFF_BROADCAST = 0x2
IFF_LOOPBACK = 0x8
IFF_POINTOPOINT = 0x10
IFF_RUNNING = 0x40
IFF_NOARP = 0x80
IFF_PROMISC = 0x100
IFF_ALLMULTI = 0x200
IFF_MULTICAST = 0x1000
IFF_LOWER_UP = 0x10000
IFF_DORMANT = 0x20000

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINK = 5
IFLA_MASTER = 10
IFLA_TXQLEN = 13
IFLA_LINKINFO = 18
IFLA_IFALIAS = 20
IFLA_GROUP = 27
IFLA_NET_NS_FD = 28
IFLA_EXT_MASK = 29
IFLA_NUM_TX_QUEUES = 31
IFLA_NUM_RX_QUEUES = 32
IFLA_TARGET_NETNSID = 46
IFLA_PROP_LIST = 52
IFLA_ALT_IFNAME = 53
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
RTEXT_FILTER_SKIP_STATS = 8

IFINFOMSG = Struct("=BxHiII")  # family, ARPHRD type, index, flags, change
CREATE = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK


def link_request(
    kind: int, flags: int, operation: Words, *members: bytes, index: int = 0, up: bool | None = None
) -> Request:
    """A message about one link: header and attributes. ``up`` None leaves IFF_UP alone."""
    change = 0 if up is None else IFF_UP
    body = IFINFOMSG.pack(0, 0, index, IFF_UP if up else 0, change) + b"".join(members)
    return Request(kind, flags, body, operation, LINK_POLICY, IFINFOMSG_SIZE)


def mac_bytes(mac: str) -> bytes:
    """The bytes of a link-layer address such as ``02:00:00:00:00:01``."""
    return bytes.fromhex(mac.replace(":", ""))


def settings(
    *,
    name: str | None = None,
    mtu: int | None = None,
    mac: str | None = None,
    alias: str | None = None,
    txqlen: int | None = None,
    group: int | None = None,
    link: int | None = None,
    master: int | None = None,
    netns_fd: int | None = None,
    queues: int | None = None,
) -> bytes:
    """The attributes that any kind of link has, for those that are given."""
    parts: list[bytes] = []
    if name is not None:
        parts.append(text(IFLA_IFNAME, name))
    if mac is not None:
        parts.append(attribute(IFLA_ADDRESS, mac_bytes(mac)))
    if alias is not None:
        # Without a NUL: an empty alias is what removes it.
        parts.append(attribute(IFLA_IFALIAS, alias.encode()))
    for kind, value in (
        (IFLA_MTU, mtu),
        (IFLA_TXQLEN, txqlen),
        (IFLA_GROUP, group),
        (IFLA_LINK, link),
        (IFLA_MASTER, master),
        (IFLA_NET_NS_FD, netns_fd),
        (IFLA_NUM_TX_QUEUES, queues),
        (IFLA_NUM_RX_QUEUES, queues),
    ):
        if value is not None:
            parts.append(u32(kind, value))
    return b"".join(parts)
