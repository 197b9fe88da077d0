"""A NAT rule as the bytes that ip_tables and ip6_tables keep, both ways.

python-iptables could build them from option text, but not reliably: once IPv4 targets are loaded
it finds no IPv6 ones in the same process, its IPv6 interface masks compare one bit per letter
(``eth0`` matches ``eth2``), and a negated IPv6 protocol matches everything.
"""

from __future__ import annotations

import socket
import struct
import sys
from functools import lru_cache
from ipaddress import ip_address, ip_network

from netkit._nat.iptables_layout import (
    ADDRESS_TYPES,
    ADDRTYPE,
    CONNTRACK,
    CONNTRACK_STATE,
    ENTRY,
    EXTENSION,
    HEAD_SIZE,
    INVERT,
    IP6T_F_PROTO,
    MAP_IPS,
    MARK,
    PROTO_OFFSET,
    PROTO_SPECIFIED,
    PROTOCOL_NUMBERS,
    RANGE,
    RANGE2,
    RANGE4,
    SCTP_FLAGS,
    SCTP_LAYOUT,
    STATES,
    TARGET_FLAGS,
    TPROXY,
    VERDICT,
)
from netkit._nat.iptables_matches import comment_match, encoded_matches, extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.iptables_rules import Rule


NAT_TARGETS = ("DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP")
MOST_OF_A_CHAIN = 28  # bytes of its name (XT_EXTENSION_MAXNAMELEN)


def named_target(raw: bytes, at: int, name: bytes) -> bytes:
    """An entry read whose target at this offset is a verdict or a chain, by its name: libiptc knows it."""
    return raw[: at + 2] + name.ljust(29, b"\0") + raw[at + 31 : at + EXTENSION.size] + VERDICT.pack(0)


def encode(rule: Rule) -> bytes:
    """The entry for a rule, its counters zero; ValueError for what no entry can say."""
    family = rule["family"]
    matches = (
        _port_match(rule)
        + _type_match(rule)
        + encoded_matches(rule)
        + _state_match(rule)
        + comment_match(rule)
    )
    target = _target(rule)
    target_offset = ENTRY[family].size + len(matches)
    end = target_offset + len(target)
    head = ENTRY[family].pack(*_header(rule), 0, target_offset, end, 0, 0, 0)
    return head + matches + target


@lru_cache(maxsize=1 << 14)  # a change reads the table before and after it
def canonical(raw: bytes, family: int) -> bytes:
    """An entry without what the kernel writes into it: equal bytes are equal rules."""
    start, size = HEAD_SIZE[family], ENTRY[family].size
    parts = [raw[:start], bytes(4), raw[start + 4 : start + 8], bytes(size - start - 8)]
    end = target_offset(raw, family)
    while size < end:
        length = int.from_bytes(raw[size : size + 2], sys.byteorder)
        if length < EXTENSION.size:
            raise ValueError("a match without a length")
        parts.append(_clean_extension(raw[size : size + length]))
        size += length
    return b"".join([*parts, _clean_extension(raw[size:])])


def _clean_extension(data: bytes) -> bytes:
    # The kernel writes a name up to its NUL; what follows is whatever libiptc's memory held.
    name = data[2:31].split(b"\0", 1)[0]
    return data[:2] + name.ljust(29, b"\0") + data[31:]


def counters(raw: bytes, family: int) -> tuple[int, int]:
    """The packets and bytes of an entry read from the kernel."""
    fields = ENTRY[family].unpack_from(raw)
    return fields[-2], fields[-1]


def target_offset(raw: bytes, family: int) -> int:
    """Where the target begins, and the matches end."""
    offset: int = ENTRY[family].unpack_from(raw)[-5]
    return offset


def _split(text: str) -> tuple[bool, str]:
    return (True, text[1:]) if text.startswith("!") else (False, text)


def _header(rule: Rule) -> tuple[bytes | int, ...]:
    family = rule["family"]
    invert = 0
    for field, bit in INVERT.items():
        if rule.get(field, "").startswith("!"):  # type: ignore[attr-defined]
            invert |= bit
    src, src_mask = _network(rule.get("src", ""), family)
    dst, dst_mask = _network(rule.get("dst", ""), family)
    into, into_mask = _interface(rule.get("in_interface", ""))
    out, out_mask = _interface(rule.get("out_interface", ""))
    number = _protocol(rule.get("protocol", ""))
    fixed = (src, dst, src_mask, dst_mask, into, out, into_mask, out_mask, number)
    if family == 4:
        return *fixed, 0, invert
    return *fixed, 0, IP6T_F_PROTO if number else 0, invert


@lru_cache(maxsize=1 << 10)
def _network(text: str, family: int) -> tuple[bytes, bytes]:
    if not text:
        return b"", b""
    network = ip_network(_split(text)[1], strict=False)
    if network.version != family:
        raise ValueError(f"{text} is not an IPv{family} network")
    return network.network_address.packed, network.netmask.packed


def _interface(text: str) -> tuple[bytes, bytes]:
    name = _split(text)[1].encode()
    if not name:
        return b"", b""
    if len(name) > 15:
        raise ValueError(f"interface name {text!r} is longer than 15 bytes")
    if name.endswith(b"+"):
        return name, b"\xff" * (len(name) - 1)  # iptables keeps the sign in the name
    return name, b"\xff" * (len(name) + 1)  # the closing NUL too: the whole name


def _protocol(text: str) -> int:
    name = _split(text)[1]
    if not name:
        return 0
    number = int(name) if name.isdigit() else PROTOCOL_NUMBERS.get(name) or socket.getprotobyname(name)
    if not 0 < number < 256:
        raise ValueError(f"protocol {text!r} is not 1 to 255")
    return number


def _port_range(text: str, separator: str) -> tuple[int, int]:
    low, _, high = text.partition(separator)
    return int(low), int(high or low)


def _port_match(rule: Rule) -> bytes:
    sport, dport = rule.get("sport", ""), rule.get("dport", "")
    if not sport and not dport:
        return b""
    invert = (0x01 if sport.startswith("!") else 0) | (0x02 if dport.startswith("!") else 0)
    name = rule.get("protocol", "")
    if name == "sctp":
        given = (0x01 if sport else 0) | (0x02 if dport else 0)
        ends = *_ports(dport, (0, 0)), *_ports(sport, (0, 0))
        data = struct.pack(SCTP_LAYOUT, *ends, b"", 0, SCTP_FLAGS, 0, given, invert)
        return extension(name, 0, data)
    ends = *_ports(sport, (0, 65535)), *_ports(dport, (0, 65535))
    if name == "tcp":
        return extension(name, 0, struct.pack("@4H4B", *ends, 0, 0, 0, invert))
    if name == "udp":
        return extension(name, 0, struct.pack("@4HBx", *ends, invert))
    raise ValueError(f"ports need protocol tcp, udp or sctp, not {name or 'any'!r}")


def _type_match(rule: Rule) -> bytes:
    name = rule.get("dst_type", "")
    if not name:
        return b""
    if name not in ADDRESS_TYPES:
        raise ValueError(f"type of address {name!r} is none of {', '.join(ADDRESS_TYPES)}")
    return extension("addrtype", 1, ADDRTYPE.pack(0, ADDRESS_TYPES[name], 0))


def _state_match(rule: Rule) -> bytes:
    names = rule.get("ctstate", "")
    if not names:
        return b""
    unknown = set(names.split(",")) - set(STATES)
    if unknown:
        raise ValueError(f"state {unknown.pop()!r} is none of {', '.join(STATES)}")
    states = sum(STATES[name] for name in names.split(","))
    return extension("conntrack", 3, CONNTRACK.pack(CONNTRACK_STATE, 0, states, 0))


def _ports(text: str, default: tuple[int, int]) -> tuple[int, int]:
    return _port_range(_split(text)[1], ":") if text else default


def _target(rule: Rule) -> bytes:
    name, family = rule["target"], rule["family"]
    if name == "TPROXY":
        return extension(name, 1, _proxied(rule))
    if name == "MARK":
        return extension(name, 2, MARK.pack(*_mark(rule)))
    if name not in NAT_TARGETS:
        if not name or len(name.encode()) > MOST_OF_A_CHAIN:
            raise ValueError(f"target {name!r} is no verdict, and no name of a chain")
        return extension(name, 0, VERDICT.pack(0))
    flags, low, high, ports, base = _nat_range(rule)
    if name == "DNAT":
        data = RANGE2.pack(flags, low, high, ports[0], ports[1], base)
        return extension(name, 2, data)
    if name == "NETMAP":
        flags, low, high = MAP_IPS, *_ends(rule.get("to", ""), family)
    if base != b"\0\0":
        raise ValueError(f"{name} takes no port offset")
    if family == 4:
        return extension(name, 0, RANGE4.pack(1, flags, low, high, *ports))
    return extension(name, 1 if name == "SNAT" else 0, RANGE.pack(flags, low, high, *ports))


def _mark(rule: Rule) -> tuple[int, int]:
    """The bits to set, and those to change."""
    value, _, mask = rule.get("mark", "0x0/0x0").partition("/")
    return int(value, 16), int(mask, 16)


def _proxied(rule: Rule) -> bytes:
    value, mask = _mark(rule)
    address = _address(rule.get("to", ""))
    if len(address) != (4 if rule["family"] == 4 else 16):
        raise ValueError(f"{rule.get('to')} is not of IPv{rule['family']}")
    port = struct.pack("!H", int(rule.get("to_ports", "0")))
    return TPROXY.pack(mask, value, address, port)


def _ends(text: str, family: int) -> tuple[bytes, bytes]:
    network = ip_network(text)
    if network.version != family:
        raise ValueError(f"{text} is not of IPv{family}")
    return network.network_address.packed, network.broadcast_address.packed


@lru_cache(maxsize=1 << 12)
def _address(text: str) -> bytes:
    return ip_address(text).packed


def _nat_range(rule: Rule) -> tuple[int, bytes, bytes, tuple[bytes, bytes], bytes]:
    low, high, base = b"", b"", b"\0\0"
    flags = sum(TARGET_FLAGS[word] for word in rule.get("flags", "").split())
    if (to := rule.get("to", "")) and rule["target"] != "NETMAP":
        first, _, last = to.partition("-")
        low, high = _address(first), _address(last or first)
        if {len(low), len(high)} != {4 if rule["family"] == 4 else 16}:
            raise ValueError(f"{to} is not of IPv{rule['family']}")
        flags |= MAP_IPS
    if not (to_ports := rule.get("to_ports", "")):
        return flags, low, high, (b"\0\0", b"\0\0"), base
    text, _, offset = to_ports.partition("/")
    first_port, last_port = _port_range(text, "-")
    flags |= PROTO_SPECIFIED
    if offset:
        flags |= PROTO_OFFSET
        base = struct.pack("!H", int(offset))
    return flags, low, high, (struct.pack("!H", first_port), struct.pack("!H", last_port)), base
