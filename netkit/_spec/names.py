"""Names: of devices, namespaces, tables, scopes, route types and protocols."""

from __future__ import annotations

from netkit._spec.numbers import U32, integer
from netkit._spec.value import shown, type_of
from netkit.errors import SpecError

# The protocol byte of the routes, rules and addresses that netkit makes: rt_protos has no other 110.
NETKIT_PROTOCOL = 110

TABLES = {"default": 253, "main": 254, "local": 255}
SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
PROTOCOLS = {
    "unspec": 0,
    "redirect": 1,
    "kernel": 2,
    "boot": 3,
    "static": 4,
    "gated": 8,
    "ra": 9,
    "mrt": 10,
    "zebra": 11,
    "bird": 12,
    "dnrouted": 13,
    "xorp": 14,
    "ntk": 15,
    "dhcp": 16,
    "mrouted": 17,
    "keepalived": 18,
    "babel": 42,
    "ovn": 84,
    "openr": 99,
    "netkit": NETKIT_PROTOCOL,
    "bgp": 186,
    "isis": 187,
    "ospf": 188,
    "rip": 189,
    "eigrp": 192,
}
ROUTE_TYPES = {
    "unspec": 0,
    "unicast": 1,
    "local": 2,
    "broadcast": 3,
    "anycast": 4,
    "multicast": 5,
    "blackhole": 6,
    "unreachable": 7,
    "prohibit": 8,
    "throw": 9,
    "nat": 10,
    "xresolve": 11,
}
_TABLE_NAMES = {number: name for name, number in TABLES.items()}
_SCOPE_NAMES = {number: name for name, number in SCOPES.items()}
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_ROUTE_TYPE_NAMES = {number: name for name, number in ROUTE_TYPES.items()}


def _encoded(value: object, what: str) -> bytes:
    if not isinstance(value, str):
        raise SpecError(f"{what} {shown(value)} is {type_of(value)}: a name is a str")
    if not value:
        raise SpecError(f"{what} '' is empty")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise SpecError(f"{what} {shown(value)} cannot be written in UTF-8") from None


def _refuse_characters(value: object, encoded: bytes, what: str, forbidden: bytes) -> None:
    for byte in encoded:
        # 0xa0: the kernel's isspace() reads names as Latin-1, where this is a space.
        if byte <= 0x20 or byte == 0x7F or (byte == 0xA0 and b"%" in forbidden):
            raise SpecError(f"{what} {shown(value)} contains {_called(byte)}")
        if byte in forbidden:
            raise SpecError(f"{what} {shown(value)} contains {chr(byte)!r}")


def _called(byte: int) -> str:
    known = {0: "NUL", 9: "a tab", 10: "a newline", 32: "a space"}
    if byte == 0xA0:
        return "the byte 0xa0, which the kernel takes for a space"
    return known.get(byte, f"the control character {byte:#04x}")


def shortened(name: str) -> str:
    """``name`` cut to what fits a device, the same for the same name: 10 bytes and 5 hex digits."""
    from binascii import crc32  # a shared object to load, and names are seldom too long

    return name.encode()[:10].decode(errors="ignore") + f"{crc32(name.encode()) & 0xFFFFF:05x}"


def interface_name(value: object, what: str = "name") -> str:
    """A device's name: 1 to 15 bytes that the kernel takes as they are (dev_valid_name)."""
    return _device_name(value, what, 15)


def alternative_name(value: object, what: str = "alternative name") -> str:
    """A device's alternative name: as a name, but up to 127 bytes (ALTIFNAMSIZ)."""
    return _device_name(value, what, 127)


def _device_name(value: object, what: str, longest: int) -> str:
    usual = isinstance(value, str) and value.isalnum() and value.isascii() and len(value) <= longest
    if usual and value not in ("all", "default"):
        return str(value)
    encoded = _encoded(value, what)
    name = encoded.decode()
    _refuse_characters(name, encoded, what, b"/:%")
    if name in (".", ".."):
        raise SpecError(f"{what} {name!r} is a directory, not a name")
    if name in ("all", "default"):
        raise SpecError(f"{what} {name!r} is taken: net.ipv4.conf.{name} stands for all devices")
    if len(encoded) > longest:
        hint = f": {shortened(name)!r} would fit" if longest == 15 else ""
        raise SpecError(f"{what} {shown(name)} has {len(encoded)} bytes, {longest} is the most{hint}")
    return name


def device(value: object, what: str = "dev") -> str:
    """The name of a device given as a str or as a link: an object with a name and an index."""
    if isinstance(value, str):
        return _device_name(value, what, 15)
    name, indexed = getattr(value, "name", None), getattr(value, "ifindex", getattr(value, "index", None))
    if not isinstance(name, str) or not isinstance(indexed, int):  # a Namespace has a name, too, and a Path
        raise SpecError(f"{what} {shown(value)} is no device: give its name or a Link")
    return interface_name(name, what)


def namespace_name(value: object, what: str = "namespace name") -> str:
    """The name of a namespace: one path component that `ip netns` takes, up to 255 bytes."""
    encoded = _encoded(value, what)
    name = encoded.decode()
    _refuse_characters(name, encoded, what, b"/")
    if name[0] in ".-":
        raise SpecError(f"{what} {shown(name)} begins with {name[0]!r}")
    if len(encoded) > 255:
        raise SpecError(f"{what} {shown(name)} has {len(encoded)} bytes, 255 is the most")
    if any(character.isspace() for character in name):
        raise SpecError(f"{what} {shown(name)} contains a space")
    return name


def alias(value: object, what: str = "alias") -> str:
    """A device's alias: any text up to 255 bytes without NUL; empty removes it (IFLA_IFALIAS)."""
    if value == "" and isinstance(value, str):
        return ""
    encoded = _encoded(value, what)
    if b"\0" in encoded:
        raise SpecError(f"{what} {shown(value)} contains NUL")
    if len(encoded) > 255:
        raise SpecError(f"{what} {shown(value)} has {len(encoded)} bytes, 255 is the most")
    return encoded.decode()


def label(value: object, what: str = "label") -> str:
    """The label of an IPv4 address, 1 to 15 bytes (IFA_LABEL); by custom ``DEVICE:WORD``."""
    encoded = _encoded(value, what)
    _refuse_characters(value, encoded, what, b"/%")
    if len(encoded) > 15:
        raise SpecError(f"{what} {shown(value)} has {len(encoded)} bytes, 15 is the most")
    return encoded.decode()


def _number(value: object, what: str, names: dict[str, int], high: int) -> int:
    if not isinstance(value, str):
        return integer(value, what, 0, high)
    if value in names:
        return names[value]
    if value.isascii() and value.isdigit() and len(value) <= 10:
        return integer(int(value), what, 0, high)
    raise SpecError(f"{what} {shown(value)} is unknown: {', '.join(names)} or a number up to {high}")


def table_number(value: object, what: str = "table") -> int:
    """A routing table by name (``main``, or one of rt_tables) or number, 1 to 2**32-1."""
    if type(value) is int and 0 < value <= U32:
        return value
    number = TABLES.get(value) if isinstance(value, str) else None
    if number is None and isinstance(value, str) and not value.isdigit():
        number = named_table(value)
        if number is None:
            raise SpecError(
                f"{what} {shown(value)} is unknown: main, local, default, a name in "
                "/etc/iproute2/rt_tables, or a number"
            )
    number = _number(value if number is None else number, what, TABLES, U32)
    if number == 0:
        raise SpecError(f"{what} 0 is no table: 254 is main")
    return number


def named_table(name: str) -> int | None:
    """The number of a table named in iproute2's files, or None; they are read on each call."""
    from netkit._spec._tables import read_tables

    return read_tables().get(name)


def table_name(number: int) -> str:
    """``main``, ``local``, ``default``, or the number as text."""
    return _TABLE_NAMES.get(number) or str(number)


def scope_number(value: object, what: str = "scope") -> int:
    """A scope by name (``global`` or ``universe``, ``site``, ``link``, ``host``, ``nowhere``) or number."""
    return 0 if value == "universe" else _number(value, what, SCOPES, 255)


def scope_name(number: int) -> str:
    """The scope's name, or the number as text."""
    return _SCOPE_NAMES.get(number) or str(number)


def protocol_number(value: object, what: str = "proto") -> int:
    """Who made a route, by name (``static``, ``dhcp``, ...) or number, 0 to 255."""
    return _number(value, what, PROTOCOLS, 255)


def protocol_name(number: int) -> str:
    """The protocol's name, or the number as text."""
    return _PROTOCOL_NAMES.get(number) or str(number)


def route_type_number(value: object, what: str = "type") -> int:
    """A route's type by name (``unicast``, ``blackhole``, ...) or number."""
    return _number(value, what, ROUTE_TYPES, 11)


def route_type_name(number: int) -> str:
    """The type's name, or the number as text."""
    return _ROUTE_TYPE_NAMES.get(number) or str(number)


def route_type(value: object, what: str = "type") -> str:
    """The type of a route that can be added: unicast, local, blackhole, unreachable or prohibit."""
    if isinstance(value, str) and value in ADDABLE_ROUTE_TYPES:
        return value
    raise SpecError(f"{what} {shown(value)} cannot be added: {', '.join(ADDABLE_ROUTE_TYPES)} can")


ADDABLE_ROUTE_TYPES = ("unicast", "local", "blackhole", "unreachable", "prohibit")
