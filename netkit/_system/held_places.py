"""Namespaces of others in which something of this process is noted, kept within the guard's reach.

A guard looks for a namespace among what processes and mounts show. One whose last visible holder was its
owner is not there: who else holds it may be in another pid namespace, as the program of an ordinary user
is for what its broker runs. So its descriptor waits, unread, in a socket that the guard can read: the
kernel keeps open what is on its way (unix(7)), and nobody has to wake for it.
"""

from __future__ import annotations

import os
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_DONTWAIT,
    SCM_RIGHTS,
    SOCK_CLOEXEC,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXT, _ROOM = 100, CMSG_SPACE(4)


class HeldPlaces:
    """Both ends, in the owner, which takes out again what it lets go of. One thread at a time."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._ends: tuple[socket, socket] | None = None

    def __contains__(self, place: str) -> bool:
        return place in self._names

    def reader(self) -> int:
        """The descriptor that the guard gets."""
        return self._open()[1].fileno()

    def descriptors(self) -> list[int]:
        """Both, if they are open."""
        return [end.fileno() for end in self._ends or ()]

    def hold(self, place: str, fd: int) -> None:
        """Keep a namespace. If there is no room (some hundred fit), the guard has to look for it."""
        if place not in self._names and _sent(self._open()[0], place, fd):
            self._names.add(place)

    def release(self, place: str) -> None:
        """Let go of it, if it is held."""
        if place not in self._names or self._ends is None:
            return
        self._names.clear()
        writer, reader = self._ends
        for each, fd in [*held_in(reader)]:
            if each != place and _sent(writer, each, fd):
                self._names.add(each)
            os.close(fd)

    def close(self) -> None:
        """Let go of all; also in a child after fork, where both ends are the parent's, too."""
        for end in self._ends or ():
            end.close()
        self.__init__()  # type: ignore[misc]

    def _open(self) -> tuple[socket, socket]:
        if self._ends is None:
            self._ends = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        return self._ends


def held_in(reader: socket) -> Iterator[tuple[str, int]]:
    """Take out what waits: names and descriptors, which are the caller's."""
    while True:
        try:
            text, attached, _, _ = reader.recvmsg(_TEXT, _ROOM, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        fds = [int.from_bytes(data[:4], "little") for _, kind, data in attached if kind == SCM_RIGHTS]
        if not fds:
            return  # the end: who wrote is gone
        yield text.decode(), fds[0]


def _sent(writer: socket, place: str, fd: int) -> bool:
    try:
        attached = [(SOL_SOCKET, SCM_RIGHTS, fd.to_bytes(4, "little"))]
        return bool(writer.sendmsg([place.encode()], attached, MSG_DONTWAIT))
    except OSError:  # EAGAIN; ETOOMANYREFS when more is on its way than RLIMIT_NOFILE allows (unix(7))
        return False
