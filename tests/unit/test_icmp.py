"""ICMP echo packets: built and parsed without a kernel."""

from __future__ import annotations

import pickle
import signal
import socket
import struct
import sys
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._system.icmp import PingResult, ping
from netkit._system.icmp_packets import FILTER_6, checksum, echo_request, parse
from netkit.errors import SpecError

HERE, THERE = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
HERE_6, THERE_6 = bytes(15) + b"\1", bytes(15) + b"\2"

numbers = st.integers(0, 0xFFFF)
payloads = st.binary(max_size=200)


def ipv4(source: bytes, destination: bytes, message: bytes, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    header = struct.pack("!BBHHHBBH", 4 << 4 | words, 0, words * 4 + len(message), 0, 0, 64, 1, 0)
    return header + source + destination + options + message


def ipv6(source: bytes, destination: bytes, message: bytes, protocol: int = 58) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(message), protocol, 64) + source + destination + message


def with_checksum(message: bytes) -> bytes:
    plain = message[:2] + b"\0\0" + message[4:]
    return plain[:2] + struct.pack("!H", checksum(plain)) + plain[4:]


def as_reply(request: bytes, ipv6: bool) -> bytes:
    message = bytes([129 if ipv6 else 0]) + request[1:]
    return message if ipv6 else with_checksum(message)


def test_the_checksum_of_the_rfc() -> None:
    # RFC 1071, section 3: the words 0001 f203 f4f5 f6f7 sum up to ddf2
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


@given(st.binary(min_size=4, max_size=300).map(lambda data: data[: len(data) // 2 * 2]))
def test_a_packet_with_its_checksum_sums_to_zero(data: bytes) -> None:
    assert checksum(with_checksum(data)) == 0


@given(st.binary(max_size=99).map(lambda data: data + b"x" * (len(data) % 2 == 0)))
def test_an_odd_length_is_padded_with_zero(data: bytes) -> None:
    assert len(data) % 2 == 1
    assert checksum(data) == checksum(data + b"\0")


@given(st.booleans(), numbers, numbers, payloads, st.sampled_from([b"", b"\1" * 4, b"\1" * 40]))
def test_a_reply_is_recognised(
    v6: bool, identifier: int, sequence: int, payload: bytes, options: bytes
) -> None:
    reply = as_reply(echo_request(v6, identifier, sequence, payload), v6)
    received = reply if v6 else ipv4(THERE, HERE, reply, options)
    destination = THERE_6 if v6 else THERE
    assert parse(v6, received, identifier, destination) == ("reply", sequence)
    assert parse(v6, received, identifier ^ 1, destination) is None


@given(st.booleans(), numbers, numbers, payloads)
def test_our_own_request_is_no_answer(v6: bool, identifier: int, sequence: int, payload: bytes) -> None:
    request = echo_request(v6, identifier, sequence, payload)
    received = request if v6 else ipv4(HERE, THERE, request)
    assert parse(v6, received, identifier, THERE_6 if v6 else THERE) is None


@given(numbers, numbers, payloads, st.sampled_from([3, 11, 12]), st.integers(0, 15))
def test_an_error_for_our_packet_is_recognised(
    identifier: int, sequence: int, payload: bytes, kind: int, code: int
) -> None:
    request = ipv4(HERE, THERE, echo_request(False, identifier, sequence, payload))
    error = with_checksum(struct.pack("!BBHI", kind, code, 0, 0) + request[:28])
    received = ipv4(bytes([10, 0, 0, 254]), HERE, error)
    assert parse(False, received, identifier, THERE) == ("error", sequence)
    assert parse(False, received, identifier, HERE) is None
    assert parse(False, received, identifier ^ 1, THERE) is None


@given(numbers, numbers, payloads, st.sampled_from([1, 2, 3, 4]), st.booleans())
def test_an_error_for_our_ipv6_packet_is_recognised(
    identifier: int, sequence: int, payload: bytes, kind: int, fragmented: bool
) -> None:
    request = echo_request(True, identifier, sequence, payload)
    quoted = ipv6(HERE_6, THERE_6, request)
    if fragmented:
        quoted = ipv6(HERE_6, THERE_6, struct.pack("!BBHI", 58, 0, 1, 7) + request, protocol=44)
    received = struct.pack("!BBHI", kind, 0, 0, 0) + quoted
    assert parse(True, received, identifier, THERE_6) == ("error", sequence)
    assert parse(True, received, identifier, HERE_6) is None


def test_a_damaged_packet_is_ignored() -> None:
    reply = ipv4(THERE, HERE, as_reply(echo_request(False, 7, 1, b"payload"), False))
    assert parse(False, reply, 7, THERE) == ("reply", 1)
    damaged = reply[:-1] + bytes([reply[-1] ^ 1])
    assert parse(False, damaged, 7, THERE) is None


@given(st.booleans(), st.binary(max_size=120), numbers)
def test_parsing_junk_is_none_and_never_an_exception(v6: bool, data: bytes, identifier: int) -> None:
    found = parse(v6, data, identifier, THERE_6 if v6 else THERE)
    assert found is None or found[0] in ("reply", "error")


@given(st.booleans(), st.integers(0, 130), st.integers(0, 130), st.integers(0, 255))
def test_a_cut_or_changed_error_is_never_an_exception(v6: bool, cut: int, where: int, byte: int) -> None:
    request = echo_request(v6, 7, 1, bytes(56))
    if v6:
        data = struct.pack("!BBHI", 1, 0, 0, 0) + ipv6(HERE_6, THERE_6, request)
    else:
        error = with_checksum(struct.pack("!BBHI", 3, 1, 0, 0) + ipv4(HERE, THERE, request))
        data = ipv4(THERE, HERE, error)
    data = (data[:where] + bytes([byte]) + data[where + 1 :])[:cut]
    found = parse(v6, data, 7, THERE_6 if v6 else THERE)
    assert found is None or (found[0] in ("error", "reply") and 0 <= found[1] <= 0xFFFF)


def test_the_ipv6_filter_passes_replies_and_errors_only() -> None:
    words = struct.unpack("=8I", FILTER_6)
    passed = {kind for kind in range(256) if not words[kind // 32] >> kind % 32 & 1}
    assert passed == {1, 2, 3, 4, 129}


def test_figures_of_a_result() -> None:
    result = PingResult(4, [0.5, 0.25, 0.75])
    assert (result.sent, result.received, result.loss) == (4, 3, 0.25)
    assert (result.min, result.avg, result.max) == (0.25, 0.5, 0.75)
    assert str(result) == "4 sent, 3 received, 25% loss, min/avg/max 250.000/500.000/750.000 ms"
    assert result == PingResult(4, (0.5, 0.25, 0.75)) != PingResult(4, [0.5])
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(AttributeError, match="frozen"):
        result.sent = 5


def test_figures_of_a_result_without_an_answer() -> None:
    result = PingResult(2, [])
    assert (result.loss, result.min, result.avg, result.max) == (1.0, None, None, None)
    assert str(result) == "2 sent, 0 received, 100% loss"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("fe80::1", "link-local"),
        ("fe80::1%", "belongs to an IPv6 address"),
        ("10.0.0.1%eth0", "belongs to an IPv6 address"),
        ("10.0.0.1/24", "without the prefix length"),
        ("example.org", "no IP address"),
    ],
)
def test_a_bad_target_is_refused_before_a_socket_is_opened(address: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ping(lambda *_: pytest.fail("a socket was opened"), address)


def test_an_interrupt_at_any_call_closes_the_socket() -> None:
    """The socket is nobody's yet when it has just been opened."""
    opened: list[socket.socket] = []

    def open_socket(*_: int) -> socket.socket:
        opened.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))  # it cannot send to port 0: a loss
        return opened[-1]

    points = at = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal points
        if event == "call" and opened and not frame.f_code.co_filename.endswith("signals.py"):
            points += 1
            if points == at:
                signal.raise_signal(signal.SIGINT)

    def interrupted(number: int) -> bool:
        nonlocal points, at
        points, at = 0, number
        opened.clear()
        sys.setprofile(profile)
        try:
            ping(open_socket, "127.0.0.1", timeout=0.0)
        except KeyboardInterrupt:
            return True
        finally:
            sys.setprofile(None)
        return False

    assert not interrupted(0)
    count = points
    assert count > 3
    hits = 0
    for number in range(1, count + 1):
        hits += interrupted(number)
        assert [each.fileno() for each in opened] == [-1], number
    assert hits
