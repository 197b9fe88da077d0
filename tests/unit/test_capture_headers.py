"""Headers of packets: scapy's or our own bytes parsed, and no bytes that make the parser fail."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netkit import SpecError, UnsupportedError
from netkit._capture import Packet, filters, pcapng
from netkit._capture.headers import parse

MACS = bytes.fromhex("020000000002") + bytes.fromhex("020000000001")
IPV4 = bytes.fromhex("4510 0028 0001 0000 40 06 0000 0a000001 0a000002".replace(" ", ""))
TCP = bytes.fromhex("1f90 0050 00000001 00000002 5012 ffff 0000 0000".replace(" ", ""))
UDP = bytes.fromhex("0035 1f90 000c 0000".replace(" ", "")) + b"body"
ARP = bytes.fromhex("0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002".replace(" ", ""))
IPV6 = bytes.fromhex("60b00000 0014 06 40".replace(" ", "")) + bytes(15) + b"\1" + bytes(15) + b"\2"
EXTENSIONS = bytes.fromhex("60000000 0024 00 40".replace(" ", "")) + IPV6[8:]


def frame(kind: int, body: bytes, *tags: int) -> bytes:
    """An Ethernet frame with VLAN tags."""
    vlans = b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags)
    return MACS + vlans + struct.pack("!H", kind) + body


def test_tcp_over_ipv4_in_a_vlan() -> None:
    found = parse(frame(0x0800, IPV4 + TCP, 5 << 13 | 42))
    assert found.ethernet is not None
    assert (found.ethernet.src, found.ethernet.dst) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert [(vlan.id, vlan.priority) for vlan in found.vlans] == [(42, 5)]
    assert found.ip is not None
    assert (found.ip.version, str(found.ip.src), str(found.ip.dst), found.ip.ttl, found.ip.tos) == (
        4, "10.0.0.1", "10.0.0.2", 64, 0x10,
    )  # fmt: skip
    assert found.tcp is not None
    assert (found.tcp.sport, found.tcp.dport, found.tcp.flags) == (8080, 80, "SA")
    assert (found.tcp.seq, found.tcp.ack, found.tcp.window) == (1, 2, 65535)


def test_the_padding_of_a_short_frame_is_no_payload() -> None:
    short = bytearray(IPV4)
    short[2:4] = (0, 32)
    short[9] = 17
    found = parse(frame(0x0800, bytes(short) + UDP + bytes(14)))
    assert found.udp is not None
    assert (found.udp.sport, found.udp.dport, found.payload) == (53, 8080, b"body")


def test_ipv6_with_extension_headers() -> None:
    hop, fragment = bytes([44, 0, 1, 4, 0, 0, 0, 0]), bytes([6, 0, 0, 1, 0, 0, 0, 9])
    found = parse(frame(0x86DD, EXTENSIONS + hop + fragment + TCP))
    assert found.ip is not None
    assert (found.ip.proto, found.ip.fragment, str(found.ip.dst)) == (6, 0, "::2")
    assert found.tcp is not None
    assert found.tcp.dport == 80
    later = parse(frame(0x86DD, EXTENSIONS + hop + fragment[:2] + b"\0\x08" + fragment[4:] + TCP))
    assert later.tcp is None
    assert later.ip is not None
    assert later.ip.fragment == 8


def test_arp() -> None:
    packet = Packet(0, "eth0", "broadcast", frame(0x0806, ARP), 42)
    assert str(packet) == "eth0 broadcast arp who has 10.0.0.2 tell 10.0.0.1, length 42"
    assert str(packet.dst) == "10.0.0.2"


def test_a_device_without_ethernet() -> None:
    assert (
        str(Packet(0, "tun0", "in", IPV6 + TCP, 60, False))
        == "tun0 in [::1]:8080 > [::2]:80 tcp SA, length 60"
    )
    assert str(Packet(0, "tun0", "in", b"", 0, False)) == "tun0 in what no header is known of, length 0"


@pytest.mark.parametrize(
    "whole", [frame(0x0800, IPV4 + TCP, 7), frame(0x86DD, IPV6 + TCP), frame(0x0806, ARP)]
)
def test_cut_at_every_byte(whole: bytes) -> None:
    for end in range(len(whole)):
        packet = Packet(0, "eth0", "in", whole[:end], len(whole))
        assert str(packet)
        assert repr(packet)
        assert len(packet) == len(whole)


@given(st.binary(max_size=200), st.booleans())
@example(frame(0x0800, b"\x4f" + bytes(19)), True)
def test_no_bytes_are_too_strange(data: bytes, has_ethernet: bool) -> None:
    assert str(Packet(0, "eth0", "in", data, len(data), has_ethernet))


@given(st.binary(max_size=100))
def test_no_ip_packet_is_too_strange(data: bytes) -> None:
    for kind, head in ((0x0800, IPV4), (0x86DD, IPV6), (0x86DD, EXTENSIONS)):
        found = parse(frame(kind, head + data))
        assert found.ip is not None


def test_values_are_frozen_and_compared() -> None:
    one, two = (parse(frame(0x0800, IPV4 + TCP)) for _ in range(2))
    assert one.tcp == two.tcp
    assert one.ip == two.ip
    with pytest.raises(AttributeError):
        one.tcp.dport = 81  # type: ignore[misc, union-attr]


def test_a_filter_s_program_is_the_kernel_s() -> None:
    assert filters.compiled(None, 96) == struct.pack("=HBBI", 6, 0, 0, 96)
    program = filters.compiled("tcp port 80", 262144)
    assert len(program) % 8 == 0
    assert len(program) > 80


@pytest.mark.parametrize(
    ("bad", "words"), [("tcp prt 80", "not understood: .*syntax"), (7, "give text"), ("a\0b", "NUL")]
)
def test_a_filter_that_is_wrong(bad: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        filters.compiled(bad, 100)


def test_blocks_of_a_file_fit_together(tmp_path: Path) -> None:
    now = time.time_ns()
    packets = [
        Packet(now, "eth0", "out", frame(0x0800, IPV4 + TCP), 54),
        Packet(now + 1, "tun0", "in", IPV6 + TCP, 2000, False),
        Packet(now + 2, "eth0", "in", b"odd", 3),
    ]
    assert pcapng.write(tmp_path / "file", packets, 100) == 3
    data, at, kinds = (tmp_path / "file").read_bytes(), 0, []
    while at < len(data):
        kind, length = struct.unpack_from("=II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("=I", data, at + length - 4) == (length,)
        kinds.append(kind)
        at += length
    assert kinds == [0x0A0D0D0A, 1, 6, 1, 6, 6]
    assert at == len(data)


def test_a_library_that_is_missing_is_named_and_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", load)
    with pytest.raises(UnsupportedError) as raised:
        filters._library()
    assert str(raised.value).startswith("cannot compile a filter. libpcap is not installed (")
