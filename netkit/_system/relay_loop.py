"""The relay's thread, and a published port as that sees it, whatever its protocol."""

from __future__ import annotations

import os
import socket
from collections import deque
from errno import EINPROGRESS, ENETDOWN
from selectors import EVENT_READ, DefaultSelector
from threading import Event, Thread
from time import monotonic

from netkit.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Opens a socket of a family, kind and protocol in the namespace.
    Opener = Callable[[int, int, int], socket.socket]
    Address = tuple[str, int]

CHUNK = 64 * 1024
LOCAL = "::1"
IDLE = 60.0  # seconds after which a client of UDP is forgotten
_PATIENCE = 1.0


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
            for key, events in self.selector.select(_PATIENCE if later else IDLE / 2 if self.tick else None):
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
