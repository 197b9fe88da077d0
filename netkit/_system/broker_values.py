"""Plain values as bytes, for the broker's messages: None, bool, int, bytes, str, list, dict with str keys.

No pickle: what comes in is data and never runs anything. Whatever is malformed is a ValueError.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812

TYPE_CHECKING = False
if TYPE_CHECKING:
    Value = None | bool | int | bytes | str | list["Value"] | dict[str, "Value"]

_INT, _SIZE = Struct("=q"), Struct("=I")
_DEEPEST = 8


def encode(value: Value) -> bytes:
    """The bytes of a value; ValueError for what has none."""
    parts: list[bytes] = []
    _put(value, parts, 0)
    return b"".join(parts)


def _put(value: object, parts: list[bytes], depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} deep")
    if value is None or isinstance(value, bool):
        parts.append({None: b"N", True: b"T", False: b"F"}[value])
    elif isinstance(value, int):
        try:
            parts.append(b"i" + _INT.pack(value))
        except StructError:
            raise ValueError(f"{value} does not fit into 64 bits") from None
    elif isinstance(value, bytes):
        parts.append(b"b" + _SIZE.pack(len(value)) + value)
    elif isinstance(value, str):
        text = value.encode(errors="surrogateescape")
        parts.append(b"s" + _SIZE.pack(len(text)) + text)
    elif isinstance(value, list):
        items: list[object] = value  # pyright: ignore[reportUnknownVariableType]
        parts.append(b"l" + _SIZE.pack(len(items)))
        for item in items:
            _put(item, parts, depth + 1)
    elif isinstance(value, dict):
        pairs: dict[object, object] = value  # pyright: ignore[reportUnknownVariableType]
        parts.append(b"d" + _SIZE.pack(len(pairs)))
        for key, each in pairs.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is no str")
            _put(key, parts, depth + 1)
            _put(each, parts, depth + 1)
    else:
        raise ValueError(f"a {type(value).__name__} is no plain value")


def decode(data: bytes) -> Value:
    """The value; ValueError unless the bytes are exactly one."""
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes too many")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise ValueError(f"cut short: {len(piece)} of {size} bytes at {self.at}")
        self.at += size
        return piece

    def size(self, each: int) -> int:
        """A count of things of at least so many bytes each."""
        count: int = _SIZE.unpack(self.take(4))[0]
        if count * each > len(self.data) - self.at:
            raise ValueError(f"{count} at {self.at} is more than there is")
        return count

    def value(self, depth: int) -> Value:
        tag = self.take(1)
        if depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} deep")
        if tag in b"NTF":
            return {b"N": None, b"T": True, b"F": False}[tag]
        if tag == b"i":
            return int(_INT.unpack(self.take(8))[0])
        if tag == b"b":
            return self.take(self.size(1))
        if tag == b"s":
            return self.take(self.size(1)).decode(errors="surrogateescape")
        if tag == b"l":
            return [self.value(depth + 1) for _ in range(self.size(1))]
        if tag == b"d":
            return dict(self._item(depth + 1) for _ in range(self.size(2)))
        raise ValueError(f"no value begins with {tag!r}")

    def _item(self, depth: int) -> tuple[str, Value]:
        key = self.value(depth)
        if not isinstance(key, str):
            raise ValueError(f"the key {key!r} is no str")
        return key, self.value(depth)
