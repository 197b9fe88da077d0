"""The broker's messages: one datagram each, with descriptors beside it, and errors carried whole.

A header (magic, version, kind, serial number, size of the body), then the body, which is one value of
broker_values. A body that is too large for a datagram comes in a memfd, the first of the descriptors.
"""

from __future__ import annotations

import os
from _socket import (
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_TRUNC,
    SCM_RIGHTS,
    SOL_SOCKET,
    socket,
)
from errno import EMFILE
from struct import Struct

from netkit._system.broker_values import decode, encode
from netkit._system.passing import pass_descriptors
from netkit.errors import (
    AccessError,
    BackendError,
    BusyError,
    ExistsError,
    KernelError,
    NetkitError,
    NotFoundError,
    ProtocolError,
    SpecError,
    StateError,
    UnsupportedError,
    WaitTimeout,
    kernel_error,
    limit_error,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from netkit._system.broker_values import Value

VERSION = 1
REQUEST, REPLY, ERROR = 1, 2, 3
MOST_DESCRIPTORS = 250  # SCM_MAX_FD is 253 (include/net/scm.h); one may be the body
_MAGIC = b"nkbr"
_HEADER = Struct("=4sHBBII")
_INLINE, _MEMFD = 0, 1
_LARGEST_INLINE = 32 * 1024  # a datagram must fit into the socket's buffer
_LARGEST = 1 << 30
_ANCILLARY = CMSG_SPACE(4 * 253)
_ASKED = "do what was asked of the helper process of rootless namespaces"


class Frame:
    """A message as it came, with its descriptors, which the receiver closes."""

    __slots__ = ("fds", "kind", "serial", "value")

    def __init__(self, kind: int, serial: int, value: Value, fds: list[int]) -> None:
        self.kind = kind
        self.serial = serial
        self.value = value
        self.fds = fds

    def fields(self) -> dict[str, Value]:
        """The value, which must be a dict; ProtocolError."""
        if not isinstance(self.value, dict):
            raise ProtocolError("a broker's message that is no dict")
        return self.value


def send(sock: socket, kind: int, serial: int, value: Value, fds: Sequence[int] = ()) -> None:
    """Send one message."""
    body = encode(value)
    memfd = -1
    try:
        where = _INLINE
        passed = [*fds]
        if len(body) > _LARGEST_INLINE:
            where, memfd = _MEMFD, os.memfd_create("netkit-message")
            _write_all(memfd, body)
            passed.insert(0, memfd)
        header = _HEADER.pack(_MAGIC, VERSION, kind, where, serial & 0xFFFFFFFF, len(body))
        pass_descriptors(sock, header if where else header + body, passed)
    finally:
        if memfd >= 0:
            os.close(memfd)


def receive(sock: socket) -> Frame | None:
    """The next message; None at the end of the connection. ProtocolError for anything malformed."""
    data, ancillary, flags, _ = sock.recvmsg(_HEADER.size + _LARGEST_INLINE, _ANCILLARY, MSG_CMSG_CLOEXEC)
    fds = [
        int.from_bytes(rights[at : at + 4], "little")
        for level, kind, rights in ancillary
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
        for at in range(0, len(rights) - len(rights) % 4, 4)
    ]
    if not data and not fds:
        return None
    try:
        if flags & MSG_CTRUNC:
            raise kernel_error("receive descriptors", EMFILE)
        if flags & MSG_TRUNC:
            raise ProtocolError("a broker's message was cut")
        return parse(data, fds)
    except BaseException:
        close_all(fds)
        raise


def parse(data: bytes, fds: list[int]) -> Frame:
    """A datagram and its descriptors as a message; ProtocolError."""
    if len(data) < _HEADER.size:
        raise ProtocolError(f"a broker's message of {len(data)} bytes has no header")
    magic, version, kind, where, serial, size = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ProtocolError("no message of a netkit broker")
    if version != VERSION:
        raise ProtocolError(
            f"the broker's messages have version {version}, this netkit speaks version {VERSION}: "
            "netkit was updated while the program ran; start it again"
        )
    if kind not in (REQUEST, REPLY, ERROR) or where not in (_INLINE, _MEMFD) or size > _LARGEST:
        raise ProtocolError(f"a broker's message of kind {kind}, form {where} and size {size}")
    body = data[_HEADER.size :]
    if where == _MEMFD:
        if not fds or body:
            raise ProtocolError("a broker's message lacks its body")
        body = _read_all(fds, size)
    if len(body) != size:
        raise ProtocolError(f"a broker's message has {len(body)} of {size} bytes")
    try:
        return Frame(kind, serial, decode(body), fds)
    except ValueError as problem:
        raise ProtocolError(f"a broker's message is malformed: {problem}") from None


def _read_all(fds: list[int], size: int) -> bytes:
    try:
        return os.pread(fds[0], size + 1, 0)
    except OSError as problem:
        raise ProtocolError(f"a broker's message cannot be read: {problem.strerror}") from None
    finally:
        os.close(fds.pop(0))


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)


# -- errors ---------------------------------------------------------------------------------------


def error_value(problem: BaseException) -> dict[str, Value]:
    """An exception as plain values."""
    problem = limit_error(_ASKED, problem) or problem
    kind = type(problem).__name__
    if isinstance(problem, KernelError):
        return {
            "class": kind, "operation": problem.operation, "errno": problem.errno, "extack": problem.extack,
            "attribute": problem.attribute, "netns": problem.netns, "hint": problem.hint,
        }  # fmt: skip
    if isinstance(problem, NetkitError):
        return {"class": kind, "text": str(problem)}
    if isinstance(problem, OSError) and problem.errno is not None:
        return {"class": "OSError", "errno": problem.errno, "text": problem.strerror}
    return {"class": "ProtocolError", "text": f"the broker failed: {kind}: {problem}"}


_OF_A_TEXT: dict[object, type[NetkitError]] = {
    kind.__name__: kind for kind in (SpecError, StateError, ProtocolError, BackendError, WaitTimeout)
}
_OF_THE_KERNEL: dict[object, type[KernelError]] = {
    kind.__name__: kind
    for kind in (KernelError, ExistsError, NotFoundError, BusyError, AccessError, UnsupportedError)
}


def error_of(fields: dict[str, Value]) -> Exception:
    """The exception again: of the class it had, if that is one of netkit's."""
    name = fields.get("class")
    if not isinstance(name, str):
        name = None
    if name == "OSError":
        return OSError(_number(fields), _text(fields, "text"))
    if name in _OF_A_TEXT:
        return _OF_A_TEXT[name](_text(fields, "text"))
    kind = _OF_THE_KERNEL.get(name)
    if kind is None:
        return ProtocolError(f"the broker answered with an unknown error {name!r}")
    extack, attribute, netns, hint = (
        None if fields.get(each) is None else _text(fields, each)
        for each in ("extack", "attribute", "netns", "hint")
    )
    return kind(
        _text(fields, "operation"),
        _number(fields),
        extack=extack,
        attribute=attribute,
        netns=netns,
        hint=hint,
    )


def _text(fields: dict[str, Value], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _number(fields: dict[str, Value]) -> int:
    value = fields.get("errno")
    return value if isinstance(value, int) else 0
