"""Files below /proc that say how a namespace is now: opened in there once, they go on to tell of it.

What a file of /proc/sys/net or /proc/net tells was settled when it was opened. Read through a descriptor
that is kept, it costs one system call instead of two changes of threads, each of which waits on a busy
machine for its turn.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from weakref import WeakSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

_LONGEST = 4096
_OPEN = os.O_RDONLY | os.O_CLOEXEC


class KeptFiles:
    """``inside(function)`` runs a function in the namespace; descriptors are closed by `close`."""

    def __init__(self, inside: Callable[[Callable[[], Any]], Any]) -> None:
        self._inside = inside
        self._lock = allocate_lock()  # not held while inside, which may have to wait for who closes this
        self._kept: dict[str, int] = {}
        self._closed = False
        _all.add(self)

    def read(self, paths: Collection[str]) -> dict[str, str]:
        """What is in those that are there, without the newline at the end."""
        # Modules make these files in all namespaces: what is not here is not there either.
        new = [path for path in paths if path not in self._kept and os.path.exists(path)]
        opened: dict[str, int] = self._inside(lambda: _opened(new)) if new else {}
        with self._lock:
            for path, fd in opened.items():
                if self._closed or path in self._kept:
                    os.close(fd)
                else:
                    self._kept[path] = fd
            return {path: text for path in paths if (text := self._text(path)) is not None}

    def _text(self, path: str) -> str | None:
        fd = self._kept.get(path, -1)
        if fd < 0:
            return None
        try:
            return os.pread(fd, _LONGEST, 0).decode("ascii").rstrip("\n")
        except OSError:  # its module was unloaded; another one of the same name would be a new file
            os.close(self._kept.pop(path))
            return None

    def close(self) -> None:
        """Release the descriptors."""
        with self._lock:
            self._closed = True
            self.forget()

    def forget(self) -> None:
        """Release them without the lock, which in a forked child may be a thread's of the parent."""
        while self._kept:
            os.close(self._kept.popitem()[1])


def _opened(paths: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in paths:
        try:
            found[path] = os.open(path, _OPEN)
        except FileNotFoundError:
            continue
    return found


_all: WeakSet[KeptFiles] = WeakSet()


def _after_fork() -> None:
    for files in list(_all):
        files.forget()


os.register_at_fork(after_in_child=_after_fork)
