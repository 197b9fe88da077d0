"""Namespace: the aggregate root. Everything else is asked of one, or put into one."""

from __future__ import annotations

import os

import netkit._forks as forks
from netkit._connecting import Connecting
from netkit._inside_async import InsideAsync
from netkit._known import remember, remember_first
from netkit._lifecycle import NAMESPACES, ROOT, Holder, Resource, Teardown, Undo, raise_first, take_steps
from netkit._lifecycle.owned import refuse_second_owner
from netkit._link import Link, link_by_name
from netkit._links import Links
from netkit._opener import open_registered
from netkit._registration import ANONYMOUS, Registration
from netkit._runtime import (
    LOOPBACK_UP,
    Runtime,
    attach_runtime,
    create_runtime,
    create_runtimes,
)
from netkit._shown import Drawn
from netkit._spec import names, numbers
from netkit._system import nsfs
from netkit._system.signals import held_signals, undisturbed
from netkit.errors import StateError, naming_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from pyroute2.iproute.linux import IPRoute  # pyright: ignore[reportMissingTypeStubs]

    from netkit._conntrack import Connections
    from netkit._lifecycle.steps import Step, Steps
    from netkit._nat.view import NatRules
    from netkit._neighbour import Neighbours
    from netkit._route import RouteTable
    from netkit._rule import Rules
    from netkit._snapshot import Snapshot


class Namespace(InsideAsync, Connecting, Resource, Holder, Drawn):
    """A network namespace: links, routes, rules and sockets of its own.

    ``with Namespace() as ns:`` makes one and drops it at the end; nothing exists before. It is
    held by a descriptor, so it dies with this process, even on ``kill -9``. A name makes
    ``ip netns exec NAME`` and ``nsenter --net=/run/netns/NAME`` find it while this process
    lives; ``persistent=True`` makes the bind mount of ``ip netns add`` instead, which also
    works from other pid namespaces and lasts until it is deleted. ``lo`` is up, and IPv6
    addresses are usable at once.

    Twin: ``ip netns add NAME``, ``ip -n NAME link set lo up``. Source:
    network_namespaces(7), ip-netns(8). Needs CAP_SYS_ADMIN and CONFIG_NET_NS.

    Args:
        name: one path component, at most 255 bytes; None for an anonymous namespace.
        persistent: register by a bind mount; needs a name.

    Raises SpecError for a bad name; ExistsError when the name is taken; AccessError without
    the capability.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace("red") as red:
        ...     print([link.name for link in red.links])
        ['lo']
    """

    _stage = NAMESPACES
    _by_messages = True
    _goes_ahead = True

    def __init__(self, name: str | None = None, *, persistent: bool = False) -> None:
        Resource.__init__(self)
        if name is None and persistent is False:
            self._registration, self._label = ANONYMOUS, "an anonymous namespace"
        else:
            self._registration, self._label = Registration(name, persistent), f"namespace '{name}'"
        self._open: Runtime | None = None

    # A Topology without IPv6 leaves link-local addresses to the kernel: see skip_duplicate_detection.
    _detects_duplicates = False

    # -- borrowing ----------------------------------------------------------------

    @classmethod
    def current(cls) -> Namespace:
        """The calling thread's namespace, borrowed: netkit never deletes it.

        Twin: ``/proc/thread-self/ns/net``. Raises AccessError where /proc may not be read.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace.current() as host:
            ...     print("lo" in host.links)
            True
        """
        return undisturbed(lambda: cls._borrow(nsfs.open_current(), "the current namespace"), Namespace.close)

    @classmethod
    def open(cls, name_or_path: str | os.PathLike[str]) -> Namespace:
        """A namespace by its name in /run/netns, or by a path, borrowed.

        Raises NotFoundError when it is missing or stale, SpecError for a file that is no
        namespace. Twin: what ``ip netns exec NAME`` does first.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace("red") as red, Namespace.open("red") as again:
            ...     print(again, [link.name for link in again.links])
            <Namespace 'red' (borrowed)> ['lo']
        """
        return undisturbed(lambda: cls._borrow_named(name_or_path), Namespace.close)

    @classmethod
    def _borrow_named(cls, name_or_path: str | os.PathLike[str]) -> Namespace:
        descriptor = open_registered(name_or_path)
        text = os.fspath(name_or_path)
        if "/" in text or not isinstance(name_or_path, str):
            directory, _, last = text.rpartition("/")
            name = last if directory == nsfs.NETNS_DIRECTORY else None
            return cls._borrow(descriptor, f"namespace {text}", name, text)
        return cls._borrow(descriptor, f"namespace '{text}'", name=text)

    @classmethod
    def from_pid(cls, pid: int) -> Namespace:
        """The namespace of a process (a container's), borrowed. Twin: ``nsenter --target PID --net``.

        Raises NotFoundError when there is no such process, AccessError for one that may not be looked at
        (ptrace(2)).

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box, box.popen(["sleep", "60"]) as process:
            ...     with Namespace.from_pid(process.pid) as inside:
            ...         print(len(inside.links))
            ...     process.kill()
            1
        """
        number = numbers.integer(pid, "pid", 1, 2**31 - 1)
        label = f"the namespace of process {number}"
        return undisturbed(lambda: cls._borrow(nsfs.open_pid(number), label), Namespace.close)

    @classmethod
    def from_fd(cls, fd: int) -> Namespace:
        """The namespace behind a descriptor, which is duplicated; borrowed.

        Twin: ``nsenter --net=/proc/self/fd/FD``. Raises SpecError for a descriptor of anything else.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box, Namespace.from_fd(box.fileno()) as again:
            ...     print(again.links["lo"].ifindex)
            1
        """
        label = "a namespace given by descriptor"
        return undisturbed(lambda: cls._borrow(nsfs.open_descriptor(fd), label), Namespace.close)

    @classmethod
    def _borrow(
        cls, descriptor: int, label: str, name: str | None = None, path: str | None = None
    ) -> Namespace:
        netns = cls()
        netns._registration = Registration(name, False, path)
        netns._label = label
        netns._open = attach_runtime(descriptor, label)
        netns._state = "borrowed"
        remember_first(netns, netns._open)
        return netns

    # -- who it is ----------------------------------------------------------------

    @property
    def name(self) -> str | None:
        """Its name in /run/netns, or None."""
        return self._registration.name

    @property
    def path(self) -> str:
        """A path by which other programs of this user find it: ``nsenter --net=PATH``.

        That of its name, and where somebody has removed the name, or made another namespace of it, that of
        our descriptor.
        """
        return self._registration.path(self._live_runtime())

    def __reduce__(self) -> tuple[Any, ...]:
        """For ``call()`` without root, which takes it to another process: there it is borrowed."""
        from netkit._system.functions import Descriptor

        return _taken_along, (Descriptor(self.fileno()),)

    def fileno(self) -> int:
        """The descriptor that holds it; it stays ours, so duplicate it to keep it.

        Twin: ``nsenter --net=/proc/PID/fd/N`` takes it. Raises StateError when it is not open.
        """
        return self._live_runtime().check()

    # -- what is in it ------------------------------------------------------------

    @property
    def links(self) -> Links:
        """Its links by name: ``links["eth0"]``, ``in``, iteration over Link objects."""
        return Links(self)

    def link(self, name: str) -> Link:
        """The link of this name, or alternative name. Twin: ``ip link show dev NAME``.

        Raises NotFoundError when there is none, SpecError for what can be no name.
        """
        return link_by_name(self, names.alternative_name(name, "link name"))

    @property
    def routes(self) -> RouteTable:
        """The table ``main``: iterate, ``.add()``, ``.replace()``, ``.delete()``, ``.get()``."""
        with naming_limits("read routes"):
            from netkit._route import RouteTable

        self._live_runtime()
        table = RouteTable(self)
        table._scoped = False
        return table

    @property
    def rules(self) -> Rules:
        """The policy routing rules: iterate, ``.add()``, ``.delete()``."""
        with naming_limits("read rules"):
            from netkit._rule import Rules

        return Rules(self)

    @property
    def neighbours(self) -> Neighbours:
        """The ARP and NDP entries: iterate, ``.add()``, ``.replace()``, ``.delete()``."""
        with naming_limits("read neighbours"):
            from netkit._neighbour import Neighbours

        return Neighbours(self)

    def snapshot(self, *, nat: bool = True) -> Snapshot:
        """Links, addresses, routes, rules, neighbours and NAT as one frozen value.

        Two snapshots are equal when only counters and indexes differ. Twin: ``ip -d address``, ``ip route
        show table all``, ``ip rule``, ``ip neighbour`` and ``nft list ruleset``. Only NAT rules take a
        capability to read, CAP_NET_ADMIN: with ``nat=False``, which leaves them out, an ordinary user reads
        the machine's own namespace. Raises AccessError else; ProtocolError for a malformed answer.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     before = box.snapshot()
            ...     _ = box.links["lo"].set(mtu=9000)
            ...     print(box.snapshot() == before, box.snapshot().link("lo").mtu)
            False 9000
        """
        with naming_limits("take a snapshot"):
            from netkit._snapshot import take_snapshot

        return take_snapshot(self, nat)

    def pyroute2(self) -> IPRoute:
        """A real pyroute2 socket bound here, for what netkit does not wrap; close it yourself.

        Twin: ``ip -n NAME``. Raises RuntimeError inside a running event loop, as pyroute2 does.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box, box.pyroute2() as ipr:
            ...     print(ipr.get_links()[0].get("ifname"))
            lo
        """
        from netkit._netlink.longtail import open_iproute

        return open_iproute(self._live_runtime().open_socket)

    @property
    def nat(self) -> NatRules:
        """The NAT rules, whoever made them: iterate, ``.verify()``, ``.ensure()``, ``.watch()``."""
        with naming_limits("read NAT rules"):
            from netkit._nat.view import NatRules

        return NatRules(self)

    @property
    def conntrack(self) -> Connections:
        """The connections that the kernel tracks: iterate, ``.filter()``, ``.delete()``, ``.count()``."""
        with naming_limits("read connections"):
            from netkit._conntrack import Connections

        return Connections(self)

    # -- lifecycle ----------------------------------------------------------------

    def _create(self, undo: Undo) -> None:
        # A descriptor is a bare number: a Ctrl-C before somebody is to close it would leave it open.
        undo.add(self._take_back)
        self._opened(create_runtime(self._label))
        take_steps(self._steps())

    @classmethod
    def _prepare(cls, resources: Sequence[Any], progress: Callable[[int], object]) -> None:
        detects = all(each._detects_duplicates for each in resources)
        runtimes = create_runtimes([each._label for each in resources], progress, detects)
        for netns, runtime in zip(resources, runtimes, strict=True):
            netns._open = runtime  # all first: what is not held by anybody would never be closed
        for netns, runtime in zip(resources, runtimes, strict=True):
            netns._opened(runtime)
            netns._state = "owned"  # the others that are created with it find it usable

    def _opened(self, runtime: Runtime) -> None:
        self._open = runtime
        self._registration.register(runtime)
        remember(self, runtime)

    def _steps(self, quiet: bool = False) -> Steps:
        raise_first((yield self._ahead()))

    def _ahead(self) -> Step:
        assert self._open is not None
        return self._open, _LOOPBACK_UP

    def _take_back(self) -> None:
        runtime, self._open = self._open, None
        if runtime is not None:
            try:
                self._registration.remove()
            finally:
                runtime.release()

    def _doom(self, doomed: set[Runtime]) -> None:
        if self._open is not None and self._state == "owned":
            doomed.add(self._open)

    def _places(self) -> list[tuple[Runtime, int]]:
        return [] if self._open is None else [(self._open, 0)]

    def _remove(self, teardown: Teardown) -> None:
        runtime = self._open
        if runtime is None:
            return
        try:
            self._end_processes(runtime)
        finally:
            self._take_back()

    def _exists(self) -> bool:
        return self._open is not None and self._open.fd >= 0

    def _check_detachable(self) -> None:
        if self._state == "owned":
            self._registration.check_persistent(self._live_runtime())

    def _detach(self) -> None:
        runtime, leaving = self._live_runtime(), set(self._members())
        self._registration.persist(runtime)
        for other in ROOT._held_members():  # what stays owned in it does not end with it any more
            if other not in leaving and other._is_alive() and runtime in other._runtimes():
                other._note_again()

    def _find(self) -> None:
        """What is registered under its name, if it can be taken over."""
        name = self.name
        if name is None:
            super()._find()
            return
        self._open = attach_runtime(open_registered(name), self._label)
        remember_first(self, self._open)

    def _lose(self) -> None:
        runtime, self._open = self._open, None
        self._registration.forget()
        if runtime is not None:
            runtime.release()

    def _adopt(self) -> None:
        runtime, persistent = self._live_runtime(), self._registration.persistent
        self._registration.take_over(runtime, repr(self))
        try:
            refuse_second_owner(self)  # who has looked when we did: now both are noted
        except BaseException:
            self._registration.give_back(persistent)
            raise
        if runtime.opener.journals:
            from netkit._lifecycle.inheritance import inherit_namespace

            inherit_namespace(runtime.opener.journals, runtime.place)

    def close(self) -> None:
        """Release the descriptor and sockets of a borrowed namespace; a second call does nothing.

        Twin: none, the kernel's namespace stays. Raises StateError for one that is owned: `delete()` it, or
        let its block end.
        """
        if self._state == "owned":
            raise StateError(f"{self!r} is owned: delete() it, or detach() it first")
        with held_signals():
            runtime, self._open = self._open, None
            if self._state == "borrowed":
                self._state = "closed"  # for good: create() would make another one
                self._registration.forget()
            if runtime is not None and self._pid == os.getpid():
                runtime.release()

    def __enter__(self) -> Self:
        if self._state == "borrowed":
            self._check_process()
            return self
        return super().__enter__()

    def _leave(self, problem: BaseException | None) -> None:
        super()._leave(problem)
        if self._state == "borrowed":
            self.close()

    # -- inside -------------------------------------------------------------------

    def _live_runtime(self) -> Runtime:
        opened = self._open
        if opened is None or self._pid != forks.pid or self._state not in ("owned", "borrowed"):
            self._check_live()  # which says what is wrong
            raise StateError(f"{self!r} is closed")
        return opened

    def _runtime_or_none(self) -> Runtime | None:
        return self._open if self._open is not None and self._open.fd >= 0 else None

    def _identity_or_none(self) -> tuple[int, int] | None:
        return None if self._open is None else self._open.identity

    def _same_as(self, other: Namespace) -> bool:
        return self is other or (
            self._identity_or_none() is not None and self._identity_or_none() == other._identity_or_none()
        )

    def _called(self) -> str:
        return self._label if self._open is None else self._open.label

    def __repr__(self) -> str:
        return f"<Namespace {_brief(self._called())}{self._aside()}>"


_LOOPBACK_UP = (LOOPBACK_UP,)


def _brief(label: str) -> str:
    """What a namespace is called, behind the word Namespace."""
    for words, brief in _BRIEF.items():
        if label.startswith(words):
            return brief + label[len(words) :]
    return label


_BRIEF = {
    "namespace ": "",
    "an anonymous namespace": "anonymous",
    "the current namespace": "current",
    "the namespace of ": "of ",
    "a namespace given ": "given ",
}


def _taken_along(fd: int) -> Namespace:
    taken = Namespace.from_fd(fd)
    os.close(fd)
    return taken
