"""What a process keeps per network namespace: its descriptor, its sockets, its helpers.

However many Namespace objects name one kernel namespace, there is one Runtime for it, found
by device and inode, with one netlink socket per protocol, opened on first use.
"""

from __future__ import annotations

import os
from _thread import RLock
from errno import EPERM
from itertools import count

from netkit._netlink.link import set_link
from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.transport import NETLINK_NETFILTER, NETLINK_ROUTE
from netkit._opener import Hold, maker, missing_capability_in, opener_of
from netkit._system.privilege import missing_capability
from netkit._system.signals import held_signals
from netkit.errors import KernelError, StateError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Sequence
    from typing import ParamSpec, Protocol, TypeVar

    from netkit._opener import AskedNetlink, Opener
    from netkit._system.starting import Fresh

    P = ParamSpec("P")
    T = TypeVar("T")

    class Closable(Protocol):
        """What `Runtime.once` keeps."""

        def close(self) -> None: ...

    C = TypeVar("C", bound=Closable)


class Runtime:
    """One network namespace, as this process holds it."""

    __slots__ = (
        "_asked",
        "_indexes",
        "_kept",
        "_lock",
        "_netfilter",
        "_noted",
        "_place",
        "_route",
        "fd",
        "identity",
        "label",
        "named",
        "opener",
        "ours",
        "users",
    )

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
        self._route = None if route is None else self._called(route, self._lacks_for_route)
        self._netfilter: NetlinkSocket | None = None
        self._asked: AskedNetlink | None = None
        self._kept: dict[str, Closable] | None = None
        self._place = ""
        self._noted = 0
        self.named = False  # others find it by a name, and may live in it, as a container does
        # A stranger's links have small indexes; in a namespace that is not ours, ours are
        # also unlikely to be those of another program that chooses them.
        self._indexes = _own_indexes if ours else count(_random_index())

    @property
    def survives(self) -> bool:
        """Whether it goes on without us, with what we make in it: that is noted in the journal."""
        return not self.ours and self.opener.guarded

    @property
    def place(self) -> str:
        """How the journal calls it."""
        if not self._place:
            from netkit._system.places import cookie_of, place

            self._place = place(self.identity, cookie_of(self.route.fileno()))
        if self.survives:
            from netkit._system.journal import journal

            journal.hold(self._place, self.fd)
        return self._place

    def note_members(self) -> None:
        """Programs are about to be started in this namespace of ours, which would keep it alive."""
        if self.ours and not self._noted and self.opener.guarded:
            from netkit._system.entries import MEMBERS
            from netkit._system.journal import note

            with held_signals():
                self._noted = note(MEMBERS, self.place, self.label)

    def disown(self) -> None:
        """It goes on without us from now on, and so do the programs in it."""
        self.ours = False
        self._strike_members()

    def _strike_members(self) -> None:
        noted, self._noted = self._noted, 0
        if noted:
            from netkit._system.journal import strike

            strike(noted)

    def move_to(self, fd: int) -> None:
        """Hold the namespace by another descriptor of it, which is the runtime's from now on."""
        with self._lock:
            before, self.fd = self.fd, fd
            os.close(before)

    @property
    def route(self) -> NetlinkSocket:
        """The rtnetlink socket."""
        return self._route or self._open_route()

    @property
    def netfilter(self) -> NetlinkSocket:
        """The nfnetlink socket; it owns this process's nft table here."""
        return self._netfilter or self._open_netfilter()

    def expect_netfilter(self) -> None:
        """The nfnetlink socket is going to be used: where another process opens it, that may begin."""
        with self._lock:
            if self.fd >= 0 and self._asked is None and self._netfilter is None:
                self._asked = self.opener.ask_netlink(self.fd, NETLINK_NETFILTER)

    @property
    def has_netfilter(self) -> bool:
        """Whether the nfnetlink socket is open."""
        return self._netfilter is not None

    def open_netlink(self, protocol: int) -> NetlinkSocket:
        """Another socket of this protocol, for the caller to close."""
        lacks = self._lacks_for_route if protocol == NETLINK_ROUTE else self._lacks
        with self._lock:
            return self._called(NetlinkSocket(self.opener.open_netlink(self.check(), protocol)), lacks)

    def new_index(self) -> int:
        """An interface index that nobody has."""
        return next(self._indexes)

    def inside(self, function: Callable[[], T]) -> T:
        """Run a short function of ours inside the namespace."""
        with self._lock:  # closed meanwhile, the number could be that of another namespace
            if self._asked is not None:
                function = self._asked.along(function)
            try:
                return self.opener.inside(self.check(), function)
            except KernelError as problem:  # of a sysctl: a file does not say whose it is
                raise problem._in(self.label) from None

    def fresh(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a user's function inside, on a thread of its own."""
        return self.opener.fresh(self.hold(), function, *args, **kwargs)

    def hold(self) -> Hold:
        """A descriptor of its own for a call on another thread."""
        try:
            with held_signals(), self._lock:
                return Hold(self.check())
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
        try:
            self.opener.sync_carrier(self.route, name)
        except OSError as problem:
            if isinstance(problem, KernelError):
                raise
            operation = f"ask for the carrier of link '{name}'"
            raise kernel_error(operation, problem.errno or 0, netns=self.label) from None

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
        with held_signals(), self._lock:
            if self._kept is None:
                self._kept = {}
            kept = self._kept  # one that is empty too: what is made may ask for another helper
            if key not in kept:
                self.check()
                kept[key] = make()
            return kept[key]  # type: ignore[return-value]

    def kept(self, key: str) -> Closable | None:
        """The helper of this name, if there is one."""
        kept = self._kept
        return kept.get(key) if kept else None

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
            asked, self._asked = self._asked, None
            if asked is not None:
                asked.drop()
            closing: list[Closable] = [*(self._kept or {}).values(), *self._opened()]
            self._kept = None
            problem: Exception | None = None
            for each in closing:
                try:
                    each.close()
                except Exception as raised:
                    problem = problem or raised
            if fd >= 0:
                os.close(fd)
        if self._place and self.survives:
            from netkit._system.journal import journal

            journal.release(self._place)
        self._strike_members()
        if problem is not None:
            raise problem

    def _opened(self) -> list[NetlinkSocket]:
        return [each for each in (self._route, self._netfilter) if each is not None]

    def _open_route(self) -> NetlinkSocket:
        with self._lock:
            self._route = self._route or self.open_netlink(NETLINK_ROUTE)
            return self._route

    def _open_netfilter(self) -> NetlinkSocket:
        with self._lock:
            if self._netfilter is None:
                asked, self._asked = self._asked, None
                if asked is None:
                    self._netfilter = self.open_netlink(NETLINK_NETFILTER)
                else:
                    self._netfilter = self._called(NetlinkSocket(asked.answer()), self._lacks)
            return self._netfilter

    def _called(self, sock: NetlinkSocket, lacks: Callable[[], str | None]) -> NetlinkSocket:
        sock.label = self.label
        sock.missing_capability = lacks
        return sock

    def _lacks_for_route(self) -> str | None:
        return self.opener.misses(self.fd, "CAP_NET_ADMIN")

    def _lacks(self) -> str | None:
        return missing_capability_in(self.fd, "CAP_NET_ADMIN")


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
        runtime = _registry[identity] = Runtime(fd, label, False, opener_of(fd))
        return runtime


def runtime_at(identity: tuple[int, int]) -> Runtime | None:
    """The open runtime of a namespace, if there is one."""
    return _registry.get(identity)


def random_group() -> int:
    """A link group of our own: 31 random bits, for `ip` takes no more; never 0 (the default group)."""
    return int.from_bytes(os.urandom(4), "little") >> 1 | 1


def _random_index() -> int:
    return (1 << 30) + (int.from_bytes(os.urandom(4), "little") >> 3)


def _after_fork() -> None:
    """In a child: give up the parent's descriptors without touching what they stand for."""
    for runtime in list(_registry.values()):
        for each in runtime._opened():
            each.forget()
        if runtime.fd >= 0:
            os.close(runtime.fd)
            runtime.fd = -1
        runtime._asked = None
        runtime._noted = 0
    _registry.clear()


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
