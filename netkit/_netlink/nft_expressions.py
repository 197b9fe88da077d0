"""What a rule of nf_tables is made of: small instructions that load into registers, compare, and act.

Each function returns one expression as bytes; a rule is their concatenation. The names are those that
``nft --debug=netlink`` prints. A comparison that fails ends the rule (its next packet is the next rule's).
Those with few possible arguments are kept once made: most rules share them.
Source: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nft_*.c.
"""

from __future__ import annotations

from functools import cache

from netkit._netlink.wire import ATTRIBUTE, NLA_F_NESTED, attribute, nested, text

# Where a payload offset counts from.
NETWORK_HEADER = 1
TRANSPORT_HEADER = 2

# Keys of meta.
META_MARK = 3
META_IIFNAME = 6
META_OIFNAME = 7
META_NFPROTO = 15
META_L4PROTO = 16
META_IIFKIND = 26
META_OIFKIND = 27

# Keys of ct.
CT_STATE = 0
CT_STATUS = 2

CT_STATUS_DNAT = 0x20  # IPS_DST_NAT

# Keys of socket.
SOCKET_TRANSPARENT, SOCKET_WILDCARD = 0, 2

# Results and flags of fib, and a kind of address.
FIB_OIF, FIB_OIFNAME, FIB_TYPE = 1, 2, 3
FIB_SADDR, FIB_DADDR = 1, 2
TYPE_LOCAL = 2  # RTN_LOCAL

_LOOKUP_INVERTED = 1

# Operators of cmp; range knows the first two.
EQ, NEQ, LT, LTE, GT, GTE = range(6)

# Kinds of nat.
SNAT = 0
DNAT = 1

# Verdicts.
DROP = 0
ACCEPT = 1
JUMP = -3
RETURN = -5

# A register of 16 bytes each; register 0 is the verdict.
VERDICT_REGISTER = 0
REGISTER_1, REGISTER_2, REGISTER_3 = 1, 2, 3
# The same room in registers of 4 bytes, four of which are one of those: the fields of a concatenation.
_REGISTER32_00 = 8

# Flags of nat, masq and redir (uapi/linux/netfilter/nf_nat.h), the first three by nft's words.
NAT_FLAGS = {"random": 4, "persistent": 8, "fully-random": 16}
NAT_RANGE_NETMAP = 64
_NAT_RANGE_PROTO_SPECIFIED = 2

# Kinds of numgen.
NUMGEN_INCREMENTAL, NUMGEN_RANDOM = 0, 1

_LIST_ELEM = 1 | NLA_F_NESTED
_EXPR_NAME = 1
_EXPR_DATA = 2 | NLA_F_NESTED
_DATA_VALUE = 1
_DATA_VERDICT = 2
_INTERFACE_NAME_SIZE = 16


_HEADERS_OF_8 = [ATTRIBUTE.pack(8, kind) for kind in range(16)]


def field_registers(*sizes: int) -> list[int]:
    """Where fields of so many bytes stand, one after the other from register 1 on, as nft numbers them."""
    found: list[int] = []
    quarters = 0
    for size in sizes:
        found.append(_REGISTER32_00 + quarters if quarters % 4 else REGISTER_1 + quarters // 4)
        quarters += (size + 3) // 4
    return found


def be32(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits in network order; a negative value is its two's complement."""
    return _HEADERS_OF_8[kind] + (value & 0xFFFFFFFF).to_bytes(4, "big")


def be64(kind: int, value: int) -> bytes:
    """An attribute that holds 64 bits in network order."""
    return attribute(kind, value.to_bytes(8, "big"))


def expression(name: str, *members: bytes) -> bytes:
    """One expression, by the name of its kind and its attributes."""
    named, length = _NAMES.get(name) or _named(name)
    data = b"".join(members)
    size = len(data) + 4
    return ATTRIBUTE.pack(length + size, _LIST_ELEM) + named + ATTRIBUTE.pack(size, _EXPR_DATA) + data


_NAMES: dict[str, tuple[bytes, int]] = {}


def _named(name: str) -> tuple[bytes, int]:
    """The name's attribute, and the length up to it; kept, for there are a dozen names."""
    named = text(_EXPR_NAME, name)
    return _NAMES.setdefault(name, (named, len(named) + 4))


def _value(kind: int, value: bytes) -> bytes:
    inner = attribute(_DATA_VALUE, value)
    return ATTRIBUTE.pack(len(inner) + 4, kind | NLA_F_NESTED) + inner


@cache
def payload(base: int, offset: int, length: int, register: int = REGISTER_1) -> bytes:
    """Load bytes of the packet, counted from one of its headers."""
    return expression("payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, length))


@cache
def meta(key: int, register: int = REGISTER_1) -> bytes:
    """Load what the kernel knows about the packet: a device's name, a protocol."""
    return expression("meta", be32(2, key), be32(1, register))


@cache
def set_meta(key: int, register: int = REGISTER_1) -> bytes:
    """Change what the kernel knows about the packet to what a register holds: its mark."""
    return expression("meta", be32(2, key), be32(3, register))


@cache
def ct(key: int, register: int = REGISTER_1) -> bytes:
    """Load what connection tracking knows of the packet."""
    return expression("ct", be32(2, key), be32(1, register))


def compare(value: bytes, operator: int = EQ, register: int = REGISTER_1) -> bytes:
    """Go on only if the register compares so with the value (``cmp``)."""
    return expression("cmp", be32(1, register), be32(2, operator), _value(3, value))


def bitwise(mask: bytes, register: int = REGISTER_1, *, flipped: bytes | None = None) -> bytes:
    """Mask the register in place, then flip the bits that ``flipped`` has."""
    return expression(
        "bitwise",
        be32(1, register),
        be32(2, register),
        be32(3, len(mask)),
        _value(4, mask),
        _value(5, flipped or bytes(len(mask))),
    )


def in_range(low: bytes, high: bytes, operator: int = EQ, register: int = REGISTER_1) -> bytes:
    """Go on only if the register is in the range, or with NEQ outside it (``range``)."""
    return expression("range", be32(1, register), be32(2, operator), _value(3, low), _value(4, high))


def immediate(value: bytes, register: int) -> bytes:
    """Load a constant."""
    return expression("immediate", be32(1, register), _value(2, value))


def verdict(code: int) -> bytes:
    """End the packet's way through the chain with ACCEPT, DROP or RETURN."""
    data = nested(2, nested(_DATA_VERDICT, be32(1, code)))
    return expression("immediate", be32(1, VERDICT_REGISTER), data)


def counter() -> bytes:
    """Count packets and bytes that come this far, from zero."""
    return _COUNTER


_COUNTER = expression("counter", be64(1, 0), be64(2, 0))


def xt_match(name: str, revision: int, info: bytes) -> bytes:
    """A match of iptables inside a rule of nf_tables, as iptables-nft makes them (CONFIG_NFT_COMPAT)."""
    return expression(
        "match", text(1, name), be32(2, revision), attribute(3, info.ljust(len(info) + 7 & ~7, b"\0"))
    )


@cache
def lookup(
    name: str,
    register: int = REGISTER_1,
    result: int | None = None,
    *,
    number: int = 0,
    negated: bool = False,
) -> bytes:
    """Go on only if what begins in the register is in the set; of a map, load its data into ``result``.

    ``result`` VERDICT_REGISTER makes it a map of verdicts. ``number`` is that of a set of the same
    transaction, which has no name yet.
    """
    loaded = b"" if result is None else be32(3, result)
    flags = be32(5, _LOOKUP_INVERTED) if negated else b""
    return expression("lookup", be32(2, register), loaded, text(1, name), be32(4, number), flags)


@cache
def fib(result: int, flags: int, register: int = REGISTER_1) -> bytes:
    """Ask the routing tables about the packet: with FIB_TYPE what kind of address one of its own is."""
    return expression("fib", be32(3, flags), be32(2, result), be32(1, register))


@cache
def numgen(kind: int, modulus: int, register: int = REGISTER_1) -> bytes:
    """A number below ``modulus``: the next one, or a random one. In the machine's byte order."""
    return expression("numgen", be32(1, register), be32(2, modulus), be32(3, kind), be32(4, 0))


@cache
def jhash(source: int, length: int, modulus: int, seed: int, register: int = REGISTER_1) -> bytes:
    """A number below ``modulus`` made from what a register holds. In the machine's byte order."""
    return expression(
        "hash",
        be32(1, source),
        be32(2, register),
        be32(3, length),
        be32(4, modulus),
        be32(5, seed),
        be32(7, 0),
    )


@cache
def nat(
    kind: int,
    family: int,
    address: tuple[int, int | None] | None,
    ports: tuple[int, int | None] | None,
    flags: int = 0,
) -> bytes:
    """Change the source (SNAT) or the destination (DNAT) to what registers hold.

    ``address`` and ``ports`` name the registers of the low and the high end (None: a single one).
    """
    return expression(
        "nat", be32(1, kind), be32(2, family), _pair(3, address), _pair(5, ports), _flags(7, ports, flags)
    )


@cache
def masquerade(ports: tuple[int, int | None] | None = None, flags: int = 0) -> bytes:
    """Change the source to the address of the device the packet leaves by (``masq``)."""
    return expression("masq", _flags(1, ports, flags), _pair(2, ports))


@cache
def redirect(ports: tuple[int, int | None] | None = None, flags: int = 0) -> bytes:
    """Change the destination to this machine (``redir``)."""
    return expression("redir", _pair(1, ports), _flags(3, ports, flags))


@cache
def tproxy(family: int, address: int | None, port: int | None) -> bytes:
    """Give the packet to a socket of this machine, by what registers hold, its destination unchanged."""
    registers = b"".join([be32(kind, each) for kind, each in ((2, address), (3, port)) if each is not None])
    return expression("tproxy", be32(1, family), registers)


@cache
def socket(key: int, register: int = REGISTER_1) -> bytes:
    """Load what a socket of this machine has that the packet is for; without one, the rule ends."""
    return expression("socket", be32(1, key), be32(2, register))


def _pair(kind: int, registers: tuple[int, int | None] | None) -> bytes:
    if registers is None:
        return b""
    low, high = registers
    return be32(kind, low) + (be32(kind + 1, high) if high is not None else b"")


def _flags(kind: int, ports: tuple[int, int | None] | None, flags: int) -> bytes:
    flags |= 0 if ports is None else _NAT_RANGE_PROTO_SPECIFIED
    return be32(kind, flags) if flags else b""


# -- the usual matches, as nft compiles them ----------------------------------------


def match_device(key: int, name: str, negated: bool = False) -> bytes:
    """``iifname NAME`` and ``oifname NAME``: the whole 16 bytes are compared, so it is no prefix."""
    padded = name.encode().ljust(_INTERFACE_NAME_SIZE, b"\0")
    return meta(key) + compare(padded, NEQ if negated else EQ)


@cache
def match_byte(key: int, value: int, negated: bool = False) -> bytes:
    """``meta nfproto`` and ``meta l4proto``."""
    return meta(key) + compare(bytes([value]), NEQ if negated else EQ)


def match_network(offset: int, network: bytes, prefix_length: int, negated: bool = False) -> bytes:
    """An address in the network header: as few bytes as the prefix needs, masked where it cuts one."""
    operator = NEQ if negated else EQ
    length, bits = divmod(prefix_length, 8)
    if length and not bits:
        return payload(NETWORK_HEADER, offset, length) + compare(network[:length], operator)
    width = len(network)
    mask = ((1 << prefix_length) - 1 << width * 8 - prefix_length).to_bytes(width, "big")
    return payload(NETWORK_HEADER, offset, width) + bitwise(mask) + compare(network, operator)


def match_ports(offset: int, low: int, high: int, negated: bool = False) -> bytes:
    """A port (or a range) at an offset into the transport header: 0 is the source, 2 the destination."""
    first, last = low.to_bytes(2, "big"), high.to_bytes(2, "big")
    loaded = payload(TRANSPORT_HEADER, offset, 2)
    if low == high:
        return loaded + compare(first, NEQ if negated else EQ)
    if negated:
        return loaded + in_range(first, last, NEQ)
    return loaded + compare(first, GTE) + compare(last, LTE)


def match_both_ports(source: int, destination: int) -> bytes:
    """Both ports in one comparison: they stand side by side."""
    loaded = payload(TRANSPORT_HEADER, 0, 4)
    return loaded + compare(source.to_bytes(2, "big") + destination.to_bytes(2, "big"))
