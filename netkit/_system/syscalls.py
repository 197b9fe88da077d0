"""The system calls that Python's ``os`` lacks: mount and umount2, and before 3.12 setns and unshare.

ctypes is imported on the first call that needs it, since it costs milliseconds.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

CLONE_NEWNET = 0x40000000
MNT_DETACH = 2
MS_BIND = 4096
MS_REC = 16384
MS_SHARED = 1 << 20

_libc: ctypes.CDLL | None = None


def _call(name: str, *arguments: int | bytes | None) -> None:
    global _libc
    import ctypes

    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    typed = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if _libc[name](*typed) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _setns(fd: int, nstype: int = CLONE_NEWNET) -> None:
    """Move the calling thread into the namespace of ``fd`` (setns(2))."""
    _call("setns", fd, nstype)


def _unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own (unshare(2))."""
    _call("unshare", flags)


setns: Callable[[int, int], None]
unshare: Callable[[int], None]
if sys.version_info >= (3, 12):
    setns, unshare = os.setns, os.unshare
else:
    setns, unshare = _setns, _unshare


def mount(source: str, target: str, flags: int) -> None:
    """Mount without a file system type or data: bind mounts and propagation changes (mount(2))."""
    _call("mount", os.fsencode(source), os.fsencode(target), b"none", flags, None)


def umount2(target: str, flags: int) -> None:
    """Unmount (umount2(2))."""
    _call("umount2", os.fsencode(target), flags)
