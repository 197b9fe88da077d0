"""From the bytes of an entry back to a rule, for the rules that netkit itself could have made."""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network

from netkit._nat import iptables_entry as entry
from netkit._nat import iptables_layout as layout
from netkit._nat.iptables_matches import read_match
from netkit._nat.iptables_rules import match_words, target_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from netkit._nat.iptables_rules import Rule

_FIELDS = ("src", "dst", "in_interface", "out_interface", "protocol")


def decode(raw: bytes, family: int, table: str, chain: str) -> Rule | None:
    """The rule that encodes to exactly these bytes, or None if it is of another kind."""
    try:
        rule = header_rule(raw, family, table, chain)
        _read_extensions(raw, rule)
        same = entry.encode(rule) == entry.canonical(raw, family)
    except (ValueError, struct.error, OverflowError, OSError, UnicodeDecodeError):
        return None  # not of our kinds: shown by the extension itself
    return rule if same else None


def header_rule(raw: bytes, family: int, table: str, chain: str) -> Rule:
    """Only what is before the first ``-m``: addresses, interfaces, protocol."""
    rule: Rule = {"family": family, "table": table, "chain": chain, "position": "append", "target": ""}
    fields = struct.unpack_from(layout.HEAD[family], raw)
    src, dst, src_mask, dst_mask, into, out, into_mask, out_mask, number = fields[:9]
    texts = (
        _network(src, src_mask),
        _network(dst, dst_mask),
        _interface(into, into_mask),
        _interface(out, out_mask),
        layout.PROTOCOLS.get(number, str(number)) if number else "",
    )
    for field, text in zip(_FIELDS, texts, strict=True):
        negated = "!" if fields[-1] & layout.INVERT[field] else ""
        if negated and not text and field in ("src", "dst"):
            text = "0.0.0.0/0" if family == 4 else "::/0"
        if text or negated:
            rule[field] = negated + text  # type: ignore[literal-required]
    return rule


def _network(address: bytes, mask: bytes) -> str:
    if not any(mask):
        return ""
    bits = int.from_bytes(mask, "big")
    text = f"{bits:0{len(mask) * 8}b}"
    if "01" in text:  # 255.0.255.0: iptables takes it, and shows it like this
        return f"{ip_address(address)}/{ip_address(mask)}"
    return str(ip_network((ip_address(address), bits.bit_count()), strict=False))


def _interface(name: bytes, mask: bytes) -> str:
    if not any(mask):
        return ""
    length = len(mask.rstrip(b"\0"))
    text = name.split(b"\0", 1)[0].decode()
    return text if length > len(text) else text[:length] + "+"


def _read_extensions(raw: bytes, rule: Rule) -> None:
    family = rule["family"]
    offset, target_offset = layout.ENTRY[family].size, entry.target_offset(raw, family)
    while offset < target_offset:
        name, revision, data = _extension(raw, offset)
        if name in _MATCHES:
            _MATCHES[name](name, data, rule)
        else:
            read_match(name, revision, data, rule)
        offset += layout.EXTENSION.size + len(data)
    name, revision, data = _extension(raw, target_offset)
    rule["target"] = name
    if name in entry.NAT_TARGETS:
        _read_target(name, revision, data, rule)
    elif (name, revision) == ("TPROXY", 1):
        _read_proxied(data, rule)
    elif (name, revision) == ("MARK", 2):
        _read_mark(data, rule)


def _extension(raw: bytes, offset: int) -> tuple[str, int, bytes]:
    size, name, revision = layout.EXTENSION.unpack_from(raw, offset)
    return name.split(b"\0", 1)[0].decode(), revision, raw[offset + layout.EXTENSION.size : offset + size]


def _read_ports(name: str, data: bytes, rule: Rule) -> None:
    first, second = struct.unpack_from("@HH", data), struct.unpack_from("@HH", data, 4)
    if name == "sctp":
        given, invert = struct.unpack_from(layout.SCTP_LAYOUT, data)[-2:]
        sport, dport = second if given & 1 else None, first if given & 2 else None
    else:
        invert = data[11] if name == "tcp" else data[8]
        any_port = (0, 65535)
        sport = first if first != any_port or invert & 1 else None
        dport = second if second != any_port or invert & 2 else None
    if sport is not None:
        rule["sport"] = _range_text(sport, ":", "!" if invert & 1 else "")
    if dport is not None:
        rule["dport"] = _range_text(dport, ":", "!" if invert & 2 else "")


def _read_type(name: str, data: bytes, rule: Rule) -> None:
    _, kinds, _ = layout.ADDRTYPE.unpack_from(data)
    rule["dst_type"] = next((word for word, bit in layout.ADDRESS_TYPES.items() if bit == kinds), "?")


def _read_states(name: str, data: bytes, rule: Rule) -> None:
    states = layout.CONNTRACK.unpack_from(data)[2]
    rule["ctstate"] = ",".join([word for word, bit in layout.STATES.items() if states & bit])


_MATCHES: dict[str, Callable[[str, bytes, Rule], None]] = {
    "tcp": _read_ports,
    "udp": _read_ports,
    "sctp": _read_ports,
    "addrtype": _read_type,
    "conntrack": _read_states,
}


def _range_text(ends: tuple[int, ...], separator: str, prefix: str = "") -> str:
    low, high = ends
    return f"{prefix}{low}" if low == high else f"{prefix}{low}{separator}{high}"


def _read_target(name: str, revision: int, data: bytes, rule: Rule) -> None:
    length = 4 if rule["family"] == 4 else 16
    base = b""
    if name == "DNAT" and revision == 2:
        flags, low, high, first, last, base = layout.RANGE2.unpack_from(data)
    elif rule["family"] == 4:
        _, flags, low, high, first, last = layout.RANGE4.unpack_from(data)
    else:
        flags, low, high, first, last = layout.RANGE.unpack_from(data)
    words = [word for word, bit in layout.TARGET_FLAGS.items() if flags & bit]
    if words:
        rule["flags"] = " ".join(words)
    if name == "NETMAP":
        low, high = low[:length], high[:length]
        changing = (int.from_bytes(low, "big") ^ int.from_bytes(high, "big")).bit_length()
        rule["to"] = str(ip_network((low, 8 * length - changing)))
    elif flags & layout.MAP_IPS:
        ends = [str(ip_address(end[:length])) for end in (low, high)]
        rule["to"] = ends[0] if ends[0] == ends[1] else "-".join(ends)
    if flags & layout.PROTO_SPECIFIED:
        ports = int.from_bytes(first, "big"), int.from_bytes(last, "big")
        rule["to_ports"] = _range_text(ports, "-")
        if flags & layout.PROTO_OFFSET:
            rule["to_ports"] += f"/{int.from_bytes(base, 'big')}"


def _read_proxied(data: bytes, rule: Rule) -> None:
    mask, value, address, port = layout.TPROXY.unpack_from(data)
    rule["to"] = str(ip_address(address[: 4 if rule["family"] == 4 else 16]))
    rule["to_ports"] = str(int.from_bytes(port, "big"))
    rule["mark"] = f"{value:#x}/{mask:#x}"


def _read_mark(data: bytes, rule: Rule) -> None:
    value, mask = layout.MARK.unpack_from(data)
    rule["mark"] = f"{value:#x}/{mask:#x}"


def extension_words(family: int, name: str, revision: int, data: bytes, *, is_target: bool) -> str:
    """A match or target of iptables inside a rule of nf_tables, as ``iptables -S`` has its options.

    Of what netkit does not know, its name alone.
    """
    rule: Rule = {"family": family, "table": "", "chain": "", "position": "append", "target": name}
    try:
        if is_target:
            if (name, revision) == ("TPROXY", 1):
                _read_proxied(data, rule)
            elif (name, revision) == ("MARK", 2):
                _read_mark(data, rule)
            else:
                _read_target(name, revision, data.ljust(layout.RANGE2.size, b"\0"), rule)
            return " ".join([name, *target_words(rule)]).rstrip()
        if name in _MATCHES:
            _MATCHES[name](name, data, rule)
        else:
            read_match(name, revision, data, rule)
    except (ValueError, struct.error, KeyError, UnicodeDecodeError):
        return name
    words = match_words(rule)
    return " ".join(words[1:] if words[:1] == ["-m"] else words) or name
