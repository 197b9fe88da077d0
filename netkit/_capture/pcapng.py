"""pcapng files (draft-ietf-opsawg-pcapng): one section, a description per device, a block per packet.

A file that can't be written to its end, as on a full disk, ends with the last block that is whole: it can be
read.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import FileIO

    from netkit._capture.packet import Packet

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC = 0x1A2B3C4D
_NAME, _RESOLUTION, _FLAGS = 2, 9, 2  # options: if_name, if_tsresol, epb_flags
_NANOSECONDS = 9
_ETHERNET, _RAW = 1, 101  # LINKTYPE_...
_AT_ONCE = 1 << 20  # bytes of one write(2)
# epb_flags: inbound or outbound, and how it was addressed: to one, many, all, or another one.
_DIRECTIONS = {"in": 0b00101, "multicast": 0b01001, "broadcast": 0b01101, "other": 0b10001, "out": 0b10}


def write(path: str | os.PathLike[str], packets: Iterable[Packet], snaplen: int) -> int:
    """Write all of them; how many. Raises OSError with the path."""
    count = 0
    with open(path, "wb", buffering=0) as file:
        writer = _Writer(file)
        try:
            for is_packet, block in _blocks(packets, snaplen):
                writer.add(block)
                count += is_packet
            writer.flush()
        except OSError as problem:
            if problem.errno is None:
                raise
            words = f"{problem.strerror}; the packets before are in it"
            raise OSError(problem.errno, words, os.fspath(path)) from None
    return count


class _Writer:
    """Blocks, many at once."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._waiting: list[bytes] = []
        self._size = self._written = 0

    def add(self, block: bytes) -> None:
        self._waiting.append(block)
        self._size += len(block)
        if self._size >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        data, done = memoryview(b"".join(self._waiting)), 0
        try:
            while done < len(data):
                done += self._file.write(data[done:])
        except OSError:
            with suppress(OSError):  # a pipe, or a device: nothing to cut
                self._file.truncate(self._written + self._whole(done))
            raise
        self._written += done
        self._waiting.clear()
        self._size = 0

    def _whole(self, done: int) -> int:
        """Bytes of those blocks that fitted as a whole."""
        size = 0
        for block in self._waiting:
            if size + len(block) > done:
                break
            size += len(block)
        return size


def _blocks(packets: Iterable[Packet], snaplen: int) -> Iterator[tuple[bool, bytes]]:
    """Of a file, with whether it is a packet's."""
    yield False, _block(_SECTION, struct.pack("=IHHq", _MAGIC, 1, 0, -1))
    interfaces: dict[tuple[str, bool], int] = {}
    for packet in packets:
        key = (packet.link, packet.has_ethernet)
        if key not in interfaces:
            interfaces[key] = len(interfaces)
            yield False, _block(_INTERFACE, _interface(packet, snaplen))
        yield True, _block(_PACKET, _packet(packet, interfaces[key]))


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
