"""IP addresses and networks as users write them. mac is here too for those who look for it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from netkit._spec.address import Address as Address
from netkit._spec.address import plain, plain_address
from netkit._spec.mac import mac as mac
from netkit._spec.value import shown, type_of
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
    IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
    IPInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
    AddressLike: TypeAlias = str | int | IPAddress
    NetworkLike: TypeAlias = str | int | IPAddress | IPNetwork
    InterfaceLike: TypeAlias = str | IPInterface | Address

_ADDRESSES = (ipaddress.IPv4Address, ipaddress.IPv6Address)
_NETWORKS = (ipaddress.IPv4Network, ipaddress.IPv6Network)
_INTERFACES = (ipaddress.IPv4Interface, ipaddress.IPv6Interface)


_MOST = 8192


# The same few thousand networks and addresses are written and read again and again, and ipaddress takes
# its time.
@lru_cache(maxsize=_MOST)
def network_of(packed: bytes, prefixlen: int) -> IPNetwork:
    """The network of these 4 or 16 bytes; ValueError for host bits."""
    kind = ipaddress.IPv4Network if len(packed) == 4 else ipaddress.IPv6Network
    return kind((packed, prefixlen))


@lru_cache(maxsize=_MOST)
def address_of(packed: bytes) -> IPAddress:
    """The address of these 4 or 16 bytes."""
    return ipaddress.IPv4Address(packed) if len(packed) == 4 else ipaddress.IPv6Address(packed)


@lru_cache(maxsize=_MOST)
def _quick_network(text: str) -> IPNetwork | None:
    quick = plain(text)
    return None if quick is None else network_of(*quick)


@lru_cache(maxsize=_MOST)
def _quick_address(text: str) -> IPAddress | None:
    packed = plain_address(text)
    return None if packed is None else address_of(packed)


def quick_address(value: object) -> IPAddress | None:
    """The address of a host that a text says in its plain form; None for anything else."""
    return _quick_address(value) if type(value) is str else None


def ip_address(value: object, what: str = "address") -> IPAddress:
    """An address without prefix length, from a str, an int or an ipaddress object."""
    quick = quick_address(value)
    if quick is not None:
        return quick
    if isinstance(value, _INTERFACES + _NETWORKS + (Address,)):
        alone = value.network_address if isinstance(value, _NETWORKS) else value.ip
        raise SpecError(f"{what} '{value}' has a prefix length: write '{alone}'")
    if isinstance(value, _ADDRESSES):
        return _without_zone(value, what)
    given = _str_or_int(value, what, "an address")
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        raise SpecError(f"{what} {shown(value)} is no IP address{_address_hint(value)}") from None
    return _without_zone(address, what)


def _address_hint(value: object) -> str:
    if not isinstance(value, str):
        return ": an int is 0 to 2**128-1"
    try:
        return f": write '{ipaddress.ip_interface(value).ip}', without the prefix length"
    except ValueError:
        return _zero_hint(value)


def _prefix_hint(value: str) -> str:
    host, _, prefix = value.partition("/")
    if "," in value:
        return ": give several as a list"
    try:
        longest = ipaddress.ip_address(host).max_prefixlen
    except ValueError:
        return ""
    return f": a prefix length is 0 to {longest}" if prefix.removeprefix("-").isdecimal() else ""


def _zero_hint(value: str) -> str:
    # 010.0.0.1 is octal to inet_aton and decimal to others, so ipaddress refuses it.
    octets = value.partition("/")[0].split(".")
    if len(octets) == 4 and any(octet[:1] == "0" and len(octet) > 1 for octet in octets):
        return ": a leading zero is ambiguous, leave it out"
    return ""


def _str_or_int(value: object, what: str, wanted: str) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise SpecError(
            f"{what} {shown(value)} is {type_of(value)}: {wanted} is a str, an int or an ipaddress object"
        )
    return value


_OF_NO_DEVICE = ("to", "host_ip", "saddr", "daddr", "reply_saddr")  # of NAT: there is no dev= beside them


def _without_zone(address: IPAddress, what: str) -> IPAddress:
    zone = getattr(address, "scope_id", None)
    if zone is not None:
        alone = str(address).partition("%")[0]
        dev = "" if what in _OF_NO_DEVICE else f" and dev={zone!r}"
        raise SpecError(f"{what} '{address}' names a device: write '{alone}'{dev}")
    return address


def ip_network(value: object, what: str = "network") -> IPNetwork:
    """A network, from a str, an int or an ipaddress object; an address alone is a /32 or /128.

    Host bits are refused, as the kernel does ("Invalid prefix for given prefix length").
    """
    try:
        quick = _quick_network(value) if type(value) is str else None
    except ValueError:
        raise SpecError(_network_refusal(str(value), what)) from None
    if quick is not None:
        return quick
    if isinstance(value, _NETWORKS):
        _without_zone(value.network_address, what)
        return value
    if isinstance(value, Address):
        value = value.interface
    given = value if isinstance(value, _ADDRESSES) else _str_or_int(value, what, "a network")
    try:
        network = ipaddress.ip_network(given)
    except ValueError:
        raise SpecError(_network_refusal(given, what)) from None
    _without_zone(network.network_address, what)
    return network


def _network_refusal(value: str | int | IPAddress, what: str) -> str:
    try:
        right = ipaddress.ip_network(value, strict=False)
    except ValueError:
        hint = ": an int is 0 to 2**128-1"
        if isinstance(value, str):
            hint = _prefix_hint(value) or _zero_hint(value)
        return f"{what} {shown(value)} is no IP network{hint}"
    return f"{what} '{value}' has bits set behind its prefix length: write '{right}'"


def ip_interface(value: object, what: str = "address") -> IPInterface:
    """An address with its prefix length, from a str, an ipaddress interface or an Address."""
    if isinstance(value, Address):
        return value.interface
    interface = value if isinstance(value, _INTERFACES) else _parsed_interface(value, what)
    _without_zone(interface, what)
    kind = not_a_hosts(interface)
    if kind:
        raise SpecError(f"{what} '{interface}' is {kind}: no device can have it as its own")
    return interface


def not_a_hosts(address: IPAddress) -> str | None:
    """Why no host can have the address (it is unspecified or multicast), or None if one can."""
    number = int(address)
    if not number:
        return "the unspecified address"
    # 224.0.0.0/4 and ff00::/8, without building the network objects that is_multicast compares with.
    multicast = number >> 28 == 0xE if address.version == 4 else number >> 120 == 0xFF
    return "a multicast address" if multicast else None


def _parsed_interface(value: object, what: str) -> IPInterface:
    if isinstance(value, _NETWORKS):
        raise SpecError(f"{what} '{value}' is a network: give one address of it, such as '{_first(value)}'")
    if isinstance(value, str) and "/" in value:
        try:
            return ipaddress.ip_interface(value)
        except ValueError:
            hint = _prefix_hint(value) or _zero_hint(value)
            raise SpecError(f"{what} {shown(value)} is no IP address with a prefix length{hint}") from None
    address = ip_address(value, what)
    usual = 24 if address.version == 4 else 64
    raise SpecError(
        f"{what} {shown(value)} has no prefix length: write '{address}/{usual}' (with its network) "
        f"or '{address}/{address.max_prefixlen}' (the address alone)"
    )


def _first(network: IPNetwork) -> str:
    offset = 1 if network.num_addresses > 1 else 0
    return f"{network.network_address + offset}/{network.prefixlen}"


def one_or_many(
    value: InterfaceLike | Iterable[InterfaceLike] | None, what: str = "address"
) -> tuple[IPInterface, ...]:
    """The addresses of an ``address=`` parameter: None, one, or several of either family."""
    if value is None:
        return ()
    # A network is iterable too: 16 million addresses for a /8.
    single = (str, int, bytes, Address, *_ADDRESSES, *_NETWORKS)
    if isinstance(value, single) or not hasattr(type(value), "__iter__"):
        return (ip_interface(value, what),)
    found: list[IPInterface] = []
    for item in value:
        interface = ip_interface(item, what)
        if interface in found:
            raise SpecError(f"{what} '{interface}' is given twice")
        found.append(interface)
    return tuple(found)
