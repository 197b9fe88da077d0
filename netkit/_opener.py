"""Who makes namespaces and enters them: threads of ours, the broker without root, or a simulated kernel."""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from errno import ENOENT, EPERM
from fcntl import F_DUPFD_CLOEXEC, fcntl

from netkit._netlink import ethtool
from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.transport import NETLINK_ROUTE
from netkit._spec import names
from netkit._spec.value import shown_path
from netkit._system import nsfs
from netkit._system.mode import is_rootless
from netkit._system.privilege import effective_capabilities, missing_capability
from netkit._system.signals import held_signals
from netkit._system.sysctl_files import skip_duplicate_detection
from netkit._system.worker import create_namespace, entered, fresh, inside, run_at
from netkit.errors import kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import ParamSpec, Protocol, TypeVar

    from netkit._netlink.transport import Transport
    from netkit._runtime import Runtime
    from netkit._system.starting import Fresh

    P = ParamSpec("P")
    T = TypeVar("T")

    class Opener(Protocol):
        """How namespaces are made and entered: by our threads, by the broker, or by a simulated kernel."""

        @property
        def guarded(self) -> bool: ...
        @property
        def journals(self) -> str: ...
        def create(self) -> tuple[int, NetlinkSocket]: ...
        def create_many(
            self, count: int, progress: Callable[[int], object], detects_duplicates: bool
        ) -> list[tuple[int, NetlinkSocket]]: ...
        def open_socket(self, fd: int, family: int, kind: int, protocol: int) -> _socket.socket: ...
        def open_netlink(self, fd: int, protocol: int) -> Transport: ...
        def ask_netlink(self, fd: int, protocol: int) -> AskedNetlink | None: ...
        def inside(self, fd: int, function: Callable[[], T]) -> T: ...
        def fresh(self, hold: Hold, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
        def misses(self, fd: int, capability: str) -> str | None: ...
        def sync_carrier(self, sock: NetlinkSocket, name: str) -> None: ...
        def interface_index(self, sock: NetlinkSocket, name: str) -> int: ...
        def interface_name(self, sock: NetlinkSocket, index: int) -> str: ...
        def register(self, name: str, fd: int, persistent: bool) -> Registered: ...
        def registered(self, name: str, fd: int) -> Registered: ...
        def path_of(self, name: str) -> str: ...
        def check_persistent(self, name: str) -> None: ...
        def starter(self, runtime: Runtime) -> Fresh: ...
        def end_members(self, fd: int, identity: tuple[int, int]) -> None: ...
        def entered(self, fd: int) -> AbstractContextManager[None]: ...
        def helper_home(self, fd: int) -> int: ...
        @property
        def outlives_process(self) -> bool: ...

    class AskedNetlink(Protocol):
        """A socket that another process opens meanwhile, or a thread that is in the namespace anyway."""

        def along(self, function: Callable[[], T]) -> Callable[[], T]: ...
        def answer(self) -> Transport: ...
        def drop(self) -> None: ...

    class Registered(Protocol):
        """A name of a namespace, which others find it by."""

        @property
        def path(self) -> str: ...
        def remove(self) -> None: ...
        def disown(self) -> None: ...
        def forget(self) -> None: ...
        def give_descriptor(self) -> int: ...


class _ByTheWay:
    """A netlink socket that is going to be used: a thread for it alone is a tenth of a millisecond."""

    __slots__ = ("_dropped", "_fd", "_opened", "_protocol")

    def __init__(self, fd: int, protocol: int) -> None:
        self._fd, self._protocol = fd, protocol
        self._opened: Transport | None = None
        self._dropped = False

    def along(self, function: Callable[[], T]) -> Callable[[], T]:
        """A function that opens it, too. What can't be opened is told who asks for it."""

        def both() -> T:
            try:
                if self._opened is None:
                    self._opened = netlink_transport(self._protocol)
                if self._dropped:
                    self._opened.close()
            except OSError:
                self._opened = None
            return function()

        return both

    def answer(self) -> Transport:
        """The socket."""
        opened, self._opened = self._opened, None
        return opened or inside(self._fd, lambda: netlink_transport(self._protocol))

    def drop(self) -> None:
        """It is not going to be used."""
        self._dropped = True
        if self._opened is not None:
            self._opened.close()


class KernelOpener:
    """What is asked at a namespace's socket, whoever has opened that."""

    def sync_carrier(self, sock: NetlinkSocket, name: str) -> None:
        """Let the kernel act on a link's carrier now."""
        ethtool.sync_carrier(sock.fileno(), name)

    def interface_index(self, sock: NetlinkSocket, name: str) -> int:
        """The index of the link of this name; OSError ENODEV when there is none."""
        return ethtool.interface_index(sock.fileno(), name)

    def interface_name(self, sock: NetlinkSocket, index: int) -> str:
        """The name of the link of this index; OSError ENODEV when there is none."""
        return ethtool.interface_name(sock.fileno(), index)


class ThreadOpener(KernelOpener):
    """The privileged way: threads of ours enter the namespace."""

    @property
    def guarded(self) -> bool:
        """Whether what is made in a namespace that others hold can outlive us: if we may make anything."""
        return not is_rootless() or "CAP_NET_ADMIN" in effective_capabilities()

    @property
    def journals(self) -> str:
        """The directory in which living processes have noted what they own here; empty if there is none."""
        from netkit._system.journal import DIRECTORY

        return DIRECTORY if self.guarded else ""

    def create(self) -> tuple[int, NetlinkSocket]:
        """Make a namespace and its rtnetlink socket."""
        return create_namespace(_set_up, NetlinkSocket.close)

    def create_many(
        self, count: int, progress: Callable[[int], object], detects_duplicates: bool
    ) -> list[tuple[int, NetlinkSocket]]:
        """Make several, on several threads; all or none."""
        from netkit._system.makers import create_namespaces

        made = create_namespaces(count, _bare if detects_duplicates else _bare_set_up, socket.close, progress)
        try:
            return [(fd, NetlinkSocket(opened)) for fd, opened in made]
        except BaseException:
            for fd, opened in made:
                opened.close()
                os.close(fd)
            raise

    def open_socket(self, fd: int, family: int, kind: int, protocol: int) -> _socket.socket:
        """An ordinary socket that lives in the namespace."""
        import socket as _socket  # milliseconds; who opens one uses it anyway

        return inside(fd, lambda: _socket.socket(family, kind, protocol), _socket.socket.close)

    def open_netlink(self, fd: int, protocol: int) -> Transport:
        """A netlink socket that speaks to the namespace."""
        return inside(fd, lambda: netlink_transport(protocol))

    def ask_netlink(self, fd: int, protocol: int) -> _ByTheWay:
        """The next thread that enters the namespace opens it, or one of its own if none has."""
        return _ByTheWay(fd, protocol)

    def inside(self, fd: int, function: Callable[[], T]) -> T:
        """Run a short function of ours inside."""
        return inside(fd, function)

    def fresh(self, hold: Hold, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a user's function inside, on a thread of its own, which keeps the namespace until its end."""
        return fresh(hold.fd, hold, function, *args, **kwargs)

    def misses(self, fd: int, capability: str) -> str | None:
        """The capability, if it is what rtnetlink's EPERM is about."""
        return missing_capability(capability, fd)

    def register(self, name: str, fd: int, persistent: bool) -> Registered:
        """Name a namespace in /run/netns: by a mount, or by a symlink that ends with this process."""
        return nsfs.register_mount(name, fd) if persistent else nsfs.register_symlink(name, fd)

    def registered(self, name: str, fd: int) -> Registered:
        """The name in /run/netns that a namespace has already."""
        return nsfs.registration_of(name, fd)

    def path_of(self, name: str) -> str:
        """Where a name is for this process."""
        return nsfs.registered_path(name)

    def check_persistent(self, name: str) -> None:
        """Whatever a mount needs, the kernel says."""

    def starter(self, runtime: Runtime) -> Fresh:
        """What programs are started with."""
        return lambda function: run_at(runtime, function)

    def end_members(self, fd: int, identity: tuple[int, int]) -> None:
        """Kill what runs in the namespace."""
        from netkit._system.members import kill_members

        kill_members(identity)

    def entered(self, fd: int) -> AbstractContextManager[None]:
        """The calling thread itself is inside for a block."""
        return entered(fd)

    outlives_process = True  # what is detached goes on

    def helper_home(self, fd: int) -> int:
        """Whose pid namespace a helper program joins: 0 for one of its own."""
        missing = missing_capability("CAP_SYS_ADMIN", fd)
        if missing:
            raise kernel_error("lead a program into the namespace", EPERM, missing_capability=missing)
        return 0


def missing_capability_in(fd: int, capability: str) -> str | None:
    """The capability, if this process lacks it in the namespace."""
    return missing_capability(capability, fd)


def netlink_transport(protocol: int) -> socket:
    """A netlink socket in the calling thread's namespace."""
    try:
        return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
    except OSError as problem:
        raise kernel_error("open a netlink socket", problem.errno or 0) from None


_threads = ThreadOpener()
opener: Opener = _threads


def maker() -> Opener:
    """Who makes namespaces: the simulated kernel, the broker where this process may not, or our threads."""
    if opener is _threads and is_rootless():
        from netkit._rootless import broker_opener

        return broker_opener()
    return opener


def opener_of(fd: int) -> Opener:
    """Who enters a namespace that exists: the broker those that are its own."""
    if opener is _threads and is_rootless():
        from netkit._rootless import owner_of

        return owner_of(fd) or opener
    return opener


class Hold:
    """A descriptor of its own for a call, closed when neither the caller nor the thread needs it.

    The namespace may be deleted by another thread before the call's thread has entered it.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = -1
        self.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)
        _holds.add(self.fd)

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """On the call's own thread, which takes no signals that could come between these lines."""
        try:
            return function(*args, **kwargs)
        finally:
            self.close()

    def close(self) -> None:
        """Close it; a second time is nothing."""
        if self.fd < 0:
            return
        with held_signals():
            if self.fd in _holds:
                _holds.discard(self.fd)
                os.close(self.fd)
                self.fd = -1

    __del__ = close  # the call was never made


def open_registered(name_or_path: str | os.PathLike[str]) -> int:
    """A descriptor of the namespace of this name, the broker's names first, or at this path."""
    if isinstance(name_or_path, str) and "/" not in name_or_path and opener is _threads and is_rootless():
        from netkit._rootless import open_name

        found = open_name(names.namespace_name(name_or_path))
        if found is not None:
            return found
    if isinstance(name_or_path, str) and "/" not in name_or_path:
        return _open_name(name_or_path)
    return nsfs.open_name_or_path(name_or_path)


def _open_name(name: str) -> int:
    """What a name leads to, if who made it lives when it is open: else it may lead anywhere by then."""
    while True:
        before = _target(name)
        fd = nsfs.open_name_or_path(name)
        try:
            if before != _target(name):
                continue  # it was made anew meanwhile
            _refuse_abandoned(name, before)
            kept, fd = fd, -1
            return kept
        finally:
            if fd >= 0:
                os.close(fd)


def _target(name: str) -> str:
    """Where its symlink leads; empty for what is none, or no name: who opens it says so."""
    try:
        return os.readlink(nsfs.registered_path(name))
    except (OSError, ValueError):
        return ""


def _refuse_abandoned(name: str, target: str) -> None:
    """A symlink whose maker is dead may lead into a process that was given its number since."""
    if not target.startswith("/proc/"):
        return
    from netkit._lifecycle.claims import is_abandoned

    if is_abandoned(name, target):
        path = nsfs.registered_path(name)
        hint = f"{shown_path(path)} is stale: the process that made it is dead. `netkit gc` removes it"
        raise kernel_error(f"open namespace '{name}'", ENOENT, hint=hint)


def _set_up() -> NetlinkSocket:
    """On the thread that has just made a namespace, inside it."""
    return NetlinkSocket(_bare_set_up())


def _bare_set_up() -> socket:
    skip_duplicate_detection()
    return _bare()


def _bare() -> socket:
    return netlink_transport(NETLINK_ROUTE)


_holds: set[int] = set()


def _after_fork() -> None:
    """In a child: give up the parent's descriptors."""
    while _holds:
        os.close(_holds.pop())


os.register_at_fork(after_in_child=_after_fork)
