"""The kernel's ring of packets: AF_PACKET with TPACKET_V3 (packet(7)), and the thread that empties it.

The kernel writes packets into blocks and hands over one that is full, or that has had a packet for a while.
The thread copies a block as it is, a megabyte by one write(2), and gives it back; nothing is parsed there.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
from contextlib import suppress
from threading import Thread
from time import monotonic
from weakref import WeakSet

from netkit._capture.spool import BLOCK, Spool

_SOL_PACKET = 263
_RX_RING, _STATISTICS, _VERSION = 5, 6, 10
_TPACKET_V3 = 2
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 3
_STATUS = 8  # of a block: where its status is
_TO_KERNEL, _TO_USER = 0, 1
_BLOCK_BYTES = 1 << 20  # more than the largest packet (64 KB, and 512 KB with BIG TCP)
_FRAME_BYTES = 1 << 11
_RETIRE_MS = 10  # a block with a packet is handed over after so long
_PATIENCE = 5.0  # seconds for the kernel's timer to hand over the last block: milliseconds, but under load
_STATISTICS_SIZE = 12  # struct tpacket_stats_v3
_NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)  # the filter that lets nothing pass: BPF_RET | BPF_K


class Ring:
    """A bound socket with its ring, which a thread empties into a spool."""

    def __init__(self, opened: socket.socket, spool: Spool, size: int) -> None:
        self._socket = opened
        self._spool = spool
        self._blocks = max(2, size // _BLOCK_BYTES)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._memory: mmap.mmap | None = None
        self._thread: Thread | None = None
        self._packets = self._drops = self._taken = 0
        self._next = 0
        self._is_asked = False
        _rings.add(self)

    def start(self, program: bytes, index: int) -> None:
        """Begin to catch what passes a link, or all of them (0). ``program`` is the filter."""
        frames = self._blocks * _BLOCK_BYTES // _FRAME_BYTES
        request = struct.pack("=7I", _BLOCK_BYTES, self._blocks, _FRAME_BYTES, frames, _RETIRE_MS, 0, 0)
        self._attach(program)
        self._socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        self._socket.setsockopt(_SOL_PACKET, _RX_RING, request)
        self._memory = mmap.mmap(self._socket.fileno(), self._blocks * _BLOCK_BYTES)
        self._thread = Thread(target=self._empty, name="netkit-capture", daemon=True)
        self._thread.start()
        self._bind(index)  # it was made for no protocol: nothing has come unfiltered

    def _attach(self, program: bytes) -> None:
        import ctypes

        code = ctypes.create_string_buffer(program, len(program))
        filled = struct.pack("HP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filled)

    def _bind(self, index: int) -> None:
        """By index, as Python's own bind() does not: a name may change, and 0 has none."""
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(_ETH_P_ALL), index, 0, 0, 0, b"")
        if libc.bind(self._socket.fileno(), address, len(address)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def _empty(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLERR)
        poll.register(self._wake, select.POLLIN)
        deadline: float | None = None
        while True:
            ready = dict(poll.poll(None if deadline is None else _RETIRE_MS))
            took = self._take_blocks()
            if self._wake in ready:
                poll.unregister(self._wake)
                deadline = monotonic() + _PATIENCE
            elif took:
                continue
            elif ready.get(self._socket.fileno(), 0) & ~select.POLLIN:
                self._clear_error()  # ENETDOWN: the link went down or away; it may come back
            elif deadline is not None and (self._has_all() or monotonic() > deadline):
                break
        self._spool.end()

    def _has_all(self) -> bool:
        """Whether all packets that the kernel has counted were handed over."""
        packets, drops = self.statistics()
        return self._taken >= packets - drops

    def _clear_error(self) -> None:
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def _take_blocks(self) -> bool:
        assert self._memory is not None
        took = False
        view = memoryview(self._memory)
        while True:
            start = self._next * _BLOCK_BYTES
            _, _, status, count, _, length = BLOCK.unpack_from(view, start)
            if not status & _TO_USER:
                view.release()
                return took
            took = True
            self._taken += count
            block = view[start : start + length]
            self._spool.add(block)
            block.release()
            struct.pack_into("=I", view, start + _STATUS, _TO_KERNEL)
            self._next = (self._next + 1) % self._blocks

    def statistics(self) -> tuple[int, int]:
        """Packets that passed the filter, and those of them for which there was no room."""
        if self._socket.fileno() >= 0:  # the kernel begins anew with each look
            data = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _STATISTICS_SIZE)
            packets, drops, _ = struct.unpack("=3I", data)
            self._packets += packets
            self._drops += drops
        return self._packets, self._drops

    def ask_to_stop(self) -> None:
        """Let nothing more pass; what is in the ring comes within some milliseconds."""
        if self._thread is not None and not self._is_asked:
            self._is_asked = True
            self._attach(_NOTHING)
            os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Catch nothing more; what was caught is in the spool when this returns."""
        if self._socket.fileno() < 0:
            return
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join()
            self.statistics()
        self._spool.end()
        self._close()

    def _close(self) -> None:
        if self._memory is not None:
            self._memory.close()
        self._socket.close()
        os.close(self._wake)

    def abandon(self) -> None:
        """In a forked child: it is the parent's, and would keep the namespace alive here."""
        if self._socket.fileno() >= 0:
            with suppress(BufferError):  # the thread, which is not in the child, was looking at it
                self._close()


_rings: WeakSet[Ring] = WeakSet()


def _after_fork_in_child() -> None:
    for ring in list(_rings):
        ring.abandon()


os.register_at_fork(after_in_child=_after_fork_in_child)
