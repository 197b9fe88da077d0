"""The program of a relay helper: it holds listening sockets of a namespace, and relays what arrives from ::1.

Orders come on standard input as long as its starter lives: the address to listen at, and ``stay``. Sockets
and ``quit`` come at that address. It ends with standard input, unless it was told to stay.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct

from netkit._system.relay import Relay

_CREDENTIALS = struct.Struct("iII")  # struct ucred
_PATIENCE = 20.0  # seconds for one that connects to say why: on a busy machine some pass


class Program:
    """The helper."""

    def __init__(self, address: bytes) -> None:
        self._relay = Relay()
        self._held: list[socket.socket] = []
        self._staying = False
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.bind(address)
        self._control.listen(8)
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)
        self._poll.register(self._control, select.POLLIN)

    def serve(self) -> None:
        """Until there is nothing to stay for."""
        os.write(1, b"ready\n")
        while True:
            for fd, _ in self._poll.poll():
                if fd == 0:
                    if not self._obey():
                        return
                elif not self._serve_one():
                    return

    def _obey(self) -> bool:
        order = os.read(0, 64)
        if order == b"stay\n":
            self._staying = True
            self._poll.unregister(0)
            os.write(1, b"staying\n")
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            os.close(null)
        return self._staying

    def _serve_one(self) -> bool:
        """One that connects; False when it is to end."""
        client, _ = self._control.accept()
        with client:
            client.settimeout(_PATIENCE)
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(credentials)[1] not in (0, os.geteuid()):
                client.send(b"no")
                return True
            return self._converse(client)

    def _converse(self, client: socket.socket) -> bool:
        while True:
            try:
                words, descriptors, _, _ = socket.recv_fds(client, 1 << 16, 128)
            except OSError:
                return True
            if words == b"quit":
                self._let_go()
                return False
            if not words:
                return True
            self._hold(words, descriptors)
            client.send(b"held")

    def _hold(self, words: bytes, descriptors: list[int]) -> None:
        for fd, target in zip(descriptors, json.loads(words), strict=True):
            sock = socket.socket(fileno=fd)
            self._held.append(sock)
            if target is not None:
                self._relay.add(sock, (target[0], target[1]), socket.socket)

    def _let_go(self) -> None:
        for sock in self._held:
            sock.close()


def main() -> None:
    """Serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in a terminal is for the program
    os.chdir("/")
    address = bytes.fromhex(os.read(0, 256).decode())
    try:
        Program(address).serve()
    finally:
        os._exit(0)  # all sockets are closed by that, and the relay's thread ends
