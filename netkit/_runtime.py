"""What a process keeps per network namespace: its descriptor, its sockets, its helpers.

However many Namespace objects name one kernel namespace, there is one Runtime for it, found
by device and inode, with one netlink socket per protocol, opened on first use.
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from _thread import RLock
from errno import EPERM
from fcntl import F_DUPFD_CLOEXEC, fcntl
from itertools import count

from netkit._netlink import ethtool
from netkit._netlink.link import set_link
from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.transport import NETLINK_NETFILTER, NETLINK_ROUTE
from netkit._spec import names
from netkit._system import nsfs
from netkit._system.mode import is_rootless
from netkit._system.privilege import missing_capability
from netkit._system.sysctl_files import skip_duplicate_detection
from netkit._system.worker import create_namespace, entered, fresh, inside, run_fresh
from netkit.errors import KernelError, StateError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import ParamSpec, Protocol, TypeVar

    from netkit._netlink.transport import Transport
    from netkit._system.process import Fresh

    P = ParamSpec("P")
    T = TypeVar("T")

    class Opener(Protocol):
        """How namespaces are made and entered: by our threads, by the broker, or by a simulated kernel."""

        def create(self) -> tuple[int, NetlinkSocket]: ...
        def create_many(
            self, count: int, progress: Callable[[int], object], detects_duplicates: bool
        ) -> list[tuple[int, NetlinkSocket]]: ...
        def open_socket(self, fd: int, family: int, kind: int, protocol: int) -> _socket.socket: ...
        def open_netlink(self, fd: int, protocol: int) -> Transport: ...
        def inside(self, fd: int, function: Callable[[], T]) -> T: ...
        def fresh(self, hold: _Hold, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
        def misses(self, fd: int, capability: str) -> str | None: ...
        def sync_carrier(self, sock: NetlinkSocket, name: str) -> None: ...
        def interface_index(self, sock: NetlinkSocket, name: str) -> int: ...
        def interface_name(self, sock: NetlinkSocket, index: int) -> str: ...
        def register(self, name: str, fd: int, persistent: bool) -> Registered: ...
        def registered(self, name: str, fd: int) -> Registered: ...
        def starter(self, runtime: Runtime) -> Fresh: ...
        def end_members(self, fd: int, identity: tuple[int, int]) -> None: ...
        def entered(self, fd: int) -> AbstractContextManager[None]: ...

    class Registered(Protocol):
        """A name of a namespace, which others find it by."""

        @property
        def path(self) -> str: ...
        def remove(self) -> None: ...
        def forget(self) -> None: ...
        def give_descriptor(self) -> int: ...

    class Closable(Protocol):
        """What `Runtime.once` keeps."""

        def close(self) -> None: ...

    C = TypeVar("C", bound=Closable)


class ThreadOpener:
    """The privileged way: threads of ours enter the namespace."""

    def create(self) -> tuple[int, NetlinkSocket]:
        """Make a namespace and its rtnetlink socket."""
        return create_namespace(_set_up, NetlinkSocket.close)

    def create_many(
        self, count: int, progress: Callable[[int], object], detects_duplicates: bool
    ) -> list[tuple[int, NetlinkSocket]]:
        """Make several, on several threads; all or none."""
        from netkit._system.makers import create_namespaces

        set_up = _open_route if detects_duplicates else _set_up
        return create_namespaces(count, set_up, NetlinkSocket.close, progress)

    def open_socket(self, fd: int, family: int, kind: int, protocol: int) -> _socket.socket:
        """An ordinary socket that lives in the namespace."""
        import socket as _socket  # milliseconds; who opens one uses it anyway

        return inside(fd, lambda: _socket.socket(family, kind, protocol), _socket.socket.close)

    def open_netlink(self, fd: int, protocol: int) -> Transport:
        """A netlink socket that speaks to the namespace."""
        return inside(fd, lambda: netlink_transport(protocol))

    def inside(self, fd: int, function: Callable[[], T]) -> T:
        """Run a short function of ours inside."""
        return inside(fd, function)

    def fresh(self, hold: _Hold, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a user's function inside, on a thread of its own, which keeps the namespace until its end."""
        return fresh(hold.fd, hold, function, *args, **kwargs)

    def misses(self, fd: int, capability: str) -> str | None:
        """The capability, if it is what rtnetlink's EPERM is about."""
        return missing_capability(capability, fd)

    def sync_carrier(self, sock: NetlinkSocket, name: str) -> None:
        """Let the kernel act on a link's carrier now."""
        ethtool.sync_carrier(sock.fileno(), name)

    def interface_index(self, sock: NetlinkSocket, name: str) -> int:
        """The index of the link of this name; OSError ENODEV when there is none."""
        return ethtool.interface_index(sock.fileno(), name)

    def interface_name(self, sock: NetlinkSocket, index: int) -> str:
        """The name of the link of this index; OSError ENODEV when there is none."""
        return ethtool.interface_name(sock.fileno(), index)

    def register(self, name: str, fd: int, persistent: bool) -> Registered:
        """Name a namespace in /run/netns: by a mount, or by a symlink that ends with this process."""
        return nsfs.register_mount(name, fd) if persistent else nsfs.register_symlink(name, fd)

    def registered(self, name: str, fd: int) -> Registered:
        """The name in /run/netns that a namespace has already."""
        return nsfs.registration_of(name, fd)

    def starter(self, runtime: Runtime) -> Fresh:
        """What programs are started with."""

        def start(function: Callable[[], T]) -> T:
            hold = runtime.hold()
            return run_fresh(hold.fd, lambda: hold(function))

        return start

    def end_members(self, fd: int, identity: tuple[int, int]) -> None:
        """Kill what runs in the namespace."""
        from netkit._system.members import kill_members

        kill_members(identity)

    def entered(self, fd: int) -> AbstractContextManager[None]:
        """The calling thread itself is inside for a block."""
        return entered(fd)


def missing_capability_in(fd: int, capability: str) -> str | None:
    """The capability, if this process lacks it in the namespace."""
    return missing_capability(capability, fd)


def netlink_transport(protocol: int) -> Transport:
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


def _opener_of(fd: int) -> Opener:
    """Who enters a namespace that exists: the broker those that are its own."""
    if opener is _threads and is_rootless():
        from netkit._rootless import owner_of

        return owner_of(fd) or opener
    return opener


class Runtime:
    """One network namespace, as this process holds it."""

    def __init__(
        self, fd: int, label: str, ours: bool, by: Opener, route: NetlinkSocket | None = None
    ) -> None:
        self.fd = fd
        self.identity = identity_of(fd)
        self.label = label
        self.ours = ours
        self.users = 1
        self.opener = by
        self._lock = RLock()
        self._sockets: dict[int, NetlinkSocket] = {}
        self._kept: dict[str, Closable] = {}
        # A stranger's links have small indexes; in a namespace that is not ours, ours are
        # also unlikely to be those of another program that chooses them.
        self._indexes = _own_indexes if ours else count(_random_index())
        if route is not None:
            self._sockets[NETLINK_ROUTE] = self._called(route, NETLINK_ROUTE)

    def move_to(self, fd: int) -> None:
        """Hold the namespace by another descriptor of it, which is the runtime's from now on."""
        with self._lock:
            before, self.fd = self.fd, fd
            os.close(before)

    @property
    def route(self) -> NetlinkSocket:
        """The rtnetlink socket."""
        return self._sockets.get(NETLINK_ROUTE) or self._open(NETLINK_ROUTE)

    @property
    def netfilter(self) -> NetlinkSocket:
        """The nfnetlink socket; it owns this process's nft table here."""
        return self._sockets.get(NETLINK_NETFILTER) or self._open(NETLINK_NETFILTER)

    @property
    def has_netfilter(self) -> bool:
        """Whether the nfnetlink socket is open."""
        return NETLINK_NETFILTER in self._sockets

    def open_netlink(self, protocol: int) -> NetlinkSocket:
        """Another socket of this protocol, for the caller to close."""
        with self._lock:
            opened = NetlinkSocket(self.opener.open_netlink(self.check(), protocol))
            return self._called(opened, protocol)

    def new_index(self) -> int:
        """An interface index that nobody has."""
        return next(self._indexes)

    def inside(self, function: Callable[[], T]) -> T:
        """Run a short function of ours inside the namespace."""
        with self._lock:  # closed meanwhile, the number could be that of another namespace
            return self.opener.inside(self.check(), function)

    def fresh(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a user's function inside, on a thread of its own."""
        return self.opener.fresh(self.hold(), function, *args, **kwargs)

    def hold(self) -> _Hold:
        """A descriptor of its own for a call on another thread."""
        try:
            with self._lock:
                return _Hold(self.check())
        except OSError as problem:
            raise kernel_error(f"enter {self.label}", problem.errno or 0) from None

    def starter(self) -> Fresh:
        """What `process.popen` starts programs inside with."""
        return self.opener.starter(self)

    def end_members(self) -> None:
        """Kill whatever runs in the namespace, until nothing is left."""
        self.opener.end_members(self.fd, self.identity)

    def open_socket(self, family: int, kind: int, protocol: int) -> _socket.socket:
        """An ordinary socket that lives in the namespace."""
        try:
            with self._lock:
                return self.opener.open_socket(self.check(), family, kind, protocol)
        except OSError as problem:
            if isinstance(problem, KernelError):
                raise
            missing = missing_capability("CAP_NET_RAW", self.fd) if problem.errno == EPERM else None
            operation = "open a socket"
            raise kernel_error(
                operation, problem.errno or 0, netns=self.label, missing_capability=missing
            ) from None

    def sync_carrier(self, name: str) -> None:
        """Let the kernel act on a link's carrier now."""
        self.opener.sync_carrier(self.route, name)

    def index_of(self, name: str) -> int:
        """The index of the link of this name; NotFoundError when there is none."""
        try:
            return self.opener.interface_index(self.route, name)
        except OSError as problem:
            if isinstance(problem, KernelError):
                raise
            raise kernel_error(f"find link '{name}'", problem.errno or 0, netns=self.label) from None

    def name_of(self, index: int) -> str:
        """The name of the link of this index; NotFoundError when there is none."""
        try:
            return self.opener.interface_name(self.route, index)
        except OSError as problem:
            if isinstance(problem, KernelError):
                raise
            raise kernel_error(f"read link {index}", problem.errno or 0, netns=self.label) from None

    def once(self, key: str, make: Callable[[], C]) -> C:
        """The one helper of this name, made on first use and closed with the runtime."""
        with self._lock:
            if key not in self._kept:
                self.check()
                self._kept[key] = make()
            return self._kept[key]  # type: ignore[return-value]

    def kept(self, key: str) -> Closable | None:
        """The helper of this name, if there is one."""
        return self._kept.get(key)

    def check(self) -> int:
        """The descriptor; StateError when it is closed."""
        if self.fd < 0:
            raise StateError(f"{self.label} is closed")
        return self.fd

    def release(self) -> None:
        """One user less; the last one closes everything, and the namespace may end."""
        with _registry_lock:
            self.users -= 1
            if self.users > 0 or self.fd < 0:
                return
            if _registry.get(self.identity) is self:
                del _registry[self.identity]
        self.close()

    def close(self) -> None:
        """Close the helpers, the sockets and the descriptor, each even if another fails."""
        with self._lock:
            fd, self.fd = self.fd, -1
            closing: list[Closable] = [*self._kept.values(), *self._sockets.values()]
            self._kept.clear()
            problem: Exception | None = None
            for each in closing:
                try:
                    each.close()
                except Exception as raised:
                    problem = problem or raised
            if fd >= 0:
                os.close(fd)
        if problem is not None:
            raise problem

    def _open(self, protocol: int) -> NetlinkSocket:
        with self._lock:
            if protocol not in self._sockets:
                self._sockets[protocol] = self.open_netlink(protocol)
            return self._sockets[protocol]

    def _called(self, sock: NetlinkSocket, protocol: int) -> NetlinkSocket:
        sock.label = self.label
        misses = self.opener.misses if protocol == NETLINK_ROUTE else missing_capability_in
        sock.missing_capability = lambda: misses(self.fd, "CAP_NET_ADMIN")
        return sock


class _Hold:
    """A descriptor of its own for a call, closed when neither the caller nor the thread needs it.

    The namespace may be deleted by another thread before the call's thread has entered it.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = -1
        self.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)
        _holds.add(self.fd)

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    def __del__(self) -> None:
        if self.fd in _holds:
            _holds.discard(self.fd)
            os.close(self.fd)


_holds: set[int] = set()
# One count for all namespaces of ours: where a link of one names a peer of another by its index,
# `bridge link` and others would take an equal index for a link of the same namespace.
_own_indexes = count(1000)
LOOPBACK_UP = set_link(1, up=True, operation="set link 'lo' up")  # LOOPBACK_IFINDEX
_registry: dict[tuple[int, int], Runtime] = {}
_registry_lock = RLock()


def identity_of(fd: int) -> tuple[int, int]:
    """Device and inode: what makes two descriptors the same namespace."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def create_runtime(label: str) -> Runtime:
    """A new namespace, with its rtnetlink socket open and IPv6 addresses usable at once; `lo` is down."""
    by = maker()
    return _new_runtime(label, by, *by.create())


def create_runtimes(
    labels: Sequence[str], progress: Callable[[int], object], detects_duplicates: bool = False
) -> list[Runtime]:
    """Several at once; all or none. ``detects_duplicates``: IPv6 is left as the kernel has it."""
    by = maker()
    made = by.create_many(len(labels), progress, detects_duplicates)
    return [_new_runtime(label, by, fd, route) for label, (fd, route) in zip(labels, made, strict=True)]


def _new_runtime(label: str, by: Opener, fd: int, route: NetlinkSocket) -> Runtime:
    runtime = Runtime(fd, label, True, by, route)
    with _registry_lock:
        _registry[runtime.identity] = runtime
    return runtime


def attach_runtime(fd: int, label: str) -> Runtime:
    """The runtime of a namespace that exists; takes over the descriptor."""
    identity = identity_of(fd)
    with _registry_lock:
        known = _registry.get(identity)
        if known is not None:
            os.close(fd)
            known.users += 1
            return known
        runtime = _registry[identity] = Runtime(fd, label, False, _opener_of(fd))
        return runtime


def open_registered(name_or_path: str | os.PathLike[str]) -> int:
    """A descriptor of the namespace of this name, the broker's names first, or at this path."""
    if isinstance(name_or_path, str) and "/" not in name_or_path and opener is _threads and is_rootless():
        from netkit._rootless import open_name

        found = open_name(names.namespace_name(name_or_path))
        if found is not None:
            return found
    return nsfs.open_name_or_path(name_or_path)


def runtime_at(identity: tuple[int, int]) -> Runtime | None:
    """The open runtime of a namespace, if there is one."""
    return _registry.get(identity)


def random_group() -> int:
    """A link group of our own: 31 random bits, for `ip` takes no more; never 0 (the default group)."""
    return int.from_bytes(os.urandom(4), "little") >> 1 | 1


def _random_index() -> int:
    return (1 << 30) + (int.from_bytes(os.urandom(4), "little") >> 3)


def _set_up() -> NetlinkSocket:
    """On the thread that has just made a namespace, inside it."""
    skip_duplicate_detection()
    return _open_route()


def _open_route() -> NetlinkSocket:
    return NetlinkSocket(netlink_transport(NETLINK_ROUTE))


def _after_fork() -> None:
    """In a child: give up the parent's descriptors without touching what they stand for."""
    for runtime in list(_registry.values()):
        for each in runtime._sockets.values():
            each.forget()
        if runtime.fd >= 0:
            os.close(runtime.fd)
            runtime.fd = -1
        runtime._kept.clear()
    _registry.clear()
    while _holds:
        os.close(_holds.pop())


os.register_at_fork(after_in_child=_after_fork)

__all__ = [
    "LOOPBACK_UP",
    "Runtime",
    "attach_runtime",
    "create_runtime",
    "create_runtimes",
    "identity_of",
    "kernel_error",
    "random_group",
]
