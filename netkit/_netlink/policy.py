"""What an attribute is called and how it is read: the type behind the tables.

A policy is a table from attribute number to `Attribute`. The tables themselves stand in
the file of their object (link.py, address.py, ...). Numbers that a table lacks are
skipped, so a newer kernel does not break reading.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop
from struct import Struct, error

from netkit._netlink.wire import attributes
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Reader: TypeAlias = Callable[[memoryview | bytes, int, int], object]
    """Reads a payload between two offsets, and nothing behind the second."""

_NO_VARIANTS: Mapping[str, Attribute] = {}
_U16 = Struct("=H").unpack_from
_U32 = Struct("=I").unpack_from
_S32 = Struct("=i").unpack_from
_U64 = Struct("=Q").unpack_from
_BE16 = Struct(">H").unpack_from
_BE32 = Struct(">I").unpack_from
_BE64 = Struct(">Q").unpack_from


class Attribute:
    """One row of a policy: the kernel's name, the reader, and the policy of what is nested in it.

    ``header`` is the size of what stands in the nest before its attributes. ``variants`` are the
    rows that stand in for this one, by the value of the attribute named ``chosen_by`` before it.
    """

    __slots__ = ("chosen_by", "header", "name", "nested", "read", "variants")

    def __init__(
        self,
        name: str,
        read: Reader,
        nested: Policy | None = None,
        header: int = 0,
        chosen_by: str | None = None,
        variants: Mapping[str, Attribute] = _NO_VARIANTS,
    ) -> None:
        self.name = name
        self.read = read
        self.nested = nested
        self.header = header
        self.chosen_by = chosen_by
        self.variants = variants


Policy = dict[int, Attribute]


def u8(data: memoryview | bytes, start: int, end: int) -> int:
    """One byte."""
    return data[start:end][0]


def u16(data: memoryview | bytes, start: int, end: int) -> int:
    """16 bits in machine order."""
    return int(_U16(data[start:end])[0])


def u32(data: memoryview | bytes, start: int, end: int) -> int:
    """32 bits in machine order."""
    return int(_U32(data[start:end])[0])


def s32(data: memoryview | bytes, start: int, end: int) -> int:
    """32 bits with sign in machine order."""
    return int(_S32(data[start:end])[0])


def u64(data: memoryview | bytes, start: int, end: int) -> int:
    """64 bits in machine order."""
    return int(_U64(data[start:end])[0])


def be16(data: memoryview | bytes, start: int, end: int) -> int:
    """16 bits in network order."""
    return int(_BE16(data[start:end])[0])


def be32(data: memoryview | bytes, start: int, end: int) -> int:
    """32 bits in network order."""
    return int(_BE32(data[start:end])[0])


def be64(data: memoryview | bytes, start: int, end: int) -> int:
    """64 bits in network order."""
    return int(_BE64(data[start:end])[0])


def text(data: memoryview | bytes, start: int, end: int) -> str:
    """A string, with or without its NUL."""
    return str(data[start:end], "utf-8", "replace").rstrip("\0")


def binary(data: memoryview | bytes, start: int, end: int) -> bytes:
    """The bytes as they are."""
    return bytes(data[start:end])


def mac(data: memoryview | bytes, start: int, end: int) -> str:
    """A link-layer address in lower case, as ip prints it."""
    return bytes(data[start:end]).hex(":")


def flag(data: memoryview | bytes, start: int, end: int) -> bool:
    """An attribute whose presence is its meaning."""
    return True


def ip(data: memoryview | bytes, start: int, end: int) -> str | bytes:
    """An IP address as text; bytes where the length is that of no IP address."""
    payload = bytes(data[start:end])
    if len(payload) == 4:
        return inet_ntop(AF_INET, payload)
    if len(payload) == 16:
        return inet_ntop(AF_INET6, payload)
    return payload


def nest(name: str, policy: Policy, header: int = 0) -> Attribute:
    """A row for an attribute that holds attributes, behind a header of so many bytes."""

    def read(data: memoryview | bytes, start: int, end: int) -> object:
        if end - start < header:
            raise ProtocolError(f"{name} has {end - start} bytes, its header alone {header}")
        return decode(policy, data, start + header, end)

    return Attribute(name, read, policy, header)


def choice(name: str, chosen_by: str, policies: Mapping[str, Attribute]) -> Attribute:
    """A row whose content depends on an attribute before it, as a link's data on its kind."""
    return Attribute(name, binary, chosen_by=chosen_by, variants=policies)


def decode(policy: Policy, data: memoryview | bytes, start: int, end: int) -> dict[str, object]:
    """All attributes the policy knows, by their kernel names; the last of equal ones wins.

    Raises ProtocolError for a payload shorter than its type.
    """
    values: dict[str, object] = {}
    for kind, begin, stop in attributes(data, start, end):
        row = policy.get(kind)
        if row is not None:
            if row.chosen_by is not None:
                row = row.variants.get(str(values.get(row.chosen_by)), row)
            try:
                values[row.name] = row.read(data, begin, stop)
            except (error, IndexError) as problem:
                raise ProtocolError(f"{row.name} has {stop - begin} bytes: {problem}") from problem
    return values


def attribute_at(policy: Policy | None, body: bytes, start: int, offset: int) -> str | None:
    """The name of the attribute at an offset into a request's body, as `IFLA_LINKINFO.IFLA_INFO_KIND`.

    This is how an extended ACK says which attribute it dislikes.
    """
    return _find(policy, body, start, len(body), offset) if policy is not None else None


def _find(policy: Policy, body: bytes, start: int, end: int, offset: int) -> str | None:
    texts: dict[str, str] = {}
    try:
        for kind, begin, stop in attributes(body, start, end):
            row = policy.get(kind)
            if begin - 4 <= offset < stop:
                return _name(row, kind, texts, body, begin, stop, offset)
            if row is not None and row.read is text:
                texts[row.name] = text(body, begin, stop)
    except ProtocolError:
        return None
    return None


def _name(
    row: Attribute | None,
    kind: int,
    texts: Mapping[str, str],
    body: bytes,
    begin: int,
    stop: int,
    offset: int,
) -> str:
    if row is None:
        return f"attribute {kind}"
    if row.chosen_by is not None:
        row = row.variants.get(texts.get(row.chosen_by, ""), row)
    if offset == begin - 4 or row.nested is None:
        return row.name
    inner = _find(row.nested, body, begin + row.header, stop, offset)
    return f"{row.name}.{inner}" if inner else row.name
