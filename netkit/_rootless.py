"""Namespaces without root: those of the broker, a helper process, which it hands over.

What configures them (netlink) goes through sockets that the broker opened and passed, in this process:
the kernel asks who opened a socket, and who sends is the user that owns the user namespace.
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_RAW, socket
from errno import ENOSPC
from fcntl import ioctl
from functools import partial

from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.transport import NETLINK_ROUTE
from netkit._opener import KernelOpener
from netkit._system import broker, sysctl_files
from netkit._system.limits import make_room
from netkit._system.privilege import NS_GET_USERNS
from netkit._system.refusals import limit_of_networks
from netkit._system.signals import deferred_signals, undisturbed
from netkit.errors import KernelError, StateError, UnsupportedError, kernel_error, naming_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import NoReturn, ParamSpec, TypeVar

    from netkit._netlink.transport import Transport
    from netkit._opener import Hold, Registered
    from netkit._runtime import Runtime
    from netkit._system.starting import Fresh

    P = ParamSpec("P")
    T = TypeVar("T")

_AT_ONCE = 100  # per message, which takes at most 253 descriptors
_FEW = 100
_NOT_SUPPORTED = 95  # EOPNOTSUPP


class BrokerOpener(KernelOpener):
    """The way without root: the broker makes namespaces, and enters them for us."""

    guarded = False  # the broker ends with this process, and with it all that is its own

    def __init__(self) -> None:
        self.broker = broker.broker()

    def create(self) -> tuple[int, NetlinkSocket]:
        """Make a namespace and its rtnetlink socket."""
        return undisturbed(lambda: self._create(1, False), _discard)[0]

    @property
    def journals(self) -> str:
        """Where programs that run inside, as root there, note what they own: in the broker's /run."""
        from netkit._system.journal import DIRECTORY

        return f"/proc/{self.broker.pid}/root{DIRECTORY}"

    def create_many(
        self, count: int, progress: Callable[[int], object], detects_duplicates: bool
    ) -> list[tuple[int, NetlinkSocket]]:
        """Make several; all or none."""
        if count > _FEW:
            make_room(2 * count, f"create {count} network namespaces")
        made: list[tuple[int, NetlinkSocket]] = []
        try:
            while len(made) < count:
                batch = min(_AT_ONCE, count - len(made))
                more = undisturbed(partial(self._create, batch, detects_duplicates), _discard)
                made += more
                progress(len(more))
        except BaseException:
            _discard(made)
            raise
        return made

    def _create(self, count: int, detects_duplicates: bool) -> list[tuple[int, NetlinkSocket]]:
        try:
            _, fds = self.broker.request("create", count=count, detects_duplicates=detects_duplicates)
        except KernelError as problem:
            if problem.errno == ENOSPC:  # the broker's own limit is another one, and higher
                raise kernel_error(problem.operation, ENOSPC, hint=limit_of_networks()) from None
            raise
        sockets = [NetlinkSocket(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, fd)) for fd in fds[1::2]]
        return [*zip(fds[::2], sockets, strict=True)]

    def open_socket(self, fd: int, family: int, kind: int, protocol: int) -> _socket.socket:
        """An ordinary socket that lives in the namespace."""
        import socket as _socket

        def open_it() -> _socket.socket:
            return _socket.socket(family, kind, protocol, fileno=self._socket(fd, family, kind, protocol))

        return undisturbed(open_it, _socket.socket.close)

    def open_netlink(self, fd: int, protocol: int) -> Transport:
        """A netlink socket that speaks to the namespace."""

        def open_it() -> socket:
            return socket(AF_NETLINK, SOCK_RAW, protocol, self._socket(fd, AF_NETLINK, SOCK_RAW, protocol))

        return undisturbed(open_it, socket.close)

    def ask_netlink(self, fd: int, protocol: int) -> _AskedNetlink:
        """The same; the broker opens it while this process goes on."""
        return _AskedNetlink(
            self.broker.ask("socket", [fd], **_numbers(AF_NETLINK, SOCK_RAW, protocol)), protocol
        )

    def _socket(self, fd: int, family: int, kind: int, protocol: int) -> int:
        return self.broker.request("socket", [fd], **_numbers(family, kind, protocol))[1][0]

    def inside(self, fd: int, function: Callable[[], T]) -> T:
        """Run a short function of ours, here: the sysctls that it reads and writes are those inside."""
        with deferred_signals():  # as on the worker, where none interrupts it half-way
            return sysctl_files.done_elsewhere(broker.RemoteSysctls(self.broker, fd), function)

    def fresh(self, hold: Hold, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a user's function inside, in a process of its own."""
        with naming_limits("call a function"):
            from netkit._system.broker_call import call_remotely

        result: T = call_remotely(self.broker, hold.fd, function, args, kwargs)
        return result

    def misses(self, fd: int, capability: str) -> str | None:
        """Here nothing is missing; what is refused nonetheless leads out of the broker's namespaces."""
        return capability

    def starter(self, runtime: Runtime) -> Fresh:
        """What programs are started with."""
        from netkit._system.remote_process import RemoteStarter

        return RemoteStarter(self.broker, runtime.check)

    def end_members(self, fd: int, identity: tuple[int, int]) -> None:
        """Kill what runs in the namespace: the broker sees it, and it does not count itself."""
        try:
            self.broker.request("end_members", [fd])
        except StateError:
            return  # the broker has ended, and all that it started

    def entered(self, fd: int) -> AbstractContextManager[None]:
        """Not possible: setns(2) needs a capability."""
        _refuse(
            "enter a namespace with a thread of this process",
            "Without root call(), run() and socket() work inside; code that must itself enter runs in "
            "`netkit unshare -- PROGRAM`",
        )

    outlives_process = False

    def helper_home(self, fd: int) -> int:
        """The broker, process 1 of the pid namespace that helper programs join."""
        return self.broker.pid

    def register(self, name: str, fd: int, persistent: bool) -> Registered:
        """Name a namespace in the broker's /run/netns, where programs inside find it."""
        if persistent:
            self.check_persistent(name)
        return broker.RemoteRegistration(self.broker, name, fd)

    def path_of(self, name: str) -> str:
        """Where a name of the broker's is for this process."""
        return f"/proc/{self.broker.pid}/root/run/netns/{name}"

    def check_persistent(self, name: str) -> None:
        """UnsupportedError: nothing of a rootless process outlives it."""
        _refuse(
            f"make namespace '{name}' persistent",
            "Without root a namespace ends with the process that made it",
        )

    def registered(self, name: str, fd: int) -> Registered:
        """As for `register`: nothing of a rootless process outlives it."""
        _refuse(f"adopt namespace '{name}'", "Without root a namespace ends with the process that made it")


class _AskedNetlink:
    """A netlink socket that the broker opens meanwhile."""

    __slots__ = ("_asked", "_protocol")

    def __init__(self, asked: broker.Asked, protocol: int) -> None:
        self._asked = asked
        self._protocol = protocol

    def along(self, function: Callable[[], T]) -> Callable[[], T]:
        """The function: the broker needs nobody's help."""
        return function

    def answer(self) -> Transport:
        """The socket."""

        def take() -> socket:
            return socket(AF_NETLINK, SOCK_RAW, self._protocol, self._asked.answer()[0])

        return undisturbed(take, socket.close)

    def drop(self) -> None:
        """It is not going to be used."""
        self._asked.drop()


def _numbers(family: int, kind: int, protocol: int) -> dict[str, int]:
    return {"family": int(family), "kind": int(kind), "protocol": int(protocol)}


def _discard(made: list[tuple[int, NetlinkSocket]]) -> None:
    for fd, route in made:
        os.close(fd)
        route.close()


def _refuse(operation: str, hint: str) -> NoReturn:
    raise UnsupportedError(operation, _NOT_SUPPORTED, hint=hint)


_opener: BrokerOpener | None = None


def broker_opener() -> BrokerOpener:
    """The one of this process, with a broker that lives."""
    global _opener
    if _opener is None or _opener.broker.closed:
        _opener = BrokerOpener()
    return _opener


def owner_of(fd: int) -> BrokerOpener | None:
    """The opener of a namespace that belongs to the broker; None for one that does not."""
    running = broker.running()
    if running is None:
        return None
    try:
        owner = ioctl(fd, NS_GET_USERNS)
    except OSError:
        return None
    try:
        status = os.fstat(owner)
    finally:
        os.close(owner)
    return broker_opener() if (status.st_dev, status.st_ino) == running.user_namespace else None


def open_name(name: str) -> int | None:
    """The namespace that has this name in the broker's /run/netns; None if none has."""
    running = broker.running()
    if running is None or not os.path.lexists(f"/proc/{running.pid}/root/run/netns/{name}"):
        return None
    return int(running.request("open", name=name)[1][0])
