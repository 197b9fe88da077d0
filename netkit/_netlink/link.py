"""Requests about links: create, change, read, delete (rtnetlink(7), RTM_NEWLINK and its kin).

Each function makes one message. ``operation`` is how an error calls what was asked; where it is
left out, the link is called by its index.
"""

from __future__ import annotations

from struct import Struct

from netkit._netlink.bridge import bridge, set_bridge
from netkit._netlink.link_message import (
    CREATE,
    IFF_UP,
    IFINFOMSG,
    IFLA_ADDRESS,
    IFLA_ALT_IFNAME,
    IFLA_EXT_MASK,
    IFLA_GROUP,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_NET_NS_FD,
    IFLA_PROP_LIST,
    IFLA_TARGET_NETNSID,
    RTEXT_FILTER_SKIP_STATS,
    RTM_DELLINK,
    RTM_DELLINKPROP,
    RTM_GETLINK,
    RTM_NEWLINK,
    RTM_NEWLINKPROP,
    RTM_SETLINK,
    link_request,
    mac_bytes,
    settings,
)
from netkit._netlink.link_policy import LINK_POLICY, VETH_INFO_PEER
from netkit._netlink.link_record import LinkRecord, LinkStats, parse_identity, parse_link
from netkit._netlink.wire import NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, Request, nested, text, u32
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.wire import Words

__all__ = [
    "IFF_UP",
    "LINK_POLICY",
    "RTM_DELLINK",
    "RTM_NEWLINK",
    "LinkRecord",
    "LinkStats",
    "add_alternative_name",
    "bridge",
    "delete_alternative_name",
    "delete_group",
    "delete_link",
    "get_link",
    "get_link_in",
    "list_links",
    "new_link",
    "parse_identity",
    "parse_link",
    "set_bridge",
    "set_group_alias",
    "set_link",
    "set_link_up",
    "touch_link",
    "veth",
]

# The counters of IPv6 are left out, a fifth of a message; those of the link come all the same.
_LESS = u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
_ANY_LINK = IFINFOMSG.pack(0, 0, 0, 0, 0) + _LESS
_VETH_KIND = text(IFLA_INFO_KIND, "veth")
# IFLA_LINKINFO with IFLA_INFO_KIND and IFLA_INFO_DATA, in that VETH_INFO_PEER, which begins with a header.
_VETH_INFO = Struct("=HH12sHHHH16s")
_MAC = Struct("=HH6sxx")

# -- reading -------------------------------------------------------------------


def get_link(index: int | None = None, name: str | None = None, *, operation: Words | None = None) -> Request:
    """Ask for one link, by index or by name (alternative names too); for ``socket.get``."""
    if index is not None:
        body = IFINFOMSG.pack(0, 0, index, 0, 0) + _LESS
        what = operation or ("read link ", index)
    elif name is not None:
        body = _ANY_LINK + _named(name)
        what = operation or ("find link '", name, "'")
    else:
        raise SpecError("get_link needs index= or name=")
    return Request(RTM_GETLINK, 0, body, what, LINK_POLICY, IFINFOMSG.size)


def get_link_in(nsid: int, index: int) -> Request:
    """Ask for a link of the namespace that has this id here: EINVAL if that is ending (Linux 4.20)."""
    body = IFINFOMSG.pack(0, 0, index, 0, 0) + _LESS + u32(IFLA_TARGET_NETNSID, nsid)
    return Request(RTM_GETLINK, 0, body, ("read link ", index), LINK_POLICY, IFINFOMSG.size)


def _named(name: str) -> bytes:
    # The kernel looks for IFLA_IFNAME among alternative names as well, but takes 15 bytes of it.
    return text(IFLA_IFNAME if len(name.encode()) <= 15 else IFLA_ALT_IFNAME, name)


def list_links(kind: str | None = None, master: int | None = None) -> Request:
    """Ask for all links, or those of a kind or with a master; for ``socket.dump``.

    A kernel that does not know the kind ignores the filter: compare ``.kind`` where that matters.
    """
    members = _LESS
    if master is not None:
        members += u32(IFLA_MASTER, master)
    if kind is not None:
        members += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind))
    return link_request(RTM_GETLINK, 0, "list links", members)


# -- creating -------------------------------------------------------------------


def veth(
    name: str,
    peer_name: str,
    *,
    index: int = 0,
    peer_index: int = 0,
    netns_fd: int | None = None,
    peer_netns_fd: int | None = None,
    mtu: int | None = None,
    peer_mtu: int | None = None,
    mac: str | None = None,
    peer_mac: str | None = None,
    group: int | None = None,
    peer_group: int | None = None,
    master: int | None = None,
    txqlen: int | None = None,
    peer_txqlen: int | None = None,
    queues: int | None = None,
    up: bool = False,
    operation: str | None = None,
) -> Request:
    """Create both ends of a veth, each in its place, in one message.

    Index 0 lets the kernel choose. ``up`` is for the near end only: with the far end up in the
    same message the kernel answers ENOTCONN. Twin: ``ip link add NAME type veth peer name PEER``.
    """
    peer = _veth_end(peer_name, peer_mac, peer_netns_fd, peer_mtu, peer_group, peer_txqlen, queues)
    near = _veth_end(name, mac, netns_fd, mtu, group, txqlen, queues)
    if master is not None:
        near += u32(IFLA_MASTER, master)
    size = IFINFOMSG.size + len(peer)
    info = _VETH_INFO.pack(
        size + 24, IFLA_LINKINFO | NLA_F_NESTED, _VETH_KIND,
        size + 8, IFLA_INFO_DATA | NLA_F_NESTED, size + 4, VETH_INFO_PEER,
        IFINFOMSG.pack(0, 0, peer_index, 0, 0),
    )  # fmt: skip
    what = operation or ("create veth '", name, "' with peer '", peer_name, "'")
    return link_request(RTM_NEWLINK, CREATE, what, near, info, peer, index=index, up=up or None)


def _veth_end(name: str, mac: str | None, netns_fd: int | None, *alike: int | None) -> bytes:
    """Its attributes: those of its own, and an MTU, group, queue length and number of queues."""
    own = text(IFLA_IFNAME, name)
    if mac is not None:
        own += _MAC.pack(10, IFLA_ADDRESS, mac_bytes(mac))
    if netns_fd is not None:
        own += u32(IFLA_NET_NS_FD, netns_fd)
    return own + (_alike.get(alike) or _remember_alike(*alike))


def _remember_alike(mtu: int | None, group: int | None, txqlen: int | None, queues: int | None) -> bytes:
    if len(_alike) >= _MOST_ALIKE:
        _alike.clear()
    found = settings(mtu=mtu, group=group, txqlen=txqlen, queues=queues)
    _alike[mtu, group, txqlen, queues] = found
    return found


# What thousands of ends have in common is encoded once.
_alike: dict[tuple[int | None, ...], bytes] = {}
_MOST_ALIKE = 4  # the ends of one scope are two or three kinds; a group is of one scope


def new_link(
    name: str,
    kind: str,
    data: bytes | None = None,
    *,
    index: int = 0,
    link: int | None = None,
    mtu: int | None = None,
    mac: str | None = None,
    group: int | None = None,
    master: int | None = None,
    txqlen: int | None = None,
    netns_fd: int | None = None,
    up: bool = False,
    operation: str | None = None,
) -> Request:
    """Create a link of any kind; ``data`` is the content of IFLA_INFO_DATA (see link_kinds.py).

    ``link`` is the index of the device it is put upon. Twin: ``ip link add NAME type KIND``.
    """
    common = settings(
        name=name,
        mtu=mtu,
        mac=mac,
        group=group,
        link=link,
        master=master,
        txqlen=txqlen,
        netns_fd=netns_fd,
    )
    parts = [text(IFLA_INFO_KIND, kind)]
    if data is not None:
        parts.append(nested(IFLA_INFO_DATA, data))
    what = operation or f"create {kind} '{name}'"
    info = nested(IFLA_LINKINFO, *parts)
    return link_request(RTM_NEWLINK, CREATE, what, common, info, index=index, up=up or None)


# -- changing -------------------------------------------------------------------


def set_link(
    index: int,
    *,
    up: bool | None = None,
    mtu: int | None = None,
    mac: str | None = None,
    alias: str | None = None,
    txqlen: int | None = None,
    group: int | None = None,
    name: str | None = None,
    master: int | None = None,
    netns_fd: int | None = None,
    operation: str | None = None,
) -> Request:
    """Change what is given. ``name`` renames, ``master`` 0 releases, ``netns_fd`` moves.

    Twin: ``ip link set dev NAME ...``.
    """
    members = settings(
        name=name,
        mtu=mtu,
        mac=mac,
        alias=alias,
        txqlen=txqlen,
        group=group,
        master=master,
        netns_fd=netns_fd,
    )
    what = operation or f"change link {index}"
    return link_request(RTM_NEWLINK, NLM_F_ACK, what, members, index=index, up=up)


def set_link_up(index: int, operation: Words) -> Request:
    """Set it up, and nothing else. Twin: ``ip link set dev NAME up``."""
    body = IFINFOMSG.pack(0, 0, index, IFF_UP, IFF_UP)
    return Request(RTM_NEWLINK, NLM_F_ACK, body, operation, LINK_POLICY, IFINFOMSG.size)


def touch_link(index: int) -> Request:
    """Change nothing of a link: but the answer comes when the kernel has had its lock (rtnl) for it."""
    return link_request(RTM_SETLINK, NLM_F_ACK, f"wait for link {index}", index=index)


def set_group_alias(group: int, alias: str, *, operation: str | None = None) -> Request:
    """Give all links of a group the same alias, in one message (group 0 is everybody's)."""
    members = settings(group=group, alias=alias)
    return link_request(RTM_NEWLINK, NLM_F_ACK, operation or f"tag the links of group {group}", members)


def add_alternative_name(index: int, name: str, *, operation: str | None = None) -> Request:
    """Give a link another name besides its own. Twin: ``ip link property add dev LINK altname NAME``."""
    members = nested(IFLA_PROP_LIST, text(IFLA_ALT_IFNAME, name))
    what = operation or f"add alternative name '{name}' to link {index}"
    return link_request(RTM_NEWLINKPROP, CREATE | NLM_F_APPEND, what, members, index=index)


def delete_alternative_name(index: int, name: str, *, operation: str | None = None) -> Request:
    """Take an alternative name away. Twin: ``ip link property del dev LINK altname NAME``."""
    members = nested(IFLA_PROP_LIST, text(IFLA_ALT_IFNAME, name))
    what = operation or f"delete alternative name '{name}' of link {index}"
    return link_request(RTM_DELLINKPROP, NLM_F_ACK, what, members, index=index)


# -- deleting -------------------------------------------------------------------


def delete_link(
    index: int | None = None, name: str | None = None, *, operation: str | None = None
) -> Request:
    """Delete a link; of a veth, both ends. Twin: ``ip link delete NAME``."""
    if index is None and name is None:
        raise SpecError("delete_link needs index= or name=")
    members = b"" if index is not None else _named(name or "")
    what = operation or (f"delete link '{name}'" if name is not None else f"delete link {index}")
    request = link_request(RTM_DELLINK, NLM_F_ACK, what, members, index=index or 0)
    request.deleting = True
    return request


def delete_group(group: int, *, operation: str | None = None) -> Request:
    """Delete all links of a group, which takes the kernel as long as one link does.

    Group 0 holds every link that nobody put elsewhere, and is refused here.
    """
    if not group:
        raise SpecError("group 0 is the group of all links: it is not deleted as a whole")
    what = operation or f"delete the links of group {group}"
    request = link_request(RTM_DELLINK, NLM_F_ACK, what, u32(IFLA_GROUP, group))
    request.deleting = True
    return request
