"""Policy routing rules: Rule <-> RTM_NEWRULE (ip-rule(8), include/uapi/linux/fib_rules.h)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from errno import EAFNOSUPPORT
from struct import Struct, error

from netkit._netlink.policy import Attribute, Policy, binary, ip, text, u8, u16, u32
from netkit._netlink.route_record import ip_version
from netkit._netlink.wire import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    Request,
    attribute,
    attributes,
)
from netkit._netlink.wire import text as text_attribute
from netkit._netlink.wire import u8 as u8_attribute
from netkit._netlink.wire import u32 as u32_attribute
from netkit._spec.names import protocol_name, protocol_number
from netkit._spec.rules import ACTIONS, Rule
from netkit.errors import KernelError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.socket import NetlinkSocket, Reply
    from netkit._spec.addresses import IPNetwork

RTM_NEWRULE = 32
RTM_DELRULE = 33
RTM_GETRULE = 34
FIB_RULE_INVERT = 2

FRA_DST = 1
FRA_SRC = 2
FRA_IIFNAME = 3
FRA_PRIORITY = 6
FRA_FWMARK = 10
FRA_TABLE = 15
FRA_FWMASK = 16
FRA_OIFNAME = 17
FRA_PROTOCOL = 21

RULE_POLICY: Policy = {
    1: Attribute("FRA_DST", ip),
    2: Attribute("FRA_SRC", ip),
    3: Attribute("FRA_IIFNAME", text),
    4: Attribute("FRA_GOTO", u32),
    6: Attribute("FRA_PRIORITY", u32),
    10: Attribute("FRA_FWMARK", u32),
    11: Attribute("FRA_FLOW", u32),
    12: Attribute("FRA_TUN_ID", binary),
    13: Attribute("FRA_SUPPRESS_IFGROUP", u32),
    14: Attribute("FRA_SUPPRESS_PREFIXLEN", u32),
    15: Attribute("FRA_TABLE", u32),
    16: Attribute("FRA_FWMASK", u32),
    17: Attribute("FRA_OIFNAME", text),
    19: Attribute("FRA_L3MDEV", u8),
    20: Attribute("FRA_UID_RANGE", binary),
    21: Attribute("FRA_PROTOCOL", u8),
    22: Attribute("FRA_IP_PROTO", u8),
    23: Attribute("FRA_SPORT_RANGE", binary),
    24: Attribute("FRA_DPORT_RANGE", binary),
    25: Attribute("FRA_DSCP", u8),
    26: Attribute("FRA_FLOWLABEL", binary),
    27: Attribute("FRA_FLOWLABEL_MASK", binary),
    28: Attribute("FRA_SPORT_MASK", u16),
    29: Attribute("FRA_DPORT_MASK", u16),
    30: Attribute("FRA_DSCP_MASK", u8),
}

_AF = {0: 0, 4: 2, 6: 10}
_FAMILIES = (2, 10)  # AF_INET, AF_INET6
_ACTION_NAMES = {number: name for name, number in ACTIONS.items()}
# family, destination's and source's prefix lengths, tos, table, two unused bytes, action, flags
_HEADER = Struct("=BBBBBxxBI")
_U32 = Struct("=I").unpack


def add_rule(rule: Rule, *, operation: str | None = None) -> Request:
    """Add a rule; without a priority the kernel puts it before all but the first. Twin: ``ip rule add``."""
    body = _body(rule, u8_attribute(FRA_PROTOCOL, protocol_number(rule.proto)))
    flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    what = operation or f"add rule '{rule}'"
    return Request(RTM_NEWRULE, flags, body, what, RULE_POLICY, _HEADER.size)


def delete_rule(rule: Rule, *, exact: bool = False, operation: str | None = None) -> Request:
    """Delete the first rule that has what is given here; what is None may be anything.

    With ``exact``, who made it counts too. Twin: ``ip rule del``.
    """
    body = _body(rule, u8_attribute(FRA_PROTOCOL, protocol_number(rule.proto)) if exact else b"")
    what = operation or f"delete rule '{rule}'"
    return Request(RTM_DELRULE, NLM_F_ACK, body, what, RULE_POLICY, _HEADER.size, deleting=True)


def list_rules(family: int = 0) -> Request:
    """Ask for the rules of a family (4, 6, or 0 for all); for ``socket.dump``."""
    body = _HEADER.pack(_AF[family], 0, 0, 0, 0, 0, 0)
    return Request(RTM_GETRULE, 0, body, "list rules", RULE_POLICY, _HEADER.size)


def dump_rules(sock: NetlinkSocket, version: int) -> list[Reply]:
    """The answers for one IP version: of IPv6, none where the kernel has it switched off (ipv6.disable=1)."""
    try:
        return sock.dump(list_rules(version))
    except KernelError as problem:
        if problem.errno == EAFNOSUPPORT and version == 6:
            return []
        raise


def _body(rule: Rule, last: bytes) -> bytes:
    parts: list[bytes] = []
    for kind, network in ((FRA_DST, rule.dst), (FRA_SRC, rule.src)):
        if network is not None:
            parts.append(attribute(kind, network.network_address.packed))
    for kind, name in ((FRA_IIFNAME, rule.iif), (FRA_OIFNAME, rule.oif)):
        if name is not None:
            parts.append(text_attribute(kind, name))
    for kind, number in (
        (FRA_PRIORITY, rule.priority),
        (FRA_FWMARK, rule.fwmark),
        (FRA_FWMASK, rule.fwmask),
        (FRA_TABLE, rule.table if rule.table > 255 else None),
    ):
        if number is not None:
            parts.append(u32_attribute(kind, number))
    header = _HEADER.pack(
        _AF[rule.family],
        rule.dst.prefixlen if rule.dst is not None else 0,
        rule.src.prefixlen if rule.src is not None else 0,
        0,
        rule.table if rule.table < 256 else 0,
        ACTIONS[rule.action],
        FIB_RULE_INVERT if rule.invert else 0,
    )
    return header + b"".join(parts) + last


# -- reading -------------------------------------------------------------------


def parse_rule(reply: Reply) -> Rule:
    """Read an RTM_NEWRULE. Raises ProtocolError."""
    _, data, start, end = reply
    try:
        return _rule(bytes(data[start:end]))
    except (error, KeyError, ValueError) as problem:
        raise ProtocolError(f"a malformed rule: {problem!r}") from problem


def parse_rules(replies: Iterable[Reply]) -> list[Rule]:
    """Read a dump, leaving out what is neither IPv4 nor IPv6 (multicast routing has rules too)."""
    return [parse_rule(reply) for reply in replies if reply[3] > reply[2] and reply[1][reply[2]] in _FAMILIES]


def _rule(message: bytes) -> Rule:
    family, dst_len, src_len, _, table, action, flags = _HEADER.unpack_from(message)
    version = ip_version(family)
    found = attributes(message, _HEADER.size, len(message))
    payloads = {number: message[begin:stop] for number, begin, stop in found}
    name = _ACTION_NAMES.get(action) or str(action)
    mask = _number(payloads, FRA_FWMASK)
    mark = _number(payloads, FRA_FWMARK)
    protocol = payloads.get(FRA_PROTOCOL)
    return Rule(
        version,
        src=_network(version, payloads.get(FRA_SRC), src_len),
        dst=_network(version, payloads.get(FRA_DST), dst_len),
        iif=_text(payloads, FRA_IIFNAME),
        oif=_text(payloads, FRA_OIFNAME),
        fwmark=0 if mark is None and mask is not None else mark,
        fwmask=mask,
        priority=_number(payloads, FRA_PRIORITY) or 0,  # the kernel leaves out a 0
        table=(_number(payloads, FRA_TABLE) or table) if name == "lookup" else 0,
        action=name,
        invert=bool(flags & FIB_RULE_INVERT),
        proto=protocol_name(protocol[0] if protocol else 0),
    )


def _number(payloads: dict[int, bytes], kind: int) -> int | None:
    payload = payloads.get(kind)
    return None if payload is None else int(_U32(payload)[0])


def _text(payloads: dict[int, bytes], kind: int) -> str | None:
    payload = payloads.get(kind)
    return None if payload is None else payload.rstrip(b"\0").decode("utf-8", "replace")


def _network(version: int, packed: bytes | None, prefixlen: int) -> IPNetwork | None:
    if packed is None:
        return None
    if len(packed) != (4 if version == 4 else 16):
        raise ProtocolError(f"an IPv{version} network of {len(packed)} bytes")
    if version == 4:
        return ipaddress.IPv4Network((packed, prefixlen))
    return ipaddress.IPv6Network((packed, prefixlen))
