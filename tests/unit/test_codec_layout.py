"""What was learnt from one message never changes what is read of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._netlink.layout import Field, Nest, Reader
from netkit._netlink.wire import attribute, nested, text, u32
from netkit.errors import ProtocolError

if TYPE_CHECKING:
    from netkit._netlink.layout import Shape

SHAPE: Shape = {
    1: Field(1),
    2: Field(2, "I"),
    3: Nest({1: Field(3), 9: Field(4, "II")}),
    7: Nest({}, Field(6)),
}
DEFAULTS = (None, 0, None, 0, 0, None)


def reader() -> Reader:
    """A reader that knows no message yet."""
    return Reader("a thing", "=I", SHAPE, DEFAULTS)


def outcome(chosen: Reader, message: bytes) -> object:
    """What is read, or how it is refused."""
    try:
        return chosen.read(memoryview(b"????" + message), 4, 4 + len(message))
    except ProtocolError as problem:
        return str(problem)


MEMBERS = st.one_of(
    st.builds(attribute, st.integers(0, 9), st.binary(max_size=12)),
    st.builds(
        lambda *members: nested(3, *members),
        *[st.builds(attribute, st.integers(0, 9), st.binary(max_size=9))] * 2,
    ),
    st.binary(max_size=6),
)
MESSAGES = st.builds(lambda parts: b"head" + b"".join(parts), st.lists(MEMBERS, max_size=4))


@given(st.lists(MESSAGES, max_size=12), st.data())
def test_warm_and_cold_read_the_same(messages: list[bytes], data: st.DataObject) -> None:
    warm = reader()
    for message in messages:
        bent = bytearray(message)
        bent[data.draw(st.integers(0, len(bent) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        for each in (message, bytes(bent), message[:-1], message):
            assert outcome(warm, each) == outcome(reader(), each)


def test_fields() -> None:
    message = (
        b"\1\0\0\0"
        + text(1, "a")
        + u32(2, 5)
        + nested(3, text(1, "veth"), attribute(9, bytes([7, *bytes(7)])))
    )
    for _ in range(2):
        assert outcome(reader(), message) == (1, b"a\0", 5, b"veth\0", 7, 0, None)
    assert outcome(reader(), b"\2\0\0\0") == (2, None, 0, None, 0, 0, None)


def test_the_last_of_equal_attributes_counts() -> None:
    message = b"head" + text(1, "a") + text(1, "b")
    assert reader().read(message, 0, len(message))[1] == b"b\0"


@pytest.mark.parametrize(
    "message",
    [
        b"hea",
        b"head" + attribute(2, b"\0\0\0"),
        b"head\5\0\1",
        b"head\3\0\1\0",
        b"head" + nested(3, b"\x09\0\1\0\0\0\0\0"),
        b"head" + u32(2, 5) + b"\0\0",
        b"head" + nested(7, b"\0\0\0\1\0"),
    ],
)
def test_malformed(message: bytes) -> None:
    chosen = reader()
    for _ in range(2):
        with pytest.raises(ProtocolError):
            chosen.read(message, 0, len(message))


def test_it_forgets() -> None:
    """Messages of ever new lengths do not fill the memory."""
    chosen = reader()
    for size in range(2000):
        message = b"head" + attribute(1, bytes(size))
        assert chosen.read(message, 0, len(message))[1] == bytes(size)
    assert len(chosen._layouts) <= 256
    for number in range(100):
        message = b"head" + u32(100 + number, 1)
        chosen.read(message, 0, len(message))
    assert len(chosen._layouts[12]) == 8
