"""What NetlinkSocket uses of a socket, and what the kernel is told and asked through it."""

from __future__ import annotations

import errno
from _socket import MSG_DONTWAIT, SO_RCVTIMEO, SO_SNDBUF, SOL_SOCKET  # socket's enums are slow
from struct import pack

from netkit._netlink.wire import Request
from netkit.errors import WaitTimeout, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn, Protocol

    class Transport(Protocol):
        """What is used of a socket; netkit.testing has one that is no socket."""

        def fileno(self) -> int: ...
        def close(self) -> None: ...
        def bind(self, address: tuple[int, int], /) -> None: ...
        def send(self, data: bytes, /) -> int: ...
        def gettimeout(self) -> float | None: ...
        def setblocking(self, flag: bool, /) -> None: ...
        def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...
        def recvfrom_into(self, buffer: bytearray, size: int, flags: int, /) -> tuple[int, Any]: ...


NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12

_SO_SNDBUFFORCE = 32
_PATIENCE = 60  # seconds; deleting 10 000 links holds the kernel's lock for most of one
_RECEIVE_TIMEOUT = pack("=qq", _PATIENCE, 0)  # struct timeval


class LostError(Exception):
    """Answers were lost to a full receive buffer, or did not fit: reading may be done again."""


def set_options(sock: Transport) -> None:
    """Ask for extended and capped acknowledgements and strict checking, and for an end of waiting."""
    # Each may be unknown to an old kernel; without it, less is explained but nothing breaks.
    for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK):
        try:
            sock.setsockopt(_SOL_NETLINK, option, 1)
        except OSError as problem:
            if problem.errno != errno.ENOPROTOOPT:
                raise
    # A timeout of the kernel's, since Python's own would cost a poll() per receive.
    if sock.gettimeout() is not None:  # socket.setdefaulttimeout
        sock.setblocking(True)
    sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, _RECEIVE_TIMEOUT)


def subscribe(sock: Transport, groups: Iterable[int]) -> None:
    """Join multicast groups (RTNLGRP_... up to 32), for a socket that only listens."""
    sock.bind((0, sum([1 << (group - 1) for group in groups])))


def not_sent(sock: Transport, data: bytes, request: Request, label: str | None, problem: OSError) -> None:
    """Try again what did not fit the send buffer, a transaction; KernelError for what cannot be sent."""
    try:
        if problem.errno != errno.EMSGSIZE:
            raise problem
        _enlarge(sock, len(data))
        sock.send(data)
    except OSError as refusal:
        raise kernel_error(request.operation, refusal.errno or errno.EIO, netns=label) from refusal


def _enlarge(sock: Transport, size: int) -> None:
    """Make the send buffer as large: beyond twice net.core.wmem_max the kernel lets only root."""
    sock.setsockopt(SOL_SOCKET, SO_SNDBUF, size)  # the kernel doubles it, for what it needs besides
    try:
        sock.setsockopt(SOL_SOCKET, _SO_SNDBUFFORCE, size)
    except PermissionError:
        return


def not_received(request: Request, problem: OSError) -> NoReturn:
    """Raise what it means that no answer could be received: LostError when the kernel dropped some."""
    if isinstance(problem, BlockingIOError):
        raise WaitTimeout(f"no answer to '{request.operation}' within {_PATIENCE} seconds") from problem
    if problem.errno != errno.ENOBUFS:
        raise problem
    raise LostError("the kernel dropped answers, for the socket's receive buffer was full") from problem


def drain(sock: Transport, buffer: bytearray) -> None:
    """Read away what is there, as an interrupted request leaves it; an unfinished dump ends this way too."""
    while True:
        try:
            sock.recvfrom_into(buffer, 0, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as problem:
            if problem.errno != errno.ENOBUFS:
                raise
