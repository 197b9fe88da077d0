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
_CONSTANTS: dict[bytes, Value] = {b"N": None, b"T": True, b"F": False}


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
    value, end = _get(data, 0, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes too many")
    return value


def _get(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    """The value there, and where it ends."""
    tag = data[at : at + 1]
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} deep")
    if tag in (b"s", b"b"):
        start = at + 5
        end = start + _count(data, at + 1, 1)
        return (data[start:end].decode(errors="surrogateescape") if tag == b"s" else data[start:end]), end
    if tag == b"i":
        if at + 9 > len(data):
            raise ValueError(f"cut short: an int at {at}")
        return _INT.unpack_from(data, at + 1)[0], at + 9
    if tag in _CONSTANTS:
        return _CONSTANTS[tag], at + 1
    if tag == b"l":
        return _get_list(data, at + 1, depth + 1)
    if tag == b"d":
        return _get_dict(data, at + 1, depth + 1)
    raise ValueError(f"no value begins with {tag!r}" if tag else f"cut short at {at}")


def _get_list(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    items: list[Value] = []
    count, at = _count(data, at, 1), at + 4
    for _ in range(count):
        item, at = _get(data, at, depth)
        items.append(item)
    return items, at


def _get_dict(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    pairs: dict[str, Value] = {}
    count, at = _count(data, at, 2), at + 4
    for _ in range(count):
        key, at = _get(data, at, depth)
        if not isinstance(key, str):
            raise ValueError(f"the key {key!r} is no str")
        pairs[key], at = _get(data, at, depth)
    return pairs, at


def _count(data: bytes, at: int, each: int) -> int:
    """A count of things of at least so many bytes each, which follow it."""
    rest = len(data) - at - 4
    if rest < 0:
        raise ValueError(f"cut short: a size at {at}")
    count: int = _SIZE.unpack_from(data, at)[0]
    if count * each > rest:
        raise ValueError(f"{count} at {at} is more than there is")
    return count
