"""The elements of a set or map as the kernel tells them, by the thousand.

Those of one set are alike but for their values. So the first one is read by the tables of `nft_policy`, and
where its values are; of those that are like it in all other bytes only the values are taken.
"""

from __future__ import annotations

from struct import Struct

from netkit._netlink.nft_policy import ELEMENT_POLICY, EXPRESSION_POLICIES
from netkit._netlink.policy import decode
from netkit._netlink.wire import attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    # Key, data, packets and bytes.
    ElementValues: TypeAlias = tuple[bytes | None, bytes | None, tuple[int, int]]

_COUNTS = Struct(">Q").unpack_from
_KEY, _DATA, _EXPR = 1, 2, 7


def parse_elements_list(listed: bytes) -> Iterator[ElementValues]:
    """The elements of a message, in order."""
    likeness: _Likeness | None = None
    for _, begin, stop in attributes(listed, 0, len(listed)):
        found = None if likeness is None else likeness.read(listed, begin, stop)
        if found is None:
            values = decode(ELEMENT_POLICY, listed, begin, stop)
            found = _value(values, "KEY"), _value(values, "DATA"), _counted(values)
            likeness = _Likeness.of(listed, begin, stop)
        yield found


class _Likeness:
    """Where the values of an element of a counted map are, and what is between them."""

    __slots__ = ("_between", "_size", "_spans")

    def __init__(self, listed: bytes, begin: int, stop: int, spans: tuple[tuple[int, int], ...]) -> None:
        self._size = stop - begin
        self._spans = spans
        self._between = self._rest(listed, begin, stop)

    @classmethod
    def of(cls, listed: bytes, begin: int, stop: int) -> _Likeness | None:
        """None for an element of another kind."""
        found: dict[int, tuple[int, int]] = {}
        for kind, inner, last in attributes(listed, begin, stop):
            if kind in (_KEY, _DATA):
                for which, first, end in attributes(listed, inner, last):
                    if which == 1:
                        found[kind] = first, end
            elif kind == _EXPR:
                found.update(_counter_spans(listed, inner, last))
            else:
                return None
        wanted = (_KEY, _DATA, *_COUNTERS)
        if any(kind not in found for kind in wanted):
            return None
        spans = tuple([(found[kind][0] - begin, found[kind][1] - begin) for kind in wanted])
        return cls(listed, begin, stop, spans) if list(spans) == sorted(spans) else None

    def _rest(self, listed: bytes, begin: int, stop: int) -> bytes:
        (k0, k1), (d0, d1), (b0, b1), (p0, p1) = self._spans
        return (
            listed[begin : begin + k0] + listed[begin + k1 : begin + d0] + listed[begin + d1 : begin + b0]
            + listed[begin + b1 : begin + p0] + listed[begin + p1 : stop]
        )  # fmt: skip

    def read(self, listed: bytes, begin: int, stop: int) -> ElementValues | None:
        """The values of an element; None if it is not like the first one."""
        if stop - begin != self._size or self._rest(listed, begin, stop) != self._between:
            return None
        (k0, k1), (d0, d1), (b0, _), (p0, _) = self._spans
        counts = _COUNTS(listed, begin + p0)[0], _COUNTS(listed, begin + b0)[0]
        return listed[begin + k0 : begin + k1], listed[begin + d0 : begin + d1], counts


_COUNTERS = (101, 102)  # bytes and packets, beside the kinds of an element's attributes


def _counter_spans(listed: bytes, begin: int, stop: int) -> dict[int, tuple[int, int]]:
    """Of an expression that is a counter: where its bytes and its packets are."""
    parts = {kind: (inner, last) for kind, inner, last in attributes(listed, begin, stop)}
    if 1 not in parts or 2 not in parts or listed[slice(*parts[1])] != b"counter\0":
        return {}
    counts = {kind: (inner, last) for kind, inner, last in attributes(listed, *parts[2]) if last - inner == 8}
    return {100 + kind: span for kind, span in counts.items() if kind in (1, 2)}


def _value(values: dict[str, object], name: str) -> bytes | None:
    data = values.get(f"NFTA_SET_ELEM_{name}")
    value = data.get("NFTA_DATA_VALUE") if isinstance(data, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return value if isinstance(value, bytes) else None


def _counted(values: dict[str, object]) -> tuple[int, int]:
    found = values.get("NFTA_SET_ELEM_EXPR")
    content = found.get("NFTA_EXPR_DATA") if isinstance(found, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(content, bytes):
        return 0, 0
    counter = decode(EXPRESSION_POLICIES["counter"], content, 0, len(content))
    packets, size = counter.get("NFTA_COUNTER_PACKETS"), counter.get("NFTA_COUNTER_BYTES")
    return (packets, size) if isinstance(packets, int) and isinstance(size, int) else (0, 0)
