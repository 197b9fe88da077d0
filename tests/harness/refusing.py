"""The real kernel, but the n-th netlink request is answered with an error, is lost, or its answer is cut.

    with Refusing() as kernel:
        host = kernel.namespace()
        kernel.refuse(3, errno.EBUSY)

All sockets that netkit opens in the block share one count. The kernel sees what comes before and behind a
refused request as usual, for it goes on after one; nf_tables takes all of a batch or nothing.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netkit import Namespace, _opener
from netkit._netlink.transport import NETLINK_NETFILTER
from netkit._netlink.wire import HEADER
from netkit._system.worker import create_namespace

if TYPE_CHECKING:
    from netkit._netlink.transport import Transport

_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_ERROR = 2
_LONGEST = 1 << 16

Datagram = bytes | OSError


class Refusing:
    """What goes wrong, and when. ``n`` counts requests from now on: 1 is the next."""

    def __init__(self) -> None:
        self.count = 0
        self.happened: str | None = None
        self._at = 0
        self._fault: int | str = 0
        self._real: Callable[[int], Transport] | None = None

    def __enter__(self) -> Refusing:
        self._real = _opener.netlink_transport
        _opener.netlink_transport = self._open
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._real is not None
        _opener.netlink_transport = self._real

    def namespace(self) -> Namespace:
        """A namespace that netkit did not make, as far as it knows: its host."""
        return Namespace.from_fd(create_namespace(lambda: None)[0])

    def refuse(self, n: int, fault: int | str) -> None:
        """At the n-th request: an errno, "truncated", or "lost" (done, but the answer did not fit)."""
        self._at, self._fault, self.happened = self.count + n, fault, None

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        self._at = 0

    def take(self, kind: int) -> int | str | None:
        """Count a request; what is to go wrong with it."""
        self.count += 1
        if self.count != self._at:
            return None
        self.happened = f"message type {kind:#x}"
        return self._fault

    def _open(self, protocol: int) -> Transport:
        assert self._real is not None
        return _Socket(self._real(protocol), self, protocol)


class _Socket:
    """Implements `Transport` over a real socket."""

    def __init__(self, real: Any, plan: Refusing, protocol: int) -> None:
        self._real = real
        self._plan = plan
        self._is_netfilter = protocol == NETLINK_NETFILTER
        self._listens = False
        self._queue: deque[Datagram] = deque()
        self.fileno = real.fileno
        self.gettimeout = real.gettimeout
        self.setblocking = real.setblocking
        self.setsockopt = real.setsockopt

    def close(self) -> None:
        self._real.close()
        self._queue.clear()

    def bind(self, address: tuple[int, int], /) -> None:
        self._listens = True
        self._real.bind(address)

    def send(self, data: bytes, /) -> int:
        messages = list(_split(data))
        if self._is_netfilter and _kind(messages[0]) == _BATCH_BEGIN:
            self._send_batch(messages)
            return len(data)
        passed: list[bytes] = []
        for message in messages:
            fault = self._plan.take(_kind(message))
            if fault is None:
                passed.append(message)
                continue
            self._pass_on(passed)
            passed = []
            self._fail(message, fault)
        self._pass_on(passed)
        return len(data)

    def _send_batch(self, messages: list[bytes]) -> None:
        faults = [self._plan.take(_kind(each)) for each in messages if _kind(each) != _BATCH_END]
        at = next((n for n, fault in enumerate(faults) if fault is not None), None)
        if at is None:
            self._pass_on(messages)
            return
        fault = faults[at]
        if isinstance(fault, int):
            self._queue.append(_refusal(messages[at], fault))
        else:
            self._fail(b"".join(messages), fault or "")

    def _fail(self, message: bytes, fault: int | str) -> None:
        if isinstance(fault, int):
            self._queue.append(_refusal(message, fault))
            return
        answers = self._asked(message)
        if not answers:
            return  # no answer was asked for: nobody hears of it
        if fault == "truncated":
            self._queue.extend(
                [each[: max(4, len(each) // 2)] for each in answers if isinstance(each, bytes)]
            )
        else:
            self._queue.append(OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)))

    def _pass_on(self, messages: list[bytes]) -> None:
        if messages:
            self._queue.extend(self._asked(b"".join(messages)))

    def _asked(self, data: bytes) -> list[Datagram]:
        """What the kernel answers; it has done so when send() returns."""
        self._real.send(data)
        answers: list[Datagram] = []
        while True:
            try:
                answers.append(self._real.recv(_LONGEST, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return answers
            except OSError as problem:
                answers.append(problem)

    def recvfrom_into(self, buffer: bytearray, size: int, flags: int, /) -> tuple[int, Any]:
        if self._listens:
            return self._real.recvfrom_into(buffer, size, flags)
        if not self._queue:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))  # nothing will come: never hang
        item = self._queue.popleft()
        if isinstance(item, OSError):
            raise item
        buffer[: len(item)] = item
        return len(item), (0, 0)


def _split(data: bytes) -> Any:
    at = 0
    while at < len(data):
        length = HEADER.unpack_from(data, at)[0]
        yield data[at : at + (length + 3 & ~3)]
        at += length + 3 & ~3


def _kind(message: bytes) -> int:
    return int(HEADER.unpack_from(message)[1])


def _refusal(message: bytes, number: int) -> bytes:
    """The kernel's NLMSG_ERROR with the header of what it refuses (NETLINK_CAP_ACK)."""
    head = message[: HEADER.size]
    sequence = HEADER.unpack_from(message)[3]
    capped = 0x100
    return (
        HEADER.pack(HEADER.size + 4 + len(head), _ERROR, capped, sequence, 0)
        + struct.pack("=i", -number)
        + head
    )
