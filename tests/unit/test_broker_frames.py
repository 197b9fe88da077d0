"""The broker's messages: whatever comes, it is a message or a ProtocolError, and no descriptor is lost."""

from __future__ import annotations

import errno
import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netkit import errors
from netkit._system import broker_frames as frames
from netkit._system.broker_service import checked
from netkit._system.broker_values import decode, encode

Pair = tuple[Any, Any]

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=50)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
    | st.sampled_from(["\udcff\udc80", ""]),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=5), each, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def pair() -> Generator[Pair]:
    """Both ends of a connection."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    yield ours, theirs
    ours.close()
    theirs.close()


# -- values ---------------------------------------------------------------------------------------


@given(plain)
def test_a_value_comes_back(value: Any) -> None:
    try:
        data = encode(value)
    except ValueError:  # of what hypothesis makes, only this has no bytes
        with pytest.raises(ValueError, match="deep"):
            encode(value)
        return
    back = decode(data)
    assert back == value
    assert encode(back) == data  # 1 and True are equal, but not the same bytes


@given(st.binary(max_size=200))
@example(b"l\xff\xff\xff\xff")
@example(b"b\xff\xff\xff\xffx")
@example(b"d\1\0\0\0NN")
@example(b"l\1\0\0\0" * 20 + b"N")
@example(b"NN")
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    try:
        value = decode(data)
    except ValueError:
        return
    assert encode(value) == data or "d" in data.decode("latin-1")  # a key twice in a dict counts once


@given(plain, st.integers(0, 200), st.integers(1, 255))
def test_a_value_with_a_byte_changed_or_cut_off(value: Any, at: int, change: int) -> None:
    try:
        data = bytearray(encode(value))
    except ValueError:
        return
    at %= len(data)
    with pytest.raises(ValueError, match=r"cut short|more than there is"):
        decode(bytes(data[: len(data) - 1 - at % len(data)]))
    data[at] ^= change
    try:
        decode(bytes(data))
    except ValueError:
        return


@pytest.mark.parametrize("value", [2**63, 1.5, {1: 2}, object(), [[[[[[[[[[1]]]]]]]]]]])
def test_what_has_no_bytes(value: Any) -> None:
    with pytest.raises(ValueError, match=r"64 bits|no plain value|no str|deep"):
        encode(value)


# -- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1000, 32 * 1024 - 5, 32 * 1024 - 4, 3_000_000])
def test_a_message_of_any_size_with_its_descriptors(pair: Pair, size: int) -> None:
    read, write = os.pipe()
    frames.send(pair[0], frames.REQUEST, 7, b"x" * size, [write])
    frame = frames.receive(pair[1])
    assert frame is not None
    assert (frame.kind, frame.serial, frame.value) == (frames.REQUEST, 7, b"x" * size)
    assert len(frame.fds) == 1
    assert not os.get_inheritable(frame.fds[0])
    os.write(frame.fds[0], b"through")
    assert os.read(read, 10) == b"through"
    frames.close_all([read, write, *frame.fds])


def test_the_most_descriptors_of_one_message(pair: Pair) -> None:
    with Path(os.devnull).open() as file:
        frames.send(pair[0], frames.REPLY, 1, None, [file.fileno()] * frames.MOST_DESCRIPTORS)
    frame = frames.receive(pair[1])
    assert frame is not None
    assert len(set(frame.fds)) == frames.MOST_DESCRIPTORS
    frames.close_all(frame.fds)


def test_the_end_of_the_connection(pair: Pair) -> None:
    pair[0].close()
    assert frames.receive(pair[1]) is None


@given(st.binary(max_size=80))
def test_any_datagram_is_a_message_or_a_protocol_error(data: bytes) -> None:
    with pytest.raises(errors.ProtocolError):
        frames.parse(data, [])


@given(plain, st.integers(0, 15), st.integers(0, 255))
def test_a_header_with_a_byte_changed(value: Any, at: int, byte: int) -> None:
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        frames.send(ours, frames.REQUEST, 1, value)
        data = bytearray(theirs.recv(1 << 16))
        same = data[at] == byte
        data[at] = byte
        ours.send(data)
        try:
            frame = frames.receive(theirs)
        except errors.ProtocolError:
            assert not same
        else:
            assert frame is not None
            assert same or at == 6 or 8 <= at < 12  # the kind and the serial number may be others
    except ValueError:
        return
    finally:
        ours.close()
        theirs.close()


def test_another_version_says_what_to_do(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(frames, "VERSION", 2)
        frames.send(pair[0], frames.REQUEST, 1, None)
    with pytest.raises(errors.ProtocolError, match=r"version 2, this netkit speaks version 1.*start"):
        frames.receive(pair[1])


def test_descriptors_of_a_malformed_message_are_closed(pair: Pair) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Path(os.devnull).open() as file:
        rights = file.fileno().to_bytes(4, "little") * 3
        pair[0].sendmsg([b"nonsense that is no header"], [(1, 1, rights)])
    with pytest.raises(errors.ProtocolError):
        frames.receive(pair[1])
    assert len(os.listdir("/proc/self/fd")) == before


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [
        errors.kernel_error(
            "create veth 'x'",
            errno.EEXIST,
            extack="no",
            attribute="IFLA_X",
            netns="namespace 'a'",
            hint="Try",
        ),
        errors.kernel_error("enter", errno.EPERM, missing_capability="CAP_SYS_ADMIN"),
        errors.kernel_error("do", errno.EINVAL),
        errors.SpecError("a bad value"),
        errors.StateError("closed"),
        errors.WaitTimeout("too late"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
    ],
)
def test_an_error_comes_back_whole(problem: Exception) -> None:
    back = frames.error_of(frames.error_value(problem))
    assert type(back) is type(problem)
    assert str(back) == str(problem)
    assert getattr(back, "errno", None) == getattr(problem, "errno", None)
    for name in ("operation", "extack", "attribute", "netns", "hint"):
        assert getattr(back, name, None) == getattr(problem, name, None)


def test_a_failure_of_the_broker_s_own_is_told() -> None:
    back = frames.error_of(frames.error_value(ZeroDivisionError("division by zero")))
    assert isinstance(back, errors.ProtocolError)
    assert "ZeroDivisionError: division by zero" in str(back)


@given(st.dictionaries(st.sampled_from(["class", "errno", "text", "operation", "hint"]), plain))
@example({"class": "TeardownError"})
@example({"class": "CommandError"})
@example({"class": "__all__"})
def test_any_fields_are_some_error(fields: dict[str, Any]) -> None:
    assert isinstance(frames.error_of(fields), Exception)


# -- requests -------------------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.sampled_from(["request", "count", "path", "text", "key", "name", "family", "kind", "protocol"]),
        plain,
    ),
    st.integers(0, 3),
)
def test_no_request_is_believed(fields: dict[str, Any], count: int) -> None:
    with pytest.raises(errors.ProtocolError):
        checked(frames.Frame(frames.REQUEST, 1, fields, list(range(count))))


@pytest.mark.parametrize(
    ("fields", "fds"),
    [
        ({"request": "read", "path": "net/x"}, 0),
        ({"request": "read", "path": "net/x"}, 2),
        ({"request": "read", "path": "net/x", "more": 1}, 1),
        ({"request": "read"}, 1),
        ({"request": "read", "path": "net/\0"}, 1),
        ({"request": "read", "path": b"net/x"}, 1),
        ({"request": "create", "count": True, "detects_duplicates": False}, 0),
        ({"request": "create", "count": 1 << 40, "detects_duplicates": False}, 0),
        ({"request": "perform"}, 0),
        ({"request": "_create", "count": 1, "detects_duplicates": False}, 0),
    ],
)
def test_a_request_that_is_nearly_right(fields: dict[str, Any], fds: int) -> None:
    with pytest.raises(errors.ProtocolError):
        checked(frames.Frame(frames.REQUEST, 1, fields, list(range(fds))))


def test_a_right_request() -> None:
    frame = frames.Frame(frames.REQUEST, 1, {"request": "read", "path": "net/ipv4/ip_forward"}, [5])
    assert checked(frame) == ("read", {"path": "net/ipv4/ip_forward"})
