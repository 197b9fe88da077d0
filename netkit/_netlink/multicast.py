"""The IPv6 multicast groups that a link has joined: RTM_GETMULTICAST (net/ipv6/addrconf.c)."""

from __future__ import annotations

from struct import Struct

from netkit._netlink.address import ADDRESS_POLICY
from netkit._netlink.policy import decode
from netkit._netlink.socket import Reply
from netkit._netlink.wire import Request

RTM_GETMULTICAST = 58
_AF_INET6 = 10
_HEADER = Struct("=BBBBI")  # struct ifaddrmsg, as for addresses


def list_groups(index: int) -> Request:
    """Ask for the IPv6 groups of one link; for ``socket.dump``. Twin: ``ip -6 maddress show``."""
    body = _HEADER.pack(_AF_INET6, 0, 0, 0, index)
    what = f"list the groups of link {index}"
    return Request(RTM_GETMULTICAST, 0, body, what, ADDRESS_POLICY, _HEADER.size)


def parse_group(reply: Reply) -> str | None:
    """The group's address, as text."""
    _, data, start, end = reply
    group = decode(ADDRESS_POLICY, data, start + _HEADER.size, end).get("IFA_MULTICAST")
    return None if group is None else str(group)
