"""The blocks of the ring, in a file without a name, and the packets that are in them."""

from __future__ import annotations

import os
import tempfile
from errno import EFBIG, EISDIR, ENOENT, EOPNOTSUPP
from struct import Struct
from threading import Condition

from netkit._capture.packet import DIRECTIONS, Packet
from netkit.errors import kernel_error, naming_limits, raise_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netkit._capture.filters import Matcher

# linux/if_packet.h: struct tpacket_block_desc with tpacket_hdr_v1; tpacket3_hdr; sockaddr_ll.
BLOCK = Struct("=IIIIII")  # version, offset of private data, status, packets, offset of the first, length
_PACKET = Struct("=IIIIIIHHIIHxx8x")  # next, sec, nsec, snaplen, len, status, mac, net, hash, vlan tci, tpid
_ADDRESS = Struct("=HHiHBB")
_VLAN_VALID, _TPID_VALID = 1 << 4, 1 << 6
_DOT1Q = 0x8100
_ETHERNET, _LOOPBACK = 1, 772  # ARPHRD_...: the link types whose frames begin with an Ethernet header
_OUTGOING = 4
_MAKING = "make a file for captured packets"


class Spool:
    """Written by the thread that empties the ring, read by whoever iterates."""

    def __init__(self, name_of: Callable[[int], str], limit: int, matches: Matcher | None = None) -> None:
        self._matches = matches  # what the kernel's filter can't do
        self._file = _unnamed_file()
        self._blocks: list[tuple[int, int]] = []
        self._size = 0
        self._limit = limit
        self._name_of = name_of
        self._changed = Condition()
        self.problem: Exception | None = None
        self.ended = False

    def add(self, block: memoryview) -> bool:
        """Keep a block; False if it can't be."""
        try:
            if self._size + len(block) > self._limit:
                raise OSError(EFBIG, os.strerror(EFBIG))
            self._write(block)
        except OSError as problem:
            self.problem = self.problem or self._full(problem)
            return False
        with self._changed:
            self._blocks.append((self._size, len(block)))
            self._size += len(block)
            self._changed.notify_all()
        return True

    def _write(self, block: memoryview) -> None:
        done = 0
        while done < len(block):
            done += os.pwrite(self._file, block[done:], self._size + done)

    def _full(self, problem: OSError) -> Exception:
        hint = f"{self._size >> 20} MB are kept in {tempfile.gettempdir()}, and TMPDIR= names another place"
        if problem.errno == EFBIG:
            hint = f"the limit of {self._limit >> 20} MB is reached, and limit= raises it"
        hint += "; a filter or a smaller snaplen helps, too; what came before is there"
        return kernel_error("keep the captured packets", problem.errno or 0, hint=hint)

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, number: int, timeout: float | None) -> bool:
        """Until there is a block of this number, or nothing more comes; False after the time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._blocks) > number or self.ended, timeout)

    def __len__(self) -> int:
        return len(self._blocks)

    def packets(self, number: int) -> Iterator[Packet]:
        """Those of a block."""
        start, length = self._blocks[number]
        data = os.pread(self._file, length, start)
        _, _, _, count, at, _ = BLOCK.unpack_from(data)
        for _ in range(count):
            packet = self._packet(data, at)
            if packet is not None:
                yield packet
            at += _PACKET.unpack_from(data, at)[0]

    def _packet(self, data: bytes, at: int) -> Packet | None:
        _, sec, nsec, snaplen, length, status, mac, _, _, tci, tpid = _PACKET.unpack_from(data, at)
        _, _, index, kind, direction, _ = _ADDRESS.unpack_from(data, at + _PACKET.size)
        if kind == _LOOPBACK and direction == _OUTGOING:
            return None  # it comes in again, and is caught there
        raw = data[at + mac : at + mac + snaplen]
        if status & _VLAN_VALID and len(raw) >= 12:
            tag = (tpid if status & _TPID_VALID else _DOT1Q).to_bytes(2, "big") + tci.to_bytes(4, "big")[2:]
            raw, length = raw[:12] + tag + raw[12:], length + 4
        if self._matches is not None:
            if not self._matches(raw, length):
                return None
            raw = raw[: self._matches.snaplen]
        direction_text = DIRECTIONS.get(direction, str(direction))
        name = self._name_of(index)
        return Packet(sec * 10**9 + nsec, name, direction_text, raw, length, kind in (_ETHERNET, _LOOPBACK))

    def close(self) -> None:
        """Let the file go."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            self.close()


def _unnamed_file() -> int:
    """A file that is gone when it is closed, by whatever end."""
    with naming_limits(_MAKING):
        directory = _directory()
        try:
            return _opened(directory)
        except OSError as problem:
            raise_limit(_MAKING, problem)
            hint = f"It is the directory {directory} for temporary files; TMPDIR= names another place"
            raise kernel_error(_MAKING, problem.errno or 0, hint=hint) from None


def _directory() -> str:
    """Where temporary files are: one in which Python could make one."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as problem:
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))  # or it was for want of a descriptor, which it hides
        raise kernel_error(_MAKING, ENOENT, hint=f"{problem.strerror}; TMPDIR= names another") from None


def _opened(directory: str) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        if problem.errno not in (EISDIR, EOPNOTSUPP):  # a file system that has none of these
            raise
    file, name = tempfile.mkstemp(dir=directory)
    os.unlink(name)
    return file
