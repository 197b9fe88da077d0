"""A netlink socket that is none: what is sent to it is answered by the simulated namespace."""

from __future__ import annotations

import errno
import os
import socket as _socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from netkit._netlink.wire import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    messages,
)
from netkit._testing.messages import (
    Message,
    Refused,
    acknowledgement,
    dump_parts,
    packed,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from netkit._testing.faults import Fault, Faults
    from netkit._testing.namespace import FakeNetns

SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK = 10, 11

_GET = 2  # the types come in fours: new, delete, get, set (net/core/rtnetlink.c)


class FakeTransport:
    """Implements what NetlinkSocket uses of a socket. An empty queue is BlockingIOError at once, for
    nothing can come later: a test never hangs."""

    def __init__(
        self,
        netns: FakeNetns,
        faults: Faults,
        lock: AbstractContextManager[bool],
        seen: Callable[[bool, FakeNetns, Message], None],
    ) -> None:
        self.netns = netns
        self.options: set[int] = set()
        self.groups: set[int] = set()
        self._faults = faults
        self._lock = lock
        self._seen = seen
        self._bound = False
        self._queue: deque[tuple[bytes, int] | BaseException] = deque()
        # A descriptor of its own, so that what is left open is found by its number.
        self._fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        netns.transports.add(self)

    # -- what a socket does -------------------------------------------------------

    def fileno(self) -> int:
        """A descriptor that stands for the socket."""
        return self._fd

    def close(self) -> None:
        """Leave the multicast groups."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self.netns.transports.discard(self)

    def bind(self, address: tuple[int, int], /) -> None:
        """Take a port id, without which no event comes, and join groups: one bit for each."""
        self._bound = True
        self.groups.update([bit + 1 for bit in range(32) if address[1] >> bit & 1])

    def gettimeout(self) -> float | None:
        """None: nothing ever blocks here."""
        return None

    def setblocking(self, flag: bool, /) -> None:
        """It is so anyway."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        """Options of SOL_NETLINK are kept."""
        if level == SOL_NETLINK:
            self.options.add(option)

    def send(self, data: bytes, /) -> int:
        """Do what the messages ask, one after the other, and queue the answers."""
        if self._fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        with self._lock:
            self._bound = True
            asked = [
                Message(kind, flags, sequence, bytes(data[start:end]))
                for kind, flags, sequence, start, end in messages(data)
            ]
            problem = self._faults.peek(len(asked))
            if problem is not None:
                raise problem
            for position, message in enumerate(asked):
                self._seen(not position, self.netns, message)
                self._serve(message, self._faults.next())
        return len(data)

    def recvfrom_into(self, buffer: bytearray, size: int, flags: int, /) -> tuple[int, tuple[int, int]]:
        """The next datagram, cut to the buffer as the kernel does."""
        if self._fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if not self._queue:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        item = self._queue.popleft()
        if isinstance(item, BaseException):
            raise item
        data, sender = item
        room = len(buffer)
        buffer[: min(len(data), room)] = data[:room]
        return (len(data) if flags & _socket.MSG_TRUNC else min(len(data), room)), (sender, 0)

    # -- what the kernel does -----------------------------------------------------

    def deliver(self, datagram: bytes) -> None:
        """Queue an event, for a socket that has a port id."""
        if not self._bound:
            return
        self._queue.append((datagram, 0))

    def overrun(self) -> None:
        """Tell that datagrams were dropped because the receive buffer was full."""
        self._queue.append(OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)))

    def _serve(self, message: Message, fault: Fault | None) -> None:
        if fault is None:
            self._queue.extend([(part, 0) for part in self._answers(message, None, 0)])
            return
        for function in fault.before:
            function()
        self._queue.extend(fault.datagrams)
        if fault.stale:
            old = Message(message.kind, message.flags, message.sequence - 1, message.body)
            self._queue.append((self._acknowledge(old, Refused(errno.EPERM)), 0))
        marks = NLM_F_DUMP_INTR if fault.interrupted else 0
        answers = self._answers(message, fault.refusal, marks)
        if fault.on_receive is not None:
            self._queue.append(fault.on_receive)
            if isinstance(fault.on_receive, OSError):
                return  # lost: nothing of it will come
        self._queue.extend([(part[: fault.truncate], 0) for part in answers])

    def _answers(self, message: Message, refusal: Refused | None, marks: int) -> list[bytes]:
        """The datagrams that answer a message, after doing what it asks."""
        parts: list[bytes] = []
        try:
            if refusal is not None:
                raise refusal
            if message.kind % 4 == _GET and message.flags & NLM_F_DUMP == NLM_F_DUMP:
                kind, bodies = self.netns.dump(message)
                return dump_parts(message.sequence, kind, bodies, marks)
            parts = [packed(kind, message.sequence, body) for kind, body in self.netns.do(message)]
        except Refused as problem:
            return [self._acknowledge(message, problem)]
        if message.flags & NLM_F_ACK:
            parts.append(self._acknowledge(message, None))
        return parts

    def _acknowledge(self, message: Message, refusal: Refused | None) -> bytes:
        return acknowledgement(message, refusal, _CAP_ACK in self.options, _EXT_ACK in self.options)
