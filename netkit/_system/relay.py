"""A relay on one thread: what arrives at a listening socket goes on to another address, and back.

It is for ``::1`` alone, from where no packet can be translated to another host: RFC 4291 2.5.3 forbids a
loopback address as the source of what leaves. The thread lives while there is something to relay.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from errno import EINPROGRESS, EMFILE, ENETDOWN, ENFILE
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from threading import Event, Lock, Thread
from time import monotonic

from netkit.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Opens a socket of a family, kind and protocol in the namespace.
    Opener = Callable[[int, int, int], socket.socket]
    Address = tuple[str, int]

CHUNK = 64 * 1024
_IDLE = 60.0  # seconds after which a client of UDP is forgotten
_MOST_CLIENTS = 1024  # of one UDP port
_PATIENCE = 1.0
_LOCAL = "::1"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


class Relay:
    """All relaying of this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: Loop | None = None
        self._ports: dict[socket.socket, Port] = {}

    def add(self, listener: socket.socket, target: Address, open_socket: Opener) -> None:
        """Relay what arrives at the listener (stream or datagram) from now on."""
        kind = _kind_of(listener)
        listener.setblocking(False)
        with self._lock:
            if self._loop is None:
                self._loop = Loop()
            port = self._ports[listener] = kind(self._loop, listener, target, open_socket)
            self._loop.call(port.begin)

    def remove(self, listener: socket.socket) -> None:
        """Stop, and close what goes through; when it returns the listener is not used any more."""
        with self._lock:
            port, loop = self._ports.pop(listener, None), self._loop
            if port is None or loop is None:
                return
            loop.call(port.end)
            if not self._ports:
                self._loop = None
                loop.stop()

    def forget(self) -> None:
        """In a forked child, where the thread is not: close what was inherited."""
        loop, ports = self._loop, list(self._ports.values())
        self._lock, self._loop, self._ports = Lock(), None, {}
        if loop is not None:
            for port in ports:
                port.close_all()
            loop.close()


def _kind_of(listener: socket.socket) -> type[Port]:
    if listener.type != socket.SOCK_STREAM:
        return DatagramPort
    if listener.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) != socket.IPPROTO_SCTP:
        return StreamPort
    from netkit._system.relay_sctp import MessagePort

    return MessagePort


class Loop:
    """The thread: it calls back when a socket is ready, and what others ask it to."""

    def __init__(self) -> None:
        self.selector = DefaultSelector()
        self.tick: set[Callable[[float], object]] = set()  # called now and then with the time
        self.later: list[Callable[[], object]] = []  # called once, after a second
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.selector.register(self._wake[0], EVENT_READ)
        self._calls: deque[tuple[Callable[[], object], Event]] = deque()
        self._stopped = False
        self._thread = Thread(target=self._run, name="netkit-relay", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], object]) -> None:
        """Have it called on the thread, and wait until it was."""
        done = Event()
        self._calls.append((function, done))
        os.write(self._wake[1], b"\0")
        while not done.wait(_PATIENCE):
            if not self._thread.is_alive():  # it was ended by what nobody foresaw, which its traceback says
                function()
                return

    def stop(self) -> None:
        """End the thread."""
        self.call(self._stop)
        self._thread.join()
        self.close()

    def _stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """Release the descriptors."""
        self.selector.close()
        for end in self._wake:
            os.close(end)

    def _run(self) -> None:
        while not self._stopped:
            later, self.later = self.later, []
            for key, events in self.selector.select(_PATIENCE if later else _IDLE / 2 if self.tick else None):
                if key.data is None:
                    _empty(self._wake[0])
                else:
                    key.data(events)
            for resume in later:
                resume()
            for tick in list(self.tick):
                tick(monotonic())
            while self._calls:
                function, done = self._calls.popleft()
                try:
                    function()
                finally:
                    done.set()


def _empty(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            continue
    except BlockingIOError:
        return


class Port:
    """A published port: its listener, and where it leads."""

    def __init__(self, loop: Loop, listener: socket.socket, target: Address, open_socket: Opener) -> None:
        self.loop = loop
        self.listener = listener
        self.target = target
        self._open_socket = open_socket

    def begin(self) -> None:
        """Listen."""
        self.loop.selector.register(self.listener, EVENT_READ, self.arrived)

    def end(self) -> None:
        """Listen no more, and end what goes through."""
        if self.listener in self.loop.selector.get_map():
            self.loop.selector.unregister(self.listener)
        self.close_all()

    def arrived(self, events: int) -> None:
        """Something is at the listener."""
        raise NotImplementedError

    def close_all(self) -> None:
        """Close the sockets of what goes through, not the listener."""
        raise NotImplementedError

    def connected(self, kind: int) -> socket.socket:
        """A socket on its way to the target; OSError if there is none."""
        return self.connect(self.opened(kind, 0))

    def opened(self, kind: int, protocol: int) -> socket.socket:
        """A socket of the target's family."""
        family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
        try:
            sock = self._open_socket(family, kind, protocol)
        except StateError as problem:  # the namespace is going
            raise OSError(ENETDOWN, str(problem)) from problem
        sock.setblocking(False)
        return sock

    def connect(self, sock: socket.socket) -> socket.socket:
        """Send it on its way to the target."""
        error = sock.connect_ex(self.target)
        if error not in (0, EINPROGRESS):
            sock.close()
            raise OSError(error, os.strerror(error))
        return sock


# -- streams --------------------------------------------------------------------------


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
            if name[0] != _LOCAL:
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


# -- datagrams ------------------------------------------------------------------------


class DatagramPort(Port):
    """A port of UDP: each client has a socket of its own towards the target, while it is in use."""

    def __init__(self, loop: Loop, listener: socket.socket, target: Address, open_socket: Opener) -> None:
        super().__init__(loop, listener, target, open_socket)
        self._clients: dict[tuple[str, int], tuple[socket.socket, float]] = {}  # oldest first

    def begin(self) -> None:
        """Listen."""
        super().begin()
        self.loop.tick.add(self.expire)

    def end(self) -> None:
        """Listen no more."""
        self.loop.tick.discard(self.expire)
        super().end()

    def arrived(self, events: int) -> None:
        """A datagram of a client goes to the target; one that is not from ::1 goes nowhere."""
        try:
            data, name = self.listener.recvfrom(CHUNK)
            if name[0] == _LOCAL:
                self._server_of((name[0], name[1])).send(data)
        except OSError:
            return  # as on any way, a datagram may be lost

    def _server_of(self, client: tuple[str, int]) -> socket.socket:
        known = self._clients.pop(client, None)
        if known is not None:
            server = known[0]
        else:
            if len(self._clients) >= _MOST_CLIENTS:
                self._drop(next(iter(self._clients)))
            server = self.connected(socket.SOCK_DGRAM)

            def answered(events: int) -> None:
                self._answered(client, server)

            self.loop.selector.register(server, EVENT_READ, answered)
        self._clients[client] = server, monotonic() + _IDLE
        return server

    def _answered(self, client: tuple[str, int], server: socket.socket) -> None:
        if server.fileno() < 0:
            return  # dropped in the same round
        try:
            self.listener.sendto(server.recv(CHUNK), client)
        except OSError:
            return  # nobody listens there, or the client has gone

    def expire(self, now: float) -> None:
        """Forget clients that are silent."""
        for client, (_, until) in list(self._clients.items()):
            if until > now:
                return
            self._drop(client)

    def _drop(self, client: tuple[str, int]) -> None:
        server, _ = self._clients.pop(client)
        self.loop.selector.unregister(server)
        server.close()

    def close_all(self) -> None:
        """Close the sockets towards the target."""
        for client in list(self._clients):
            self._drop(client)


relay = Relay()
os.register_at_fork(after_in_child=relay.forget)
