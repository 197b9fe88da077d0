"""Namespace ids: how a link says in which namespace its peer is (rtnetlink(7), RTM_GETNSID)."""

from __future__ import annotations

from struct import Struct

from netkit._netlink.policy import Attribute, Policy, decode, s32
from netkit._netlink.socket import Reply
from netkit._netlink.wire import Request, u32

RTM_GETNSID = 90
NETNSA_FD = 3
NSID_POLICY: Policy = {
    1: Attribute("NETNSA_NSID", s32),
    2: Attribute("NETNSA_PID", s32),
    3: Attribute("NETNSA_FD", s32),
    4: Attribute("NETNSA_TARGET_NSID", s32),
    5: Attribute("NETNSA_CURRENT_NSID", s32),
}
_RTGENMSG = Struct("=Bxxx")


def get_nsid(descriptor: int) -> Request:
    """Ask by which id the socket's namespace knows another one, given by a descriptor."""
    body = _RTGENMSG.pack(0) + u32(NETNSA_FD, descriptor)
    return Request(RTM_GETNSID, 0, body, "look up a namespace id", NSID_POLICY, _RTGENMSG.size)


def parse_nsid(reply: Reply) -> int | None:
    """The id, or None when the namespace has none here."""
    _, data, start, end = reply
    value = decode(NSID_POLICY, data, start + _RTGENMSG.size, end).get("NETNSA_NSID")
    return value if isinstance(value, int) and value >= 0 else None
