"""A relay on one thread: what arrives at a listening socket goes on to another address, and back.

It is for ``::1`` alone, from where no packet can be translated to another host: RFC 4291 2.5.3 forbids a
loopback address as the source of what leaves. The thread lives while there is something to relay.

    relay_loop.py   the thread, and what ports of all protocols have in common
    relay_tcp.py    connections
    relay_udp.py    datagrams
    relay_sctp.py   messages, where a port of SCTP is published
"""

from __future__ import annotations

import os
import socket
from threading import Lock

from netkit._system.relay_loop import Loop
from netkit._system.relay_tcp import StreamPort
from netkit._system.relay_udp import DatagramPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._system.relay_loop import Address, Opener, Port


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


relay = Relay()
os.register_at_fork(after_in_child=relay.forget)
