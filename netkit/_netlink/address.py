"""Addresses of links: Address <-> RTM_NEWADDR (rtnetlink(7), include/uapi/linux/if_addr.h)."""

from __future__ import annotations

from struct import Struct

from netkit._netlink.layout import Field, Reader
from netkit._netlink.policy import Attribute, Policy, binary, ip, s32, text, u8, u32
from netkit._netlink.wire import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    attribute,
)
from netkit._netlink.wire import text as text_attribute
from netkit._netlink.wire import u8 as u8_attribute
from netkit._netlink.wire import u32 as u32_attribute
from netkit._spec.address import Address
from netkit._spec.names import NETKIT_PROTOCOL, scope_name, scope_number
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._netlink.socket import Reply
    from netkit._netlink.wire import Words
    from netkit._spec.addresses import IPInterface

RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22

IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_LABEL = 3
IFA_BROADCAST = 4
IFA_CACHEINFO = 6
IFA_FLAGS = 8
IFA_RT_PRIORITY = 9
IFA_PROTO = 11
IFA_F_NODAD = 0x02
IFA_F_NOPREFIXROUTE = 0x200

ADDRESS_POLICY: Policy = {
    1: Attribute("IFA_ADDRESS", ip),
    2: Attribute("IFA_LOCAL", ip),
    3: Attribute("IFA_LABEL", text),
    4: Attribute("IFA_BROADCAST", ip),
    5: Attribute("IFA_ANYCAST", ip),
    6: Attribute("IFA_CACHEINFO", binary),
    7: Attribute("IFA_MULTICAST", ip),
    8: Attribute("IFA_FLAGS", u32),
    9: Attribute("IFA_RT_PRIORITY", u32),
    10: Attribute("IFA_TARGET_NETNSID", s32),
    11: Attribute("IFA_PROTO", u8),
}

AF_INET = 2
AF_INET6 = 10
FAMILIES = {0: 0, 4: AF_INET, 6: AF_INET6}
_LENGTHS = {AF_INET: 4, AF_INET6: 16}

# As ip-address(8) calls them; bit 0 is "temporary" for IPv6.
_FLAG_NAMES = (
    "secondary",
    "nodad",
    "optimistic",
    "dadfailed",
    "homeaddress",
    "deprecated",
    "tentative",
    "permanent",
    "mngtmpaddr",
    "noprefixroute",
    "autojoin",
    "stable-privacy",
)

_HEADER = Struct("=BBBBI")  # family, prefix length, flags, scope, index of the link
_NEW = NLM_F_CREATE | NLM_F_ACK | NLM_F_EXCL
_CHANGE = NLM_F_CREATE | NLM_F_ACK | NLM_F_REPLACE
# In one go: IFA_LOCAL, IFA_ADDRESS and IFA_PROTO.
_PLAIN = Struct("=BBBBIHH4sHH4sHHBxxx")
_CACHEINFO = Struct("=IIII")  # preferred, valid, created, updated
_FOREVER = 0xFFFFFFFF


def add_plain(index: int, packed: bytes, prefixlen: int, operation: Words, replace: bool = False) -> Request:
    """`add_address` of an IPv4 address and nothing else, which most are."""
    body = _PLAIN.pack(
        AF_INET, prefixlen, 0, 254 if packed[0] == 127 else 0, index,  # the scope: see _scope
        8, IFA_LOCAL, packed, 8, IFA_ADDRESS, packed, 5, IFA_PROTO, NETKIT_PROTOCOL,
    )  # fmt: skip
    return Request(RTM_NEWADDR, _CHANGE if replace else _NEW, body, operation, ADDRESS_POLICY, _HEADER.size)


def add_address(
    index: int,
    address: Address | IPInterface,
    *,
    replace: bool = False,
    nodad: bool = True,
    noprefixroute: bool = False,
    label: str | None = None,
    scope: str | int | None = None,
    broadcast: bytes | str | None = None,
    peer: bytes | None = None,
    valid_lifetime: int | None = None,
    preferred_lifetime: int | None = None,
    metric: int | None = None,
    operation: Words | None = None,
) -> Request:
    """Add an address to the link of this index, or with ``replace`` change it.

    ``broadcast`` is four bytes, or ``"+"`` for the last address of the network; without it there
    is none, as with ip-address(8). Lifetimes are seconds, None for ever. ``nodad`` is for IPv6.
    """
    packed, prefixlen = _packed(address)
    what = operation or ("add address ", address, " to link ", index)
    more = noprefixroute or label or broadcast or peer or scope is not None or metric is not None
    if len(packed) == 4 and not more and valid_lifetime is None and preferred_lifetime is None:
        return add_plain(index, packed, prefixlen, what, replace)
    flags = (IFA_F_NODAD if nodad and len(packed) == 16 else 0) | (
        IFA_F_NOPREFIXROUTE if noprefixroute else 0
    )
    parts = [
        attribute(IFA_LOCAL, packed),
        attribute(IFA_ADDRESS, packed if peer is None else peer),
        u8_attribute(IFA_PROTO, NETKIT_PROTOCOL),
    ]
    if flags:
        parts.append(u32_attribute(IFA_FLAGS, flags))
    if broadcast == "+":
        broadcast = _last_address(packed, prefixlen)
    if isinstance(broadcast, bytes):
        parts.append(attribute(IFA_BROADCAST, broadcast))
    if label is not None:
        parts.append(text_attribute(IFA_LABEL, label))
    if metric is not None:
        parts.append(u32_attribute(IFA_RT_PRIORITY, metric))
    if valid_lifetime is not None or preferred_lifetime is not None:
        parts.append(_lifetimes(valid_lifetime, preferred_lifetime))
    family = AF_INET if len(packed) == 4 else AF_INET6
    header = _HEADER.pack(family, prefixlen, flags & 0xFF, _scope(scope, packed), index)
    how = _CHANGE if replace else _NEW
    return Request(RTM_NEWADDR, how, header + b"".join(parts), what, ADDRESS_POLICY, _HEADER.size)


def delete_address(index: int, address: Address | IPInterface, *, operation: Words | None = None) -> Request:
    """Take an address from the link of this index."""
    packed, prefixlen = _packed(address)
    peer = address.packed_peer if isinstance(address, Address) else None
    family = AF_INET if len(packed) == 4 else AF_INET6
    body = (
        _HEADER.pack(family, prefixlen, 0, 0, index)
        + attribute(IFA_LOCAL, packed)
        + attribute(IFA_ADDRESS, packed if peer is None else peer)
    )
    what = operation or ("delete address ", address, " of link ", index)
    return Request(RTM_DELADDR, NLM_F_ACK, body, what, ADDRESS_POLICY, _HEADER.size, deleting=True)


def get_address(index: int, address: Address) -> Request:
    """Ask for one IPv6 address of a link; for ``socket.get``. (Of IPv4 the kernel gives only lists.)"""
    body = _HEADER.pack(AF_INET6, 0, 0, 0, index) + attribute(IFA_ADDRESS, address.packed)
    what = ("read address ", address, " of link ", index)
    return Request(RTM_GETADDR, 0, body, what, ADDRESS_POLICY, _HEADER.size, deleting=True)


def list_addresses(family: int = 0, index: int | None = None) -> Request:
    """Ask for the addresses of a family (4, 6, or 0 for both), of one link or all; for ``socket.dump``."""
    body = _HEADER.pack(FAMILIES[family], 0, 0, 0, index or 0)
    what = "list addresses" if index is None else f"list the addresses of link {index}"
    return Request(RTM_GETADDR, 0, body, what, ADDRESS_POLICY, _HEADER.size)


def _packed(address: Address | IPInterface) -> tuple[bytes, int]:
    if isinstance(address, Address):
        return address.packed, address.prefixlen
    return address.packed, address.network.prefixlen


def _scope(scope: str | int | None, packed: bytes) -> int:
    if scope is not None:
        return scope_number(scope)
    # As ip-address(8): 127.0.0.0/8 is of scope host. The kernel itself finds the scope of an IPv6 address.
    return 254 if len(packed) == 4 and packed[0] == 127 else 0


def _last_address(packed: bytes, prefixlen: int) -> bytes | None:
    if len(packed) != 4 or prefixlen > 30:
        return None
    value = int.from_bytes(packed, "big") | ((1 << (32 - prefixlen)) - 1)
    return value.to_bytes(4, "big")


def _lifetimes(valid: int | None, preferred: int | None) -> bytes:
    lasting = _FOREVER if valid is None else valid
    # Nothing is preferred for longer than it is valid: the kernel would refuse it.
    fresh = lasting if preferred is None else preferred
    return attribute(IFA_CACHEINFO, _CACHEINFO.pack(fresh, lasting, 0, 0))


# -- reading -------------------------------------------------------------------


# Where the fields of an address stand in what the reader gives: those of struct ifaddrmsg, then these.
_ADDRESS, _LOCAL, _LABEL, _BROADCAST, _CACHEINFO_AT, _FLAGS = 5, 6, 7, 8, 9, 11
_SHAPE = {
    IFA_ADDRESS: Field(_ADDRESS),
    IFA_LOCAL: Field(_LOCAL),
    IFA_LABEL: Field(_LABEL),
    IFA_BROADCAST: Field(_BROADCAST),
    IFA_CACHEINFO: Field(_CACHEINFO_AT, "II"),
    IFA_FLAGS: Field(_FLAGS, "I"),
}
_READER = Reader("an address", _HEADER.format, _SHAPE, (None, None, None, None, _FOREVER, _FOREVER, None))


def parse_address(reply: Reply) -> tuple[int, Address]:
    """Read an RTM_NEWADDR: the index of its link, and the address. Raises ProtocolError."""
    _, data, start, end = reply
    family, prefixlen, low_flags, scope, index, address, local, label, broadcast, preferred, valid, flags = (
        _READER.read(data, start, end)
    )
    length = _LENGTHS.get(family)
    if length is None:
        raise ProtocolError(f"address family {family} is neither IPv4 nor IPv6")
    if local is None:
        local = address
    elif address is None:
        address = local
    if local is None or len(local) != length or len(address) != length:
        raise ProtocolError("an address without its bytes")
    if prefixlen > 8 * length:
        raise ProtocolError(f"an address with the prefix length {prefixlen}")
    scope_and_flags = scope, low_flags if flags is None else flags, family
    names = _names.get(scope_and_flags) or _remember_names(*scope_and_flags)
    return index, Address(
        local,
        prefixlen,
        names[0],
        None if label is None else label.rstrip(b"\0").decode("utf-8", "replace"),
        names[1],
        broadcast,
        None if address == local else address,
        None if preferred == _FOREVER else preferred,
        None if valid == _FOREVER else valid,
    )


def parse_addresses(replies: Iterable[Reply]) -> list[tuple[int, Address]]:
    """Read a dump, leaving out what is neither IPv4 nor IPv6."""
    return [parse_address(reply) for reply in replies if _family(reply) in _LENGTHS]


def _family(reply: Reply) -> int:
    _, data, start, end = reply
    return data[start] if end > start else 0


# Of scope, flags and family: the same few come again and again.
_names: dict[tuple[int, int, int], tuple[str, frozenset[str]]] = {}
_MOST_NAMES = 256


def _remember_names(scope: int, flags: int, family: int) -> tuple[str, frozenset[str]]:
    if len(_names) >= _MOST_NAMES:
        _names.clear()
    names = _names[scope, flags, family] = scope_name(scope), flag_names(flags, family)
    return names


def flag_names(flags: int, family: int) -> frozenset[str]:
    """The names of IFA_F_... bits, as ip-address(8) has them."""
    found = [name for bit, name in enumerate(_FLAG_NAMES) if flags >> bit & 1]
    if family == AF_INET6 and found[:1] == ["secondary"]:
        found[0] = "temporary"
    return frozenset(found)
