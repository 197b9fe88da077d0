"""Neighbours: Neighbour <-> RTM_NEWNEIGH (ip-neighbour(8), include/uapi/linux/neighbour.h)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from struct import Struct, error

from netkit._netlink.policy import Attribute, Policy, binary, ip, s32, u8, u16, u32
from netkit._netlink.policy import mac as lladdr_text
from netkit._netlink.route_record import device_name, ip_version
from netkit._netlink.wire import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    attribute,
    attributes,
)
from netkit._netlink.wire import u8 as u8_attribute
from netkit._netlink.wire import u32 as u32_attribute
from netkit._spec.names import NETKIT_PROTOCOL
from netkit._spec.neighbours import FLAGS, STATE_NAMES, STATES, Neighbour
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.route_record import Names
    from netkit._netlink.socket import Reply
    from netkit._spec.addresses import IPAddress

RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30

NDA_DST = 1
NDA_LLADDR = 2
NDA_VLAN = 5
NDA_IFINDEX = 8
NDA_MASTER = 9
NDA_PROTOCOL = 12

NTF_SELF = 0x02
NTF_MASTER = 0x04
NTF_PROXY = 0x08

NEIGHBOUR_POLICY: Policy = {
    1: Attribute("NDA_DST", ip),
    2: Attribute("NDA_LLADDR", lladdr_text),
    3: Attribute("NDA_CACHEINFO", binary),
    4: Attribute("NDA_PROBES", u32),
    5: Attribute("NDA_VLAN", u16),
    6: Attribute("NDA_PORT", binary),
    7: Attribute("NDA_VNI", u32),
    8: Attribute("NDA_IFINDEX", u32),
    9: Attribute("NDA_MASTER", u32),
    10: Attribute("NDA_LINK_NETNSID", s32),
    11: Attribute("NDA_SRC_VNI", u32),
    12: Attribute("NDA_PROTOCOL", u8),
    13: Attribute("NDA_NH_ID", u32),
    14: Attribute("NDA_FDB_EXT_ATTRS", binary),
    15: Attribute("NDA_FLAGS_EXT", u32),
    16: Attribute("NDA_NDM_STATE_MASK", u16),
    17: Attribute("NDA_NDM_FLAGS_MASK", u8),
}

NDMSG = Struct("=BxxxiHBB")  # family, index of the link, state, flags, type
_AF = {0: 0, 4: 2, 6: 10}
_FAMILIES = (2, 10)  # AF_INET, AF_INET6


def add_neighbour(
    index: int,
    address: IPAddress,
    mac: str | None,
    *,
    state: str = "permanent",
    replace: bool = False,
    proxy: bool = False,
    operation: str | None = None,
) -> Request:
    """Add an entry, or with ``replace`` change it. Twins: ``ip neighbour add`` and ``replace``."""
    parts = [attribute(NDA_DST, address.packed), u8_attribute(NDA_PROTOCOL, NETKIT_PROTOCOL)]
    if mac is not None:
        parts.append(attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", ""))))
    flags = NTF_PROXY if proxy else 0
    header = NDMSG.pack(_AF[address.version], index, STATES[state], flags, 0)
    how = NLM_F_ACK | NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    what = operation or f"add neighbour {address} to link {index}"
    return Request(RTM_NEWNEIGH, how, header + b"".join(parts), what, NEIGHBOUR_POLICY, NDMSG.size)


def delete_neighbour(
    index: int, address: IPAddress, *, proxy: bool = False, operation: str | None = None
) -> Request:
    """Delete an entry. Twin: ``ip neighbour del``."""
    header = NDMSG.pack(_AF[address.version], index, 0, NTF_PROXY if proxy else 0, 0)
    body = header + attribute(NDA_DST, address.packed)
    what = operation or f"delete neighbour {address} of link {index}"
    return Request(RTM_DELNEIGH, NLM_F_ACK, body, what, NEIGHBOUR_POLICY, NDMSG.size, deleting=True)


def list_neighbours(family: int = 0, index: int | None = None) -> Request:
    """Ask for the entries of a family (4, 6, or 0 for both), of one link or all; for ``socket.dump``.

    Entries of state ``noarp``, which ip-neighbour(8) hides, come too.
    """
    members = b"" if index is None else u32_attribute(NDA_IFINDEX, index)
    body = NDMSG.pack(_AF[family], 0, 0, 0, 0) + members
    return Request(RTM_GETNEIGH, 0, body, "list neighbours", NEIGHBOUR_POLICY, NDMSG.size)


# -- reading -------------------------------------------------------------------


def shown_neighbours(replies: Iterable[Reply]) -> list[Reply]:
    """Those that ip-neighbour(8) shows: without the entries of state noarp, which no address is asked for by
    (multicast, lo), and none."""
    hidden = (STATES["none"], STATES["noarp"])
    return [
        (kind, data, start, end)
        for kind, data, start, end in replies
        if end - start < NDMSG.size or NDMSG.unpack_from(data, start)[2] not in hidden
    ]


def parse_neighbour(reply: Reply, names: Names) -> Neighbour:
    """Read an RTM_NEWNEIGH; ``names`` are the devices' names by index. Raises ProtocolError."""
    _, data, start, end = reply
    try:
        return _neighbour(bytes(data[start:end]), names)
    except (error, KeyError, ValueError) as problem:
        raise ProtocolError(f"a malformed neighbour: {problem!r}") from problem


def parse_neighbours(replies: Iterable[Reply], names: Names) -> list[Neighbour]:
    """Read a dump, leaving out what is neither IPv4 nor IPv6."""
    wanted = [reply for reply in replies if reply[3] > reply[2] and reply[1][reply[2]] in _FAMILIES]
    return [parse_neighbour(reply, names) for reply in wanted]


def _neighbour(message: bytes, names: Names) -> Neighbour:
    family, index, state, flags, _ = NDMSG.unpack_from(message)
    found = attributes(message, NDMSG.size, len(message))
    payloads = {number: message[begin:stop] for number, begin, stop in found}
    packed, lladdr = payloads[NDA_DST], payloads.get(NDA_LLADDR)
    if len(packed) != (4 if ip_version(family) == 4 else 16):
        raise ProtocolError(f"a neighbour's address has {len(packed)} bytes")
    return Neighbour(
        ipaddress.ip_address(packed),
        lladdr.hex(":") if lladdr else None,
        device_name(names, index),
        STATE_NAMES.get(state) or str(state),
        flag_names(flags),
    )


def flag_names(flags: int) -> frozenset[str]:
    """The names of NTF_... bits."""
    return frozenset([name for name, bit in FLAGS.items() if flags & bit])
