"""Namespaces as a journal names them, and how they are found again by a process that holds none of them.

A namespace's inode number is given to another one as soon as it is free. Its cookie is not
(SO_NETNS_COOKIE, Linux 5.14), so both are compared; where the kernel has none it is 0.
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET, socket

from netkit._system import namespace_files as nsfs
from netkit._system.syscalls import CLONE_NEWNET, setns
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SO_NETNS_COOKIE = 71


def cookie_of(descriptor: int) -> int:
    """The cookie of the namespace that an rtnetlink socket is in; 0 before Linux 5.14."""
    borrowed = socket(AF_NETLINK, SOCK_RAW, 0, descriptor)  # not a copy: there may be no room for one
    try:
        return _cookie(borrowed)
    finally:
        borrowed.detach()


def cookie_here() -> int:
    """The cookie of the calling thread's namespace."""
    own = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        return _cookie(own)
    finally:
        own.close()


def _cookie(sock: socket) -> int:
    try:
        return int.from_bytes(sock.getsockopt(SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")
    except OSError:
        return 0


def place(identity: tuple[int, int], cookie: int) -> str:
    """How a journal calls a namespace."""
    return f"{identity[0]}:{identity[1]}:{cookie}"


def parse_place(text: str) -> tuple[tuple[int, int], int]:
    """The inverse. Raises ProtocolError."""
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 21 for part in parts):
        raise ProtocolError(f"{text[:60]!r} in a journal is no namespace")
    return (int(parts[0]), int(parts[1])), int(parts[2])


class Places:
    """Finds namespaces and enters them, with the calling thread: one of its own, or a process's only one.

    ``held`` are descriptors of some of them, which it closes.
    """

    def __init__(self, held: Mapping[str, int] | None = None) -> None:
        self._home = nsfs.open_current()
        self._inside = nsfs.identity(self._home)
        self._found: dict[str, int] = {**(held or {})}
        self._gone: set[str] = set()
        self._descriptors: dict[int, list[str]] | None = None

    def find(self, text: str, inhabited: bool = False, held: bool = True) -> int:
        """A descriptor of the namespace, which stays ours; -1 if it is nowhere: then it is gone.

        With ``inhabited`` it is only looked for among those that processes are in; without ``held`` not
        among those that are nothing but a descriptor of some process, who may have tens of thousands.
        """
        if text in self._found:
            return self._found[text]
        found = -1 if text in self._gone else self._search(*parse_place(text), inhabited, held)
        if found >= 0:
            self._found[text] = found
        elif held and not inhabited:
            self._gone.add(text)
        return found

    def at(self, path: str, text: str) -> int:
        """A descriptor of the namespace if it is what the path leads to, which stays ours; else -1."""
        if text in self._found:
            return self._found[text]
        found = self._checked(path, *parse_place(text))
        if found >= 0:
            self._found[text] = found
        return found

    def enter(self, fd: int) -> None:
        """Enter it. Where the thread is already, no capability is needed."""
        identity = nsfs.identity(fd)
        if identity != self._inside:
            setns(fd, CLONE_NEWNET)
            self._inside = identity

    def leave(self, text: str) -> None:
        """Close the descriptor of a namespace that is to end."""
        fd = self._found.pop(text, -1)
        if fd >= 0:
            self.go_home()
            os.close(fd)

    def go_home(self) -> None:
        """Back to where the thread was."""
        self.enter(self._home)

    def close(self) -> None:
        """Go home, and close everything."""
        self.go_home()
        for fd in [*self._found.values(), self._home]:
            os.close(fd)
        self._found.clear()

    def _search(self, identity: tuple[int, int], cookie: int, inhabited: bool, held: bool) -> int:
        for path in self._paths(identity[1], inhabited, held):
            if nsfs.path_identity(path) == identity:
                fd = self._checked(path, identity, cookie)
                if fd >= 0:
                    return fd
        return -1

    def _paths(self, inode: int, inhabited: bool, held: bool) -> Iterator[str]:
        """Where a namespace may be found, likely ones first: ours, names, processes, mounts, descriptors."""
        yield f"/proc/self/fd/{self._home}"
        yield "/proc/1/ns/net"
        if not inhabited:
            yield from (f"{nsfs.NETNS_DIRECTORY}/{name}" for name in _listed(nsfs.NETNS_DIRECTORY))
        yield from (f"/proc/{pid}/ns/net" for pid in _processes())
        if not inhabited:
            yield from _mounted()
        if held and not inhabited:
            if self._descriptors is None:  # once
                self._descriptors = _descriptors()
            yield from self._descriptors.get(inode, ())

    def _checked(self, path: str, identity: tuple[int, int], cookie: int) -> int:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return -1
        try:
            if nsfs.is_namespace(fd) and nsfs.identity(fd) == identity:
                self.enter(fd)
                if cookie_here() == cookie:
                    kept, fd = fd, -1
                    return kept
        finally:
            if fd >= 0:
                os.close(fd)
        return -1


def _processes() -> list[str]:
    return [name for name in _listed("/proc") if name.isdigit()]


def _descriptors() -> dict[int, list[str]]:
    """All descriptors of network namespaces that processes hold, by inode."""
    found: dict[int, list[str]] = {}
    for pid in _processes():
        for number in _listed(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{number}"
            try:
                target = os.readlink(path)
            except OSError:
                continue
            if target.startswith("net:["):
                found.setdefault(int(target[5:-1]), []).append(path)
    return found


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _mounted() -> Iterator[str]:
    """Mounts of namespaces (proc_pid_mountinfo(5)): what Docker and others name theirs by."""
    with open("/proc/self/mountinfo") as mounts:
        for each in mounts:
            words = each.split()
            if len(words) > 4 and words[3].startswith("net:["):
                yield words[4]
