"""The relay's ports of TCP: connections, each as two halves."""

from __future__ import annotations

import socket
import struct
from errno import EMFILE, ENFILE
from selectors import EVENT_READ, EVENT_WRITE

from netkit._system.relay_loop import CHUNK, LOCAL, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from netkit._system.relay_loop import Address, Loop, Opener

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


class StreamPort(Port):
    """A port of TCP."""

    def __init__(self, loop: Loop, listener: socket.socket, target: Address, open_socket: Opener) -> None:
        super().__init__(loop, listener, target, open_socket)
        self.pairs: set[Pair] = set()

    def arrived(self, events: int) -> None:
        """Accept; who is not at ::1 gets a reset, as if nobody listened."""
        try:
            client, name = self.listener.accept()
        except OSError as problem:
            if problem.errno in (EMFILE, ENFILE):  # it would be told again at once, and again
                self.loop.selector.unregister(self.listener)
                self.loop.later.append(self._resume)
            return
        client.setblocking(False)
        try:
            if name[0] != LOCAL:
                raise ConnectionRefusedError
            self.pairs.add(self._joined(client))
        except OSError:
            reset(client)

    def _joined(self, client: socket.socket) -> Pair:
        return Pair(self, client, self.connected(socket.SOCK_STREAM))

    def _resume(self) -> None:
        if self.listener.fileno() >= 0 and self.listener not in self.loop.selector.get_map():
            self.begin()

    def end(self) -> None:
        """Accept no more."""
        if self._resume in self.loop.later:
            self.loop.later.remove(self._resume)
        super().end()

    def close_all(self) -> None:
        """Reset all connections."""
        for pair in list(self.pairs):
            pair.close()


def reset(sock: socket.socket) -> None:
    """Close so that the other side learns that nothing came of it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


class Pair:
    """A connection in two halves, each with what it read and the other has not taken yet."""

    def __init__(self, port: StreamPort, client: socket.socket, server: socket.socket) -> None:
        self._port = port
        self._selector = port.loop.selector
        self._other = {client: server, server: client}
        self._pending = {client: b"", server: b""}  # by the socket that it is to be sent to
        self._ended: set[socket.socket] = set()  # those from which nothing more comes
        self._closed = False
        for sock in (client, server):
            self._selector.register(sock, EVENT_READ | (EVENT_WRITE if sock is server else 0), self._on(sock))

    def _on(self, sock: socket.socket) -> Callable[[int], None]:
        return lambda events: self._ready(sock, events)

    def _ready(self, sock: socket.socket, events: int) -> None:
        if self._closed:
            return  # by what came in the same round
        try:
            if events & EVENT_WRITE:
                self._send(sock)
            if events & EVENT_READ:
                self._receive(sock)
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._want()

    def _receive(self, sock: socket.socket) -> None:
        other = self._other[sock]
        if self._pending[other]:
            return
        data = self._read(sock)
        if data is None:
            return
        if not data:
            self._ended.add(sock)
            other.shutdown(socket.SHUT_WR)
            return
        self._pending[other] = data
        self._send(other)

    def _read(self, sock: socket.socket) -> bytes | None:
        """What has come; nothing at the end; None if more of it has to come first."""
        return sock.recv(CHUNK)

    def _send(self, sock: socket.socket) -> None:
        data = self._pending[sock]
        if data:
            self._pending[sock] = data[sock.send(data) :]

    def _want(self) -> None:
        """Wait for what can happen next: to read only what the other side has room for."""
        if len(self._ended) == 2 and not any(self._pending.values()):
            self.close(politely=True)
            return
        for sock, other in self._other.items():
            readable = sock not in self._ended and not self._pending[other]
            wanted = (EVENT_READ if readable else 0) | (EVENT_WRITE if self._pending[sock] else 0)
            known = self._selector.get_map().get(sock)
            if known is None and wanted:
                self._selector.register(sock, wanted, self._on(sock))
            elif known is not None and not wanted:
                self._selector.unregister(sock)
            elif known is not None and known.events != wanted:
                self._selector.modify(sock, wanted, known.data)

    def close(self, politely: bool = False) -> None:
        """End both halves; unless politely, by a reset."""
        self._closed = True
        self._port.pairs.discard(self)
        for sock in self._other:
            if sock in self._selector.get_map():
                self._selector.unregister(sock)
            sock.close() if politely else reset(sock)
