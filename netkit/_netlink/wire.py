"""Netlink's framing: headers, attributes and acknowledgements, as bytes and nothing else.

Sources: RFC 3549, netlink(7), and the kernel's include/uapi/linux/netlink.h.
All integers are in the machine's byte order, as the kernel has them.
"""

from __future__ import annotations

from struct import Struct
from sys import byteorder

from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from netkit._netlink.policy import Policy

    Words: TypeAlias = str | tuple[object, ...]

# Message types common to every protocol.
NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4
NLMSG_MIN_TYPE = 0x10

# Flags of a request; the second group only means this for NEW requests.
NLM_F_REQUEST = 0x01
NLM_F_MULTI = 0x02
NLM_F_ACK = 0x04
NLM_F_ECHO = 0x08  # what a request made comes back, as the kernel has it
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP_FILTERED = 0x20
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_NONREC = 0x100  # of DELETE requests

# Flags of an acknowledgement.
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

NLMSGERR_ATTR_MSG = 1
NLMSGERR_ATTR_OFFS = 2
NLMSGERR_ATTR_MISS_TYPE = 5
NLMSGERR_ATTR_MISS_NEST = 6

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

HEADER = Struct("=IHHII")  # length, type, flags, sequence, port id
ATTRIBUTE = Struct("=HH")  # length, type
_ERROR = Struct("=i")
_U8 = Struct("=HHBxxx")
_U16 = Struct("=HHHxx")
_U32 = Struct("=HHI")
_U64 = Struct("=HHQ")

HEADER_SIZE = HEADER.size
ATTRIBUTE_SIZE = ATTRIBUTE.size
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

_pack_attribute = ATTRIBUTE.pack
_unpack_attribute = ATTRIBUTE.unpack_from
_unpack_header = HEADER.unpack_from


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute: length, type, payload, and padding to four bytes."""
    length = len(payload)
    return _pack_attribute(length + 4, kind) + payload + _PADDING[length & 3]


def u8(kind: int, value: int) -> bytes:
    """An attribute that holds one byte."""
    return _U8.pack(5, kind, value)


def u16(kind: int, value: int) -> bytes:
    """An attribute that holds 16 bits in machine order."""
    return _U16.pack(6, kind, value)


def u32(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits in machine order."""
    return _U32.pack(8, kind, value)


def u64(kind: int, value: int) -> bytes:
    """An attribute that holds 64 bits in machine order."""
    return _U64.pack(12, kind, value)


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a NUL-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *members: bytes) -> bytes:
    """An attribute that holds attributes (marked NLA_F_NESTED, which strict parsing wants)."""
    payload = b"".join(members)
    return _pack_attribute(len(payload) + 4, kind | NLA_F_NESTED) + payload


class Request:
    """A message to the kernel; the socket adds length and sequence number.

    ``body`` is the family header and the attributes. ``operation`` says in words what is asked:
    a tuple of values is put together when somebody reads it, which is rare. ``policy`` and
    ``header_size`` let an extended ACK's offset be turned into the name of an attribute.
    ``deleting`` makes EADDRNOTAVAIL mean "not found".
    """

    __slots__ = ("body", "deleting", "flags", "header_size", "kind", "policy", "words")

    def __init__(
        self,
        kind: int,
        flags: int,
        body: bytes,
        operation: Words,
        policy: Policy | None = None,
        header_size: int = 0,
        deleting: bool = False,
    ) -> None:
        self.kind = kind
        self.flags = flags
        self.body = body
        self.words = operation
        self.policy = policy
        self.header_size = header_size
        self.deleting = deleting

    @property
    def operation(self) -> str:
        """What is asked, in words."""
        words = self.words
        return words if isinstance(words, str) else "".join(map(str, words))

    @operation.setter
    def operation(self, words: Words) -> None:
        self.words = words

    def pack(self, sequence: int, extra_flags: int) -> bytes:
        """The whole message."""
        body, flags = self.body, self.flags | extra_flags
        return HEADER.pack(HEADER_SIZE + len(body), self.kind, flags, sequence, 0) + body

    def __repr__(self) -> str:
        return f"Request({self.operation!r}, type={self.kind}, flags={self.flags:#x}, {len(self.body)} bytes)"


class Refusal:
    """An acknowledgement with an error: the number, the kernel's words, the attribute."""

    __slots__ = ("errno", "missing", "offset", "text")

    def __init__(
        self, errno: int, text: str | None = None, offset: int | None = None, missing: int | None = None
    ) -> None:
        self.errno = errno
        self.text = text
        self.offset = offset
        self.missing = missing

    def __repr__(self) -> str:
        return f"Refusal(errno={self.errno}, text={self.text!r}, offset={self.offset})"


def messages(data: memoryview | bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Walk a datagram: ``(type, flags, sequence, start of body, end of body)`` of each message."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < HEADER_SIZE:
            raise ProtocolError(f"{end - offset} bytes after the last netlink message of {end} bytes")
        length, kind, flags, sequence, _ = _unpack_header(data, offset)
        if length < HEADER_SIZE or length > end - offset:
            raise ProtocolError(f"a netlink message claims {length} bytes where {end - offset} are left")
        yield kind, flags, sequence, offset + HEADER_SIZE, offset + length
        offset += (length + 3) & ~3


def one_object(data: memoryview, sequence: int) -> tuple[int, memoryview, int, int] | None:
    """A datagram as the one object that answers a request, which most are; None for any other."""
    size = len(data)
    if size < HEADER_SIZE:
        return None
    length, kind, _, answered, _ = _unpack_header(data)
    if answered == sequence and kind >= NLMSG_MIN_TYPE and HEADER_SIZE <= length <= size < length + 4:
        return kind, data, HEADER_SIZE, length
    return None


def attributes(data: memoryview | bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Walk attributes between two offsets: ``(type, start of payload, end of payload)``."""
    while start < end:
        if end - start < ATTRIBUTE_SIZE:
            if not any(data[start:end]):
                return  # padding behind the last attribute
            raise ProtocolError(f"{end - start} bytes are left after the last attribute")
        length, kind = _unpack_attribute(data, start)
        if length < ATTRIBUTE_SIZE or length > end - start:
            raise ProtocolError(f"attribute {kind & NLA_TYPE_MASK} claims {length} bytes of {end - start}")
        yield kind & NLA_TYPE_MASK, start + ATTRIBUTE_SIZE, start + length
        start += (length + 3) & ~3


def parse_acknowledgement(data: memoryview | bytes, flags: int, start: int, end: int) -> Refusal | None:
    """Read an NLMSG_ERROR: None is success.

    Its extended attributes come after the copy of the request, which is only the header
    when the ACK is capped.
    """
    if end - start < _ERROR.size + HEADER_SIZE:
        raise ProtocolError(f"an acknowledgement of {end - start} bytes is too short")
    errno = -_ERROR.unpack_from(data, start)[0]
    if errno == 0:
        return None
    if errno < 0:
        raise ProtocolError(f"an acknowledgement carries the positive error {-errno}")
    refusal = Refusal(errno)
    if flags & NLM_F_ACK_TLVS:
        copied = HEADER_SIZE if flags & NLM_F_CAPPED else _unpack_header(data, start + _ERROR.size)[0]
        if copied > end - start:
            raise ProtocolError("an acknowledgement's copy of the request is longer than itself")
        _read_extended(refusal, data, start + _ERROR.size + ((copied + 3) & ~3), end)
    return refusal


def _read_extended(refusal: Refusal, data: memoryview | bytes, start: int, end: int) -> None:
    for kind, begin, stop in attributes(data, start, end):
        payload = bytes(data[begin:stop])
        if kind == NLMSGERR_ATTR_MSG:
            refusal.text = payload.rstrip(b"\0\n").decode(errors="replace")
        elif kind == NLMSGERR_ATTR_OFFS and len(payload) == 4:
            refusal.offset = int.from_bytes(payload, byteorder)
        elif kind == NLMSGERR_ATTR_MISS_TYPE and len(payload) == 4:
            refusal.missing = int.from_bytes(payload, byteorder)


def parse_done(data: memoryview | bytes, flags: int, start: int, end: int) -> Refusal | None:
    """Read an NLMSG_DONE: a dump may end in an error, with extended attributes behind it."""
    if end - start < _ERROR.size:
        return None
    errno = -_ERROR.unpack_from(data, start)[0]
    if errno <= 0:
        return None
    refusal = Refusal(errno)
    if flags & NLM_F_ACK_TLVS:
        _read_extended(refusal, data, start + _ERROR.size, end)
    return refusal
