"""The one reused netlink socket of a namespace and protocol.

The kernel has done its work when `send` returns, so a request costs one send and one
receive. One lock covers both: several threads may share the socket. Each request has a
sequence number of its own, and whatever answers an older one is dropped, so an interrupt
in the middle (Ctrl-C) costs nothing but that request.
"""

from __future__ import annotations

import errno
from _socket import MSG_DONTWAIT, MSG_TRUNC
from _thread import allocate_lock
from struct import Struct
from time import monotonic_ns

import netkit._forks as forks
from netkit._netlink.batch import SEQUENCE_MASK, packed, split
from netkit._netlink.refusal import explain
from netkit._netlink.transport import LostError, drain, not_received, not_sent, set_options
from netkit._netlink.wire import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_ECHO,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_MIN_TYPE,
    Refusal,
    Request,
    messages,
    one_object,
    parse_acknowledgement,
    parse_done,
)
from netkit.errors import KernelError, ProtocolError, StateError, WaitTimeout, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from netkit._netlink.transport import Transport

    T = TypeVar("T")

# The kernel fills at most 32 KiB per dump datagram; single replies are rarely longer.
_BUFFER_SIZE = 64 * 1024
# Buffers are lent for an exchange: an idle socket has none.
_NO_BUFFER = bytearray()
_free_buffers: list[bytearray] = []
_READ_TRIES = 8
_DUMP = NLM_F_REQUEST | NLM_F_DUMP
# Nearly every answer to a change: a capped ACK that says 0. Header, error, and the request's header.
_plain_ack = Struct("=IHHIIi").unpack_from
_PLAIN_ACK_SIZE = 36

Reply = tuple[int, memoryview, int, int]
"""Type of the message, the datagram, and where in it the body begins and ends."""


class NetlinkSocket:
    """A netlink socket that was opened inside the namespace it speaks to.

    It takes over the file descriptor of `sock` and sets extended and capped ACKs and
    strict checking. `label` is how error messages call the namespace; `missing_capability`
    tells which one the caller lacks when the kernel answers EPERM.
    """

    __slots__ = (
        "_buffer",
        "_dirty",
        "_lock",
        "_pid",
        "_sequence",
        "_sock",
        "label",
        "missing_capability",
    )

    def __init__(
        self,
        sock: Transport,
        label: str | None = None,
        missing_capability: Callable[[], str | None] | None = None,
    ) -> None:
        self._sock: Transport | None = sock
        self._lock = allocate_lock()
        self._sequence = monotonic_ns() & SEQUENCE_MASK
        self._buffer = _NO_BUFFER
        self._pid = forks.pid
        self._dirty = False
        self.label = label
        self.missing_capability = missing_capability
        set_options(sock)

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._sock is None

    def fileno(self) -> int:
        """The descriptor, -1 when closed."""
        return self._sock.fileno() if self._sock is not None else -1

    def close(self) -> None:
        """Release the descriptor, after an exchange of another thread; a second call does nothing."""
        with self._lock:
            self.forget()

    def forget(self) -> None:
        """Release the descriptor at once: in a forked child the lock may be a thread's of the parent."""
        sock, self._sock = self._sock, None
        self.missing_capability = None  # leads back to who has this: garbage that waits for the collector
        if sock is not None:
            sock.close()

    # -- requests ---------------------------------------------------------------

    def request(self, request: Request) -> list[Reply]:
        """Send one message, wait for its ACK, and return what came with it (usually nothing)."""
        refusal, replies = self._exchange((request,), self._collect_answer)
        if refusal is not None:
            raise self._explain(request, refusal)
        return replies

    def get(self, request: Request) -> Reply:
        """Send one message, without NLM_F_ACK, that the kernel answers with exactly one object."""
        for _ in range(_READ_TRIES):
            try:
                refusal, reply = self._exchange((request,), self._collect_one)
            except LostError:
                continue
            if reply is not None:
                return reply
            if refusal is not None:
                raise self._explain(request, refusal)
            raise ProtocolError(f"the kernel acknowledged '{request.operation}' without an answer")
        raise ProtocolError(f"the answer to '{request.operation}' was lost {_READ_TRIES} times")

    def make(self, request: Request) -> Reply:
        """Send one change and return what the kernel has made, which it tells in place of an ACK.

        For what the kernel tells to whoever asks for an echo: else no answer would come.
        """
        request.flags = request.flags & ~NLM_F_ACK | NLM_F_ECHO
        try:
            refusal, reply = self._exchange((request,), self._collect_one)
        except LostError as problem:
            raise _unknown(request, problem) from problem
        if refusal is not None:
            raise self._explain(request, refusal)
        if reply is None:
            raise ProtocolError(f"the kernel acknowledged '{request.operation}' without an answer")
        return reply

    def batch(self, requests: Sequence[Request]) -> list[KernelError | None]:
        """Send many messages at once; one outcome per message, in order.

        The kernel goes on after a refused message: the caller decides what is undone.

        It answers a refused message even without NLM_F_ACK, in order (netlink_rcv_skb in
        net/netlink/af_netlink.c): so only the last one asks for an ACK, which says that all is answered.
        """
        outcomes: list[KernelError | None] = []
        for part in split(requests):
            if len(part) > 1 and not [1 for request in part if not request.flags & NLM_F_ACK]:
                refusals = self._exchange(part, self._collect_refusals, quiet=True)
            else:
                refusals, _ = self._exchange(part, self._collect_writing)
            outcomes += self._explained(part, refusals)
        return outcomes

    def _explained(
        self, requests: Sequence[Request], refusals: list[Refusal | None]
    ) -> Sequence[KernelError | None]:
        if not any(refusals):
            return [None] * len(refusals)
        return [
            None if refusal is None else self._explain(request, refusal)
            for request, refusal in zip(requests, refusals, strict=True)
        ]

    def transact(self, requests: Sequence[Request]) -> list[Reply]:
        """Like batch, in one send however long; returns the answers, raises the first refusal.

        For what the kernel takes as a whole, such as an nfnetlink batch. There, an error on
        a message that wants no ACK (the batch's begin) is the only answer that comes.
        """
        refusals, replies = self._exchange(requests, self._collect_writing)
        for request, refusal in zip(requests, refusals, strict=True):
            if refusal is not None:
                raise self._explain(request, refusal)
        return replies

    def dump(self, request: Request) -> list[Reply]:
        """All objects of a kind, read again when the list changed meanwhile or was lost in part.

        Raises BusyError when that happened every time.
        """
        for _ in range(_READ_TRIES):
            try:
                refusal, replies, interrupted = self._exchange((request,), self._collect_dump, _DUMP)
            except LostError:
                continue
            if refusal is not None:
                raise self._explain(request, refusal)
            if not interrupted:
                return replies
        raise kernel_error(
            request.operation,
            errno.EAGAIN,
            netns=self.label,
            extack=f"the list changed during each of {_READ_TRIES} reads (NLM_F_DUMP_INTR)",
        )

    def _explain(self, request: Request, refusal: Refusal) -> KernelError:
        return explain(request, refusal, self.label, self.missing_capability)

    # -- the exchange itself ------------------------------------------------------

    def _exchange(
        self,
        requests: Sequence[Request],
        collect: Callable[[Sequence[Request], int], T],
        flags: int = NLM_F_REQUEST,
        quiet: bool = False,
    ) -> T:
        with self._lock:
            self._buffer = _free_buffers.pop() if _free_buffers else bytearray(_BUFFER_SIZE)
            try:
                sock = self._sock
                if sock is None or self._dirty or self._pid != forks.pid:
                    sock = self._ready()
                request, first = requests[0], self._sequence
                self._sequence = (first + len(requests)) & SEQUENCE_MASK
                self._dirty = True
                if len(requests) == 1:
                    data = request.pack(first, flags)
                else:
                    kept, last = (~NLM_F_ACK, first + len(requests) - 1) if quiet else (~0, -1)
                    data = packed(requests, first, flags, kept, last)
                try:
                    sock.send(data)
                except OSError as problem:
                    not_sent(sock, data, request, self.label, problem)
                result = collect(requests, first)
                self._dirty = False
                return result
            finally:
                _free_buffers.append(self._buffer)
                self._buffer = _NO_BUFFER

    # -- its part of an exchange with many sockets, whose lock is held: see many.py ---------------

    def _prepared(self, requests: Sequence[Request]) -> tuple[Transport, bytes, int]:
        """By what to send, what, and the number of the first message; no ACK is asked for."""
        sock = self._sock
        if sock is None or self._dirty or self._pid != forks.pid:
            self._buffer = bytearray(_BUFFER_SIZE)
            try:
                sock = self._ready()
            finally:
                self._buffer = _NO_BUFFER
        first = self._sequence
        self._sequence = (first + len(requests)) & SEQUENCE_MASK
        self._dirty = True
        return sock, packed(requests, first, NLM_F_REQUEST, ~NLM_F_ACK), first

    def _accepted(self, requests: Sequence[Request]) -> Sequence[KernelError | None]:
        """There is no answer, so nothing was refused."""
        self._dirty = False
        return [None] * len(requests)

    def _answered(self, requests: Sequence[Request], first: int) -> Sequence[KernelError | None]:
        """What was refused, of what has been answered already."""
        refusals: list[Refusal | None] = [None] * len(requests)
        self._buffer = bytearray(_BUFFER_SIZE)
        try:
            while True:
                _note_refusals(
                    self._received(self._receive(requests[0], MSG_TRUNC | MSG_DONTWAIT)), first, refusals
                )
        except WaitTimeout:  # that was all
            self._dirty = False
            return self._explained(requests, refusals)
        except LostError as problem:
            raise _unknown(requests[0], problem) from problem
        finally:
            self._buffer = _NO_BUFFER

    # -- what answers ---------------------------------------------------------------

    def _collect_answer(self, requests: Sequence[Request], first: int) -> tuple[Refusal | None, list[Reply]]:
        """The outcome of the one message, and what came before it."""
        replies: list[Reply] = []
        while True:
            try:
                size = self._receive(requests[0])
            except LostError as problem:
                raise _unknown(requests[0], problem) from problem
            if size == _PLAIN_ACK_SIZE:
                _, kind, _, sequence, _, error = _plain_ack(self._buffer)
                if kind == NLMSG_ERROR and error == 0 and sequence == first:
                    return None, replies
            data = self._received(size)
            whole = one_object(data, first)
            if whole is not None:
                replies.append(whole)
                continue
            for kind, flags, sequence, start, end in messages(data):
                if sequence != first:
                    continue  # answers a request that was interrupted earlier
                if kind == NLMSG_ERROR:
                    return parse_acknowledgement(data, flags, start, end), replies
                if kind >= NLMSG_MIN_TYPE:
                    replies.append((kind, data, start, end))

    def _collect_writing(
        self, requests: Sequence[Request], first: int
    ) -> tuple[list[Refusal | None], list[Reply]]:
        """One outcome for each message that asked for an ACK."""
        refusals: list[Refusal | None] = [None] * len(requests)
        waiting = {
            (first + n) & SEQUENCE_MASK for n, request in enumerate(requests) if request.flags & NLM_F_ACK
        }
        replies: list[Reply] = []
        while waiting:
            try:
                size = self._receive(requests[0])
            except LostError as problem:
                raise _unknown(requests[0], problem) from problem
            if size == _PLAIN_ACK_SIZE:
                _, kind, _, sequence, _, error = _plain_ack(self._buffer)
                if kind == NLMSG_ERROR and error == 0 and sequence in waiting:
                    waiting.discard(sequence)
                    continue
            data = self._received(size)
            for kind, flags, sequence, start, end in messages(data):
                index = (sequence - first) & SEQUENCE_MASK
                if index >= len(requests):
                    continue  # answers a request that was interrupted earlier
                if kind == NLMSG_ERROR:
                    refusals[index] = refusal = parse_acknowledgement(data, flags, start, end)
                    if sequence not in waiting and refusal is not None:
                        return refusals, replies
                    waiting.discard(sequence)
                elif kind >= NLMSG_MIN_TYPE:
                    replies.append((kind, data, start, end))
        return refusals, replies

    def _collect_refusals(self, requests: Sequence[Request], first: int) -> list[Refusal | None]:
        """The outcomes of messages of which only the last one asked for an ACK."""
        refusals: list[Refusal | None] = [None] * len(requests)
        last = (first + len(requests) - 1) & SEQUENCE_MASK
        while True:
            try:
                size = self._receive(requests[0])
            except LostError as problem:
                raise _unknown(requests[0], problem) from problem
            if size == _PLAIN_ACK_SIZE:
                _, kind, _, sequence, _, error = _plain_ack(self._buffer)
                if kind == NLMSG_ERROR and error == 0 and sequence == last:
                    return refusals
            if _note_refusals(self._received(size), first, refusals):
                return refusals

    def _collect_one(self, requests: Sequence[Request], first: int) -> tuple[Refusal | None, Reply | None]:
        """The one object, or the refusal, that answers a request without ACK."""
        while True:
            data = self._received(self._receive(requests[0]))
            whole = one_object(data, first)
            if whole is not None:
                return None, whole
            for kind, flags, sequence, start, end in messages(data):
                if sequence != first:
                    continue
                if kind == NLMSG_ERROR:
                    return parse_acknowledgement(data, flags, start, end), None
                if kind >= NLMSG_MIN_TYPE:
                    return None, (kind, data, start, end)

    def _collect_dump(
        self, requests: Sequence[Request], first: int
    ) -> tuple[Refusal | None, list[Reply], bool]:
        """Every object up to NLMSG_DONE, and whether the list changed meanwhile."""
        replies: list[Reply] = []
        interrupted = False
        while True:
            data = self._received(self._receive(requests[0]))
            for kind, flags, sequence, start, end in messages(data):
                if sequence != first:
                    continue
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                if kind >= NLMSG_MIN_TYPE:
                    replies.append((kind, data, start, end))
                elif kind == NLMSG_DONE:
                    return parse_done(data, flags, start, end), replies, interrupted
                elif kind == NLMSG_ERROR:
                    return parse_acknowledgement(data, flags, start, end), replies, interrupted

    def _ready(self) -> Transport:
        sock = self._sock
        if sock is None:
            raise StateError(f"the netlink socket of {self.label or 'this namespace'} is closed")
        if self._pid != forks.pid:
            raise StateError(
                "this netlink socket was opened before fork(): two processes would read each "
                "other's answers. Open the namespace again in the child"
            )
        if self._dirty:
            drain(sock, self._buffer)
            self._dirty = False
        return sock

    def _receive(self, request: Request, flags: int = MSG_TRUNC) -> int:
        """The size of the next datagram from the kernel, which is whole in the buffer."""
        sock = self._sock
        if sock is None:
            raise StateError(f"the netlink socket was closed during '{request.operation}'")
        try:
            size, sender = sock.recvfrom_into(self._buffer, 0, flags)
            while sender[0] != 0:  # another process may send to our port; only port id 0 is the kernel
                size, sender = sock.recvfrom_into(self._buffer, 0, flags)
        except OSError as problem:
            not_received(request, problem)
        if size > len(self._buffer):  # it was cut: with MSG_TRUNC its whole size is told
            self._buffer = bytearray(2 * size)
            raise LostError(f"an answer of {size} bytes did not fit")
        return size

    def _received(self, size: int) -> memoryview:
        """A copy of what was received, which outlives the loan of the buffer."""
        return memoryview(self._buffer[:size])


def _unknown(request: Request, problem: LostError) -> ProtocolError:
    return ProtocolError(f"the outcome of '{request.operation}' is unknown: {problem}. Read back what exists")


def _note_refusals(data: memoryview, first: int, refusals: list[Refusal | None]) -> bool:
    """What a datagram refuses, by the number of the request; whether the last one is answered."""
    answered = -1
    for kind, flags, sequence, start, end in messages(data):
        index = (sequence - first) & SEQUENCE_MASK
        if kind == NLMSG_ERROR and index < len(refusals):
            refusals[index] = parse_acknowledgement(data, flags, start, end)
            answered = index
    return answered == len(refusals) - 1
