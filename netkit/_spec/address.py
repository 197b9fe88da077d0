"""One address of a device, as the kernel reports it."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from netkit._spec.value import Value, become, fill, shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    from typing import Literal

_ZEROS = bytes(10)
_NO_FLAGS: frozenset[str] = frozenset()
_PREFIXES = {str(number): number for number in range(129)}


class _AddressFields:
    __slots__ = (  # noqa: RUF023  in the order in which they are shown
        "packed",
        "prefixlen",
        "scope",
        "label",
        "flags",
        "packed_broadcast",
        "packed_peer",
        "preferred_lifetime",
        "valid_lifetime",
    )

    packed: bytes
    prefixlen: int
    scope: str
    label: str | None
    flags: frozenset[str]
    packed_broadcast: bytes | None
    packed_peer: bytes | None
    preferred_lifetime: int | None
    valid_lifetime: int | None


class Address(_AddressFields, Value):
    """An address with its prefix length on a device, such as ``10.0.0.1/24``; frozen.

    Equal to its text, to the same ``ipaddress.ip_interface`` and to another Address with the same
    address and prefix length; scope, label, flags and lifetimes do not count. It hashes as its text
    does, so it can be looked up in a set of texts (not in a set of ``ipaddress`` objects).

    ``packed`` is the address in network byte order, 4 or 16 bytes; ``broadcast`` and ``peer`` too.
    Use ``Address.parse("10.0.0.1/24")`` for text. Twin: one line of ``ip address show``.

    Examples:
        >>> from netkit._spec.address import Address
        >>> address = Address.parse("10.0.0.1/24")
        >>> address == "10.0.0.1/24", address.prefixlen, str(address.ip)
        (True, 24, '10.0.0.1')
    """

    __slots__ = ()
    _fields = _AddressFields.__slots__
    _compared = ("packed", "prefixlen")

    # Dumps make thousands of these: bytes are kept, and ipaddress objects are made (and ipaddress, which
    # takes as long to load as a third of netkit, is imported) when asked for.
    def __init__(
        self,
        packed: bytes,
        prefixlen: int,
        scope: str = "global",
        label: str | None = None,
        flags: frozenset[str] = _NO_FLAGS,
        broadcast: bytes | None = None,
        peer: bytes | None = None,
        preferred_lifetime: int | None = None,
        valid_lifetime: int | None = None,
    ) -> None:
        usual = self.__class__ is Address
        into: _AddressFields = self
        if usual:
            become(self, _AddressFields)
        else:
            into = _AddressFields()
        into.packed = packed
        into.prefixlen = prefixlen
        into.scope = scope
        into.label = label
        into.flags = flags
        into.packed_broadcast = broadcast
        into.packed_peer = peer
        into.preferred_lifetime = preferred_lifetime
        into.valid_lifetime = valid_lifetime
        if usual:
            become(self, Address)
        else:
            fill(self, into)

    @classmethod
    def parse(cls, value: object) -> Address:
        """An Address from text such as ``"10.0.0.1/24"`` or an ``ipaddress`` interface.

        Raises SpecError for what is no address with a prefix length.
        """
        known = _parsed.get(value) if type(value) is str else None
        if known is not None:
            return known
        quick = plain(value) if isinstance(value, str) else None
        if quick is not None:
            return _remember(str(value), cls(*quick))
        from netkit._spec.addresses import ip_interface

        interface = ip_interface(value)
        return cls(interface.packed, interface.network.prefixlen)

    @property
    def version(self) -> Literal[4, 6]:
        """4 or 6."""
        return 4 if len(self.packed) == 4 else 6

    @property
    def interface(self) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
        """The same as an ``ipaddress`` interface: address and prefix length."""
        import ipaddress

        if len(self.packed) == 4:
            return ipaddress.IPv4Interface((self.packed, self.prefixlen))
        return ipaddress.IPv6Interface((self.packed, self.prefixlen))

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """The address alone."""
        return _unpacked(self.packed)

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The network that the address is in."""
        return self.interface.network

    @property
    def broadcast(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The broadcast address (IFA_BROADCAST), or None."""
        return None if self.packed_broadcast is None else _unpacked(self.packed_broadcast)

    @property
    def peer(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The other end of a point-to-point address (IFA_ADDRESS where it differs), or None."""
        return None if self.packed_peer is None else _unpacked(self.packed_peer)

    def __str__(self) -> str:
        packed = self.packed
        if len(packed) == 4:
            return f"{packed[0]}.{packed[1]}.{packed[2]}.{packed[3]}/{self.prefixlen}"
        if packed[:10] == _ZEROS:  # of ::ffff:0:0/96 and its like C and Python have different texts
            return f"{self.ip}/{self.prefixlen}"
        return f"{inet_ntop(AF_INET6, packed)}/{self.prefixlen}"

    def __repr__(self) -> str:
        more = f", label={self.label!r}" if self.label else ""
        more += f", flags={sorted(self.flags)}" if self.flags else ""
        return f"<Address {self} scope={self.scope!r}{more}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Address):
            return self.packed == other.packed and self.prefixlen == other.prefixlen
        if isinstance(other, str):
            return str(self) == other
        import ipaddress

        if isinstance(other, (ipaddress.IPv4Interface, ipaddress.IPv6Interface)):
            return self.interface == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))


# Texts of the plain form that were parsed lately: what was added is often looked for and removed.
_parsed: dict[str, Address] = {}
_MOST = 4096


def _remember(text: str, address: Address) -> Address:
    if len(_parsed) >= _MOST:
        _parsed.clear()
    _parsed[text] = address
    return address


def plain(value: str) -> tuple[bytes, int] | None:
    """Address and prefix length of text in its plain form; None for any other, and for what is wrong.

    ipaddress takes ten times as long, which counts where a program makes many; it stays the judge
    of all that is not plain, and the one who says what is wrong.
    """
    host, _, prefix = value.partition("/")
    length = _PREFIXES.get(prefix)
    packed = None if length is None else plain_address(host)
    return None if packed is None or length is None or length > 8 * len(packed) else (packed, length)


def plain_address(host: str) -> bytes | None:
    """The bytes of an address in its plain form that a host can have; None for any other."""
    try:
        packed = inet_pton(AF_INET6 if ":" in host else AF_INET, host)
    except (OSError, ValueError):
        return None
    # The unspecified and multicast addresses are refused elsewhere, with their reasons.
    special = not 0 < packed[0] < 224 if len(packed) == 4 else packed[0] == 0xFF or not any(packed)
    return None if special else packed


def _unpacked(packed: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    import ipaddress

    if len(packed) == 4:
        return ipaddress.IPv4Address(packed)
    if len(packed) == 16:
        return ipaddress.IPv6Address(packed)
    raise SpecError(f"address {shown(packed)} has {len(packed)} bytes: 4 or 16")
