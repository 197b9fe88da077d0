"""Reading many messages that look alike: where things are is found once, then only checked.

A dump has thousands of messages with the same attributes at the same places. What was found by
walking one of them is kept as a `_Layout`: a struct that reads the header of every attribute and one
that reads the wanted payloads. A message whose headers are the same, at the same offsets, is as well
formed as that one was, and need not be walked; any other one is.
"""

from __future__ import annotations

from _operator import itemgetter  # operator itself imports more
from struct import Struct, calcsize

from netkit._netlink.wire import attributes
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    Shape: TypeAlias = Mapping[int, "Field | Nest"]

_MOST_LENGTHS = 256
_MOST_ALIKE = 8


class Field:
    """A wanted attribute: which place its payload has in the result, and how it is read.

    ``code`` has struct's letters, one place for each, and a longer payload is cut; ``""`` is
    the bytes as they are.
    """

    __slots__ = ("code", "place", "size")

    def __init__(self, place: int, code: str = "") -> None:
        self.place = place
        self.code = code
        self.size = calcsize("=" + code)


class Nest:
    """An attribute that holds attributes. ``field``: it is wanted as bytes besides, and what is in it
    is only checked."""

    __slots__ = ("field", "shape")

    def __init__(self, shape: Shape, field: Field | None = None) -> None:
        self.shape = shape
        self.field = field


class Reader:
    """Reads the messages of one kind as tuples: the fields of the family header, then those of the shape.

    ``header`` is the format of the family header; ``defaults`` are the values of missing attributes.
    """

    __slots__ = ("_defaults", "_header", "_layouts", "_shape", "_what", "_width")

    def __init__(self, what: str, header: str, shape: Shape, defaults: Sequence[object]) -> None:
        self._what = what
        self._header = Struct(header)
        self._shape = shape
        self._defaults = (*[None] * len(self._header.unpack(bytes(self._header.size))), *defaults)
        self._width = len(self._defaults)
        self._layouts: dict[int, list[_Layout]] = {}

    def read(self, data: memoryview | bytes, start: int, end: int) -> tuple[Any, ...]:
        """The fields of one message. Raises ProtocolError for a malformed one."""
        for layout in self._layouts.get(end - start, ()):
            if layout.headers(data, start) == layout.expected:
                return layout.pick(layout.values(data, start) + self._defaults)
        layout = self._learn(bytes(data[start:end]))
        return layout.pick(layout.values(data, start) + self._defaults)

    def _learn(self, message: bytes) -> _Layout:
        if len(message) < self._header.size:
            raise ProtocolError(f"{self._what} of {len(message)} bytes is shorter than its header")
        walk = _Walk(self._what, self._header, message)
        walk.walk(self._shape, self._header.size, len(message))
        layout = _Layout(walk, self._width)
        if len(self._layouts) >= _MOST_LENGTHS:
            self._layouts.clear()
        # A new list: another thread may be going through the old one.
        alike = self._layouts.get(len(message), [])
        self._layouts[len(message)] = [layout, *alike[: _MOST_ALIKE - 1]]
        return layout


class _Walk:
    """What there is in a message, as the formats of structs."""

    def __init__(self, what: str, header: Struct, message: bytes) -> None:
        self.what = what
        self.message = message
        self.headers = ["="]
        self.values = [header.format]
        self.places: dict[int, int] = {}  # place in the result: place in what the struct reads
        self._headers_end, self._values_end = 0, header.size
        self._count = 0
        self._place(0, len(header.unpack_from(message)))

    def walk(self, shape: Shape, start: int, end: int) -> None:
        """Note every attribute between two offsets."""
        stop = start
        note = self.headers.append
        for number, begin, stop in attributes(self.message, start, end):
            note(f"{begin - 4 - self._headers_end}xI")
            self._headers_end = begin
            wanted = shape.get(number)
            if wanted is None:
                continue
            if isinstance(wanted, Nest):
                self.walk(wanted.shape, begin, stop)
                wanted = wanted.field
            if wanted is not None:
                self._note(wanted, number, begin, stop)
        if (stop + 3) & ~3 < end:  # what only fills up would not be checked in the next message
            raise ProtocolError(f"{self.what} has bytes behind its last attribute")

    def _note(self, field: Field, number: int, begin: int, stop: int) -> None:
        size = stop - begin
        if size < field.size:
            raise ProtocolError(f"attribute {number} of {self.what} has {size} bytes, not {field.size}")
        self.values.append(f"{begin - self._values_end}x{field.code or f'{size}s'}")
        self._values_end = begin + (field.size or size)
        self._place(field.place, len(field.code) or 1)

    def _place(self, place: int, count: int) -> None:
        for each in range(place, place + count):
            self.places[each] = self._count
            self._count += 1


class _Layout:
    """The structs of one sequence of attributes."""

    __slots__ = ("expected", "headers", "pick", "values")

    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]

    def __init__(self, walk: _Walk, width: int) -> None:
        self.headers = Struct("".join(walk.headers)).unpack_from
        self.values = Struct("".join(walk.values)).unpack_from
        self.expected = self.headers(walk.message)
        found = len(self.values(walk.message))
        self.pick = itemgetter(*[walk.places.get(place, found + place) for place in range(width)])
