"""How simulated namespaces are made, found and named: what threads and /run/netns do in real life."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netkit._netlink.link import get_link, parse_link
from netkit._netlink.socket import NetlinkSocket
from netkit._testing.faults import Faults
from netkit._testing.messages import Message
from netkit._testing.namespace import FakeNetns
from netkit._testing.transport import FakeTransport
from netkit.errors import UnsupportedError, kernel_error

if TYPE_CHECKING:
    import socket
    from typing import NoReturn

    from netkit._runtime import Runtime

_NETLINK_ROUTE = 0


class FakeOpener:
    """Namespaces are pipes: the write end stands for the namespace, and when the last copy of it is
    closed the read end tells, as the kernel ends a namespace that nobody holds."""

    guarded = False
    journals = ""  # nobody else is here

    def __init__(self, faults: Faults, seen: Callable[[bool, FakeNetns, Message], None]) -> None:
        self.faults = faults
        self._seen = seen
        self.lock = threading.RLock()
        self.namespaces: dict[tuple[int, int], FakeNetns] = {}
        self._watched: dict[tuple[int, int], int] = {}
        self.names: dict[str, FakeRegistration] = {}
        self._count = 0

    # -- namespaces ---------------------------------------------------------------

    def make(self, label: str | None = None) -> int:
        """A new namespace; its descriptor."""
        self._count += 1
        watched, held = os.pipe2(os.O_CLOEXEC)
        identity = _identity(held)
        self._watched[identity] = watched
        self.namespaces[identity] = FakeNetns(label or f"namespace {self._count}", self.at)
        return held

    def at(self, descriptor: int) -> FakeNetns | None:
        """The namespace behind a descriptor, or None."""
        try:
            return self.namespaces.get(_identity(descriptor))
        except OSError:
            return None

    def sweep(self) -> None:
        """End the namespaces that nobody holds any more."""
        for identity, watched in list(self._watched.items()):
            poll = select.poll()
            poll.register(watched, 0)
            if poll.poll(0):
                os.close(watched)
                del self._watched[identity]
                self.namespaces.pop(identity).end()

    def close(self) -> None:
        """Give up everything."""
        for watched in self._watched.values():
            os.close(watched)
        self._watched.clear()
        self.namespaces.clear()

    # -- the Opener protocol --------------------------------------------------------

    def create(self) -> tuple[int, NetlinkSocket]:
        """A new namespace and its netlink socket."""
        held = self.make()
        try:
            return held, NetlinkSocket(self.open_netlink(held, _NETLINK_ROUTE))
        except BaseException:
            os.close(held)
            raise

    def create_many(
        self, count: int, progress: Callable[[int], object], detects_duplicates: bool
    ) -> list[tuple[int, NetlinkSocket]]:
        """Several; all or none."""
        made: list[tuple[int, NetlinkSocket]] = []
        try:
            while len(made) < count:
                made.append(self.create())
                progress(1)
        except BaseException:
            for held, route in made:
                route.close()
                os.close(held)
            raise
        return made

    def ask_netlink(self, fd: int, protocol: int) -> None:
        """Nobody would open it meanwhile."""

    def open_netlink(self, fd: int, protocol: int) -> FakeTransport:
        """A socket that speaks to the namespace; only rtnetlink is simulated."""
        if protocol != _NETLINK_ROUTE:
            raise kernel_error(
                "open a netlink socket", errno.EPROTONOSUPPORT, hint="FakeKernel has rtnetlink only"
            )
        netns = self.at(fd)
        if netns is None:
            raise kernel_error("open a netlink socket", errno.EBADF)
        return FakeTransport(netns, self.faults, self.lock, self._observe)

    def open_socket(self, fd: int, family: int, kind: int, protocol: int) -> socket.socket:
        """There is no traffic here."""
        _refuse("open a socket")

    def inside(self, fd: int, function: Callable[[], Any]) -> Any:
        """Nothing real is entered."""
        _refuse("enter a namespace")

    def fresh(self, hold: object, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Nothing real is entered."""
        _refuse("run a function in a namespace")

    def sync_carrier(self, sock: NetlinkSocket, name: str) -> None:
        """The simulated carrier never lags behind."""

    def interface_index(self, sock: NetlinkSocket, name: str) -> int:
        """The index of the link of this name, found by a request."""
        return parse_link(sock.get(get_link(name=name))).index

    def interface_name(self, sock: NetlinkSocket, index: int) -> str:
        """The name of the link of this index, found by a request."""
        return parse_link(sock.get(get_link(index))).name

    def register(self, name: str, fd: int, persistent: bool) -> FakeRegistration:
        """Name a namespace; ExistsError when the name is taken."""
        if name in self.names:
            raise kernel_error(f"create namespace '{name}'", errno.EEXIST)
        self.names[name] = FakeRegistration(self, name, os.dup(fd) if persistent else -1)
        return self.names[name]

    def registered(self, name: str, fd: int) -> FakeRegistration:
        """The registration of a name."""
        if name not in self.names:
            raise kernel_error(f"adopt namespace '{name}'", errno.ENOENT)
        return self.names[name]

    def path_of(self, name: str) -> str:
        """Nobody looks there."""
        return f"/run/netns/{name}"

    def check_persistent(self, name: str) -> None:
        """Here any namespace can be."""

    def misses(self, fd: int, capability: str) -> str | None:
        """Nothing is missing: what is refused is refused on purpose."""
        return None

    def starter(self, runtime: Runtime) -> NoReturn:
        """Nothing real is entered."""
        _refuse("start a program in a namespace")

    def end_members(self, fd: int, identity: tuple[int, int]) -> None:
        """Nothing ever runs here."""

    def entered(self, fd: int) -> NoReturn:
        """Nothing real is entered."""
        _refuse("enter a namespace")

    outlives_process = False

    def helper_home(self, fd: int) -> NoReturn:
        """Nothing real is entered."""
        _refuse("start a helper program for a namespace")

    def _observe(self, first: bool, netns: FakeNetns, message: Message) -> None:
        self.sweep()
        self._seen(first, netns, message)


class FakeRegistration:
    """A name of a simulated namespace; a persistent one holds it, as a mount does."""

    def __init__(self, opener: FakeOpener, name: str, held: int) -> None:
        self._opener = opener
        self.name = name
        self._held = held
        self.path = f"/run/netns/{name}"

    def remove(self) -> None:
        """Take the name away."""
        if self._opener.names.get(self.name) is self:
            del self._opener.names[self.name]
        self.forget()

    def disown(self) -> None:
        """Nothing is noted here."""

    def give_descriptor(self) -> int:
        """A simulated name leads to no descriptor."""
        return -1

    def forget(self) -> None:
        """Stop holding the namespace."""
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _refuse(operation: str) -> NoReturn:
    raise UnsupportedError(
        operation, errno.EOPNOTSUPP, hint="FakeKernel simulates configuration, not traffic"
    )
