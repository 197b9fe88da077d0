"""The relay's ports of SCTP: its messages stay messages, each in its stream and with its protocol identifier.

By one-to-one sockets (sctp(7), RFC 6458), which Linux has where CONFIG_IP_SCTP is on.
"""

from __future__ import annotations

import socket
import struct
from errno import EMSGSIZE

from netkit._system.relay_loop import CHUNK
from netkit._system.relay_tcp import Pair, StreamPort

_SCTP = socket.IPPROTO_SCTP
# linux/sctp.h
_INITMSG, _NODELAY, _STATUS, _RECVRCVINFO = 2, 3, 14, 32
_SNDINFO, _RCVINFO = 2, 3  # kinds of ancillary data
_UNORDERED = 1
_INIT = struct.Struct("@HHHH")  # struct sctp_initmsg: streams out, most streams in, attempts, timeout
_IN_STATUS = struct.Struct("@iiIHHHH")  # struct sctp_status begins so; last are the streams in and out
_STATUS_SIZE = 256
_RECEIVED = struct.Struct("@HHHxxIIIIi")  # struct sctp_rcvinfo: stream, number in it, flags, identifier, ...
_SENT = struct.Struct("@HHIIi")  # struct sctp_sndinfo: stream, flags, identifier, context, association
_SPACE = socket.CMSG_SPACE(_RECEIVED.size)

_LARGEST = 1 << 20  # a message is passed on as a whole
_STREAMS = 1024  # that a server may send in; to it there are as many as the client has


def offer_streams(sock: socket.socket, count: int = _STREAMS) -> None:
    """Have so many streams to send in, of associations that are yet to come."""
    sock.setsockopt(_SCTP, _INITMSG, _INIT.pack(count, 0, 0, 0))


class MessagePort(StreamPort):
    """A port of SCTP."""

    def _joined(self, client: socket.socket) -> Pair:
        status = client.getsockopt(_SCTP, _STATUS, _STATUS_SIZE)
        streams = _IN_STATUS.unpack_from(status)[5]
        server = self.opened(socket.SOCK_STREAM, _SCTP)
        try:
            offer_streams(server, streams)
            for sock in (client, server):
                sock.setsockopt(_SCTP, _RECVRCVINFO, 1)
                sock.setsockopt(_SCTP, _NODELAY, 1)
        except OSError:
            server.close()
            raise
        return MessagePair(self, client, self.connect(server))


class MessagePair(Pair):
    """An association in two halves."""

    def __init__(self, port: StreamPort, client: socket.socket, server: socket.socket) -> None:
        self._parts = {client: b"", server: b""}  # by the socket that it came from
        self._about: dict[socket.socket, bytes] = {}  # what is pending, by the socket it is to be sent to
        super().__init__(port, client, server)

    def _read(self, sock: socket.socket) -> bytes | None:
        data, ancillary, flags, _ = sock.recvmsg(CHUNK, _SPACE)
        if not data:
            return b""
        whole = self._parts[sock] + data
        if not flags & socket.MSG_EOR:
            if len(whole) > _LARGEST:
                raise OSError(EMSGSIZE, "a message of SCTP that is too large to be relayed")
            self._parts[sock] = whole
            return None
        self._parts[sock] = b""
        self._about[self._other[sock]] = _passed_on(ancillary)
        return whole

    def _send(self, sock: socket.socket) -> None:
        data = self._pending[sock]
        if data:  # all of it, or BlockingIOError
            sock.sendmsg([data], [(_SCTP, _SNDINFO, self._about[sock])])
            self._pending[sock] = b""


def _passed_on(ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """How a message is to be sent that has come with this."""
    for level, kind, data in ancillary:
        if (level, kind) == (_SCTP, _RCVINFO):
            stream, _, flags, identifier, *_ = _RECEIVED.unpack_from(data)
            return _SENT.pack(stream, flags & _UNORDERED, identifier, 0, 0)
    return bytes(_SENT.size)
