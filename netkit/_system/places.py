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
    from collections.abc import Iterator

_SO_NETNS_COOKIE = 71


def cookie_of(descriptor: int) -> int:
    """The cookie of the namespace that an rtnetlink socket is in; 0 before Linux 5.14."""
    return _cookie(socket(AF_NETLINK, SOCK_RAW, 0, os.dup(descriptor)))


def cookie_here() -> int:
    """The cookie of the calling thread's namespace."""
    return _cookie(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC))


def _cookie(sock: socket) -> int:
    try:
        return int.from_bytes(sock.getsockopt(SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")
    except OSError:
        return 0
    finally:
        sock.close()


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
    """Finds namespaces and enters them, with the calling thread: one of its own, or a process's only one."""

    def __init__(self) -> None:
        self._home = nsfs.open_current()
        self._inside = nsfs.identity(self._home)
        self._found: dict[str, int] = {}

    def find(self, text: str) -> int:
        """A descriptor of the namespace, which stays ours; -1 if it is nowhere: then it is gone."""
        if text not in self._found:
            self._found[text] = self._search(*parse_place(text))
        return self._found[text]

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
            if fd >= 0:
                os.close(fd)
        self._found.clear()

    def _search(self, identity: tuple[int, int], cookie: int) -> int:
        for path in _paths(self._home):
            if nsfs.path_identity(path) == identity:
                fd = self._checked(path, identity, cookie)
                if fd >= 0:
                    return fd
        return -1

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


def _paths(home: int) -> Iterator[str]:
    """Where a namespace may be found, likely ones first: ours, names, processes, mounts, descriptors."""
    yield f"/proc/self/fd/{home}"
    yield "/proc/1/ns/net"
    yield from _in_directory(nsfs.NETNS_DIRECTORY)
    processes = [f"/proc/{pid}" for pid in _listed("/proc") if pid.isdigit()]
    yield from (f"{process}/ns/net" for process in processes)
    yield from _mounted()
    for process in processes:
        yield from _in_directory(f"{process}/fd")


def _in_directory(path: str) -> Iterator[str]:
    return (f"{path}/{name}" for name in _listed(path))


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
