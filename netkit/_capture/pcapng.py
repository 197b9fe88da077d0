"""pcapng files (draft-ietf-opsawg-pcapng): one section, a description per device, a block per packet."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    from netkit._capture.packet import Packet

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC = 0x1A2B3C4D
_NAME, _RESOLUTION, _FLAGS = 2, 9, 2  # options: if_name, if_tsresol, epb_flags
_NANOSECONDS = 9
_ETHERNET, _RAW = 1, 101  # LINKTYPE_...
# epb_flags: inbound or outbound, and how it was addressed: to one, many, all, or another one.
_DIRECTIONS = {"in": 0b00101, "multicast": 0b01001, "broadcast": 0b01101, "other": 0b10001, "out": 0b10}


def write(file: IO[bytes], packets: Iterable[Packet], snaplen: int) -> int:
    """Write all of them; how many."""
    file.write(_block(_SECTION, struct.pack("=IHHq", _MAGIC, 1, 0, -1)))
    interfaces: dict[tuple[str, bool], int] = {}
    count = 0
    for packet in packets:
        key = (packet.link, packet.has_ethernet)
        if key not in interfaces:
            interfaces[key] = len(interfaces)
            file.write(_block(_INTERFACE, _interface(packet, snaplen)))
        file.write(_block(_PACKET, _packet(packet, interfaces[key])))
        count += 1
    return count


def _interface(packet: Packet, snaplen: int) -> bytes:
    link_type = _ETHERNET if packet.has_ethernet else _RAW
    options = _option(_NAME, packet.link.encode()) + _option(_RESOLUTION, bytes([_NANOSECONDS]))
    return struct.pack("=HHI", link_type, 0, snaplen) + options + _option(0, b"")


def _packet(packet: Packet, interface: int) -> bytes:
    time = packet.time_ns
    head = struct.pack("=IIIII", interface, time >> 32, time & 0xFFFFFFFF, len(packet.raw), packet.length)
    options = _option(_FLAGS, struct.pack("=I", _DIRECTIONS.get(packet.direction, 0))) + _option(0, b"")
    return head + _padded(packet.raw) + options


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + length + body + length


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
