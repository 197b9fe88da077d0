"""The relay's ports of UDP: clients, each with a socket of its own towards the target."""

from __future__ import annotations

import socket
from selectors import EVENT_READ
from time import monotonic

from netkit._system.relay_loop import CHUNK, IDLE, LOCAL, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._system.relay_loop import Address, Loop, Opener

_MOST_CLIENTS = 1024  # of one port


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
            if name[0] == LOCAL:
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
        self._clients[client] = server, monotonic() + IDLE
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
