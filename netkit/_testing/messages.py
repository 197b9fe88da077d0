"""Requests taken apart and answers put together, as the kernel does (netlink(7), RFC 3549)."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from struct import Struct
from sys import byteorder

from netkit._netlink.wire import (
    HEADER,
    HEADER_SIZE,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
    NLMSGERR_ATTR_OFFS,
    attribute,
    attributes,
    text,
    u32,
)

_ERROR = Struct("=i")
_DUMP_PART = 4096  # small, so that a dump of some length comes in several datagrams

TYPES = {
    16: "RTM_NEWLINK",
    17: "RTM_DELLINK",
    18: "RTM_GETLINK",
    19: "RTM_SETLINK",
    20: "RTM_NEWADDR",
    21: "RTM_DELADDR",
    22: "RTM_GETADDR",
    24: "RTM_NEWROUTE",
    25: "RTM_DELROUTE",
    26: "RTM_GETROUTE",
    28: "RTM_NEWNEIGH",
    29: "RTM_DELNEIGH",
    30: "RTM_GETNEIGH",
    32: "RTM_NEWRULE",
    33: "RTM_DELRULE",
    34: "RTM_GETRULE",
    58: "RTM_GETMULTICAST",
    88: "RTM_NEWNSID",
    90: "RTM_GETNSID",
    108: "RTM_NEWLINKPROP",
    109: "RTM_DELLINKPROP",
}


class Refused(Exception):
    """The simulated kernel says no: an errno, its words, and the type of the offending attribute."""

    def __init__(self, number: int, words: str | None = None, attribute: int | None = None) -> None:
        super().__init__(errno.errorcode.get(number, str(number)), words)
        self.number = number
        self.words = words
        self.attribute = attribute


@dataclass(frozen=True)
class Message:
    """One request as it was sent."""

    kind: int
    flags: int
    sequence: int
    body: bytes

    def fields(self, header: Struct) -> tuple[int, ...]:
        """The family header; EINVAL where the message is too short for it."""
        if len(self.body) < header.size:
            raise Refused(errno.EINVAL, "Invalid header for request")
        return header.unpack_from(self.body)

    def attributes(self, header_size: int) -> dict[int, bytes]:
        """The payloads behind the header, by type."""
        return payloads(self.body, header_size)


def payloads(data: bytes, start: int = 0) -> dict[int, bytes]:
    """The payloads of attributes by type; the last of equal ones wins."""
    return {kind: bytes(data[begin:stop]) for kind, begin, stop in attributes(data, start, len(data))}


def number(payload: bytes) -> int:
    """An unsigned integer in machine order."""
    return int.from_bytes(payload, byteorder)


def string(payload: bytes) -> str:
    """A string with or without its NUL."""
    return payload.rstrip(b"\0").decode()


def joined(values: dict[int, bytes]) -> bytes:
    """Attributes from payloads by type."""
    return b"".join([attribute(kind, payload) for kind, payload in values.items()])


def packed(kind: int, sequence: int, body: bytes, flags: int = 0) -> bytes:
    """One whole message, padded to four bytes."""
    padding = b"\0" * (-len(body) % 4)
    return HEADER.pack(HEADER_SIZE + len(body), kind, flags, sequence, 0) + body + padding


def acknowledgement(request: Message, refusal: Refused | None, capped: bool, extended: bool) -> bytes:
    """An NLMSG_ERROR: the errno, the request (its header only when capped), the kernel's words."""
    whole = HEADER.pack(HEADER_SIZE + len(request.body), request.kind, request.flags, request.sequence, 0)
    flags = NLM_F_CAPPED if capped or refusal is None else 0
    copied = whole if flags else whole + request.body
    body = _ERROR.pack(0 if refusal is None else -refusal.number) + copied + b"\0" * (-len(copied) % 4)
    if refusal is not None and extended:
        words = extended_words(request, refusal)
        flags |= NLM_F_ACK_TLVS if words else 0
        body += words
    return packed(NLMSG_ERROR, request.sequence, body, flags)


def extended_words(request: Message, refusal: Refused) -> bytes:
    """NLMSGERR_ATTR_MSG and NLMSGERR_ATTR_OFFS, for what is known."""
    parts = b"" if refusal.words is None else text(NLMSGERR_ATTR_MSG, refusal.words)
    offset = None if refusal.attribute is None else _offset(request, refusal.attribute)
    return parts if offset is None else parts + u32(NLMSGERR_ATTR_OFFS, offset)


def _offset(request: Message, wanted: int) -> int | None:
    start = {16: 16, 17: 16, 18: 16, 19: 16, 20: 8, 21: 8, 22: 8}.get(request.kind, 12)
    for kind, begin, _ in attributes(request.body, start, len(request.body)):
        if kind == wanted:
            return HEADER_SIZE + begin - 4
    return None


def dump_parts(sequence: int, kind: int, bodies: list[bytes], flags: int = 0) -> list[bytes]:
    """The datagrams of a dump, with NLMSG_DONE in the last one."""
    parts = [b""]
    for body in bodies:
        message = packed(kind, sequence, body, NLM_F_MULTI | flags)
        if parts[-1] and len(parts[-1]) + len(message) > _DUMP_PART:
            parts.append(b"")
        parts[-1] += message
    parts.append(packed(NLMSG_DONE, sequence, _ERROR.pack(0), NLM_F_MULTI | flags))
    return [part for part in parts if part]
