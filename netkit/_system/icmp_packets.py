"""ICMP echo packets as bytes, without I/O (RFC 792, RFC 4443)."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["reply", "error"]

ECHO_REPLY, ECHO_REQUEST = 0, 8
ECHO_REQUEST_6, ECHO_REPLY_6 = 128, 129
UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM = 3, 11, 12
UNREACHABLE_6, TOO_BIG_6, TIME_EXCEEDED_6, PARAMETER_PROBLEM_6 = 1, 2, 3, 4

_ERRORS = {UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM}
_ERRORS_6 = {UNREACHABLE_6, TOO_BIG_6, TIME_EXCEEDED_6, PARAMETER_PROBLEM_6}
# What an ICMPv6 socket lets through (ICMP6_FILTER, RFC 3542 3.2): the bits of the others are set.
_PASSED_6 = _ERRORS_6 | {ECHO_REPLY_6}
FILTER_6 = struct.pack(
    "=8I", *(sum(1 << bit for bit in range(32) if word * 32 + bit not in _PASSED_6) for word in range(8))
)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): 0 over a packet that has a right one."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(ipv6: bool, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An echo request. For IPv6 the kernel fills in the checksum, which covers addresses too."""
    kind = ECHO_REQUEST_6 if ipv6 else ECHO_REQUEST
    packet = struct.pack("!BBHHH", kind, 0, 0, identifier, sequence) + payload
    if ipv6:
        return packet
    return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]


def parse(ipv6: bool, data: bytes, identifier: int, destination: bytes) -> tuple[Kind, int] | None:
    """What a received packet says of our requests: ("reply" or "error", sequence), or None.

    ``data`` is as a raw socket gives it, for IPv4 with its IP header. An error counts only if the
    packet it quotes went to ``destination`` (packed). Never an exception, whatever the bytes are.
    """
    message = data if ipv6 else _after_ipv4(data)
    if message is None or len(message) < 8:
        return None
    if not ipv6 and checksum(message) != 0:
        return None
    kind = message[0]
    if kind == (ECHO_REPLY_6 if ipv6 else ECHO_REPLY) and message[1] == 0:
        return _ours("reply", message, identifier)
    if kind not in (_ERRORS_6 if ipv6 else _ERRORS):
        return None
    quoted = message[8:]
    echo = _quoted_echo_6(quoted, destination) if ipv6 else _quoted_echo(quoted, destination)
    return None if echo is None else _ours("error", echo, identifier)


def _ours(kind: Kind, echo: bytes, identifier: int) -> tuple[Kind, int] | None:
    found, sequence = struct.unpack_from("!HH", echo, 4)
    return (kind, sequence) if found == identifier else None


def _after_ipv4(packet: bytes) -> bytes | None:
    """The ICMP message behind an IPv4 header, without what follows its total length."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != 1:
        return None
    header = (packet[0] & 15) * 4
    length = int.from_bytes(packet[2:4], "big")
    return packet[header:length] if 20 <= header <= length <= len(packet) else None


def _quoted_echo(packet: bytes, destination: bytes) -> bytes | None:
    """The request's ICMP header inside an error, of which the whole may be cut off (RFC 792)."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != 1 or packet[16:20] != destination:
        return None
    echo = packet[(packet[0] & 15) * 4 :]
    return echo if len(echo) >= 8 and echo[0] == ECHO_REQUEST else None


def _quoted_echo_6(packet: bytes, destination: bytes) -> bytes | None:
    if len(packet) < 48 or packet[0] >> 4 != 6 or packet[24:40] != destination:
        return None
    echo = packet[40:]
    if packet[6] == 44:  # a fragment header, of the first fragment
        if len(packet) < 56 or packet[40] != 58 or int.from_bytes(packet[42:44], "big") >> 3:
            return None
        echo = packet[48:]
    elif packet[6] != 58:
        return None
    return echo if echo[0] == ECHO_REQUEST_6 else None
