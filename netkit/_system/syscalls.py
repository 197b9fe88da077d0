"""The system calls that Python's ``os`` lacks: mount, umount2, fsmount, and before 3.12 setns and unshare."""

from __future__ import annotations

import os
import sys
from errno import ENOSYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWNET = 0x40000000
MNT_DETACH = 2
_CLOEXEC = 1  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
_FSCONFIG_CMD_CREATE, _NOSUID_NODEV_NOEXEC = 6, 0x2 | 0x4 | 0x8  # include/uapi/linux/mount.h
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

if sys.version_info >= (3, 12):
    setns, unshare = os.setns, os.unshare
else:
    # Once Python 3.12 is the floor this goes. _ctypes alone, which 3.11 will not change any more,
    # is loaded in 0.8 ms; ctypes takes 3.5 ms, on the way to the first namespace.
    if TYPE_CHECKING:
        from collections.abc import Callable

    _loaded: dict[str, Callable[..., int]] = {}

    def _load(name: str) -> Callable[..., int]:
        import _ctypes

        class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # pyright: ignore
            _type_ = "i"

        class Function(_ctypes.CFuncPtr):
            _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
            _restype_ = Int

        program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # pyright: ignore
        _loaded["get_errno"] = _ctypes.get_errno
        for each in ("setns", "unshare"):
            _loaded[each] = Function(_ctypes.dlsym(program, each))
        return _loaded[name]

    def _refused() -> OSError:
        number = _loaded["get_errno"]()
        return OSError(number, os.strerror(number))

    def setns(fd: int, nstype: int = 0) -> None:
        """Move the calling thread into the namespace of ``fd`` (setns(2))."""
        if (_loaded.get("setns") or _load("setns"))(fd, nstype) != 0:
            raise _refused()

    def unshare(flags: int) -> None:
        """Give the calling thread namespaces of its own (unshare(2))."""
        if (_loaded.get("unshare") or _load("unshare"))(flags) != 0:
            raise _refused()


def mount(source: str, target: str, flags: int, kind: str = "none", options: str | None = None) -> None:
    """Mount; without a file system's kind: bind mounts and propagation changes (mount(2))."""
    data = None if options is None else options.encode()
    _call("mount", os.fsencode(source), os.fsencode(target), kind.encode(), flags, data)


def umount2(target: str, flags: int) -> None:
    """Unmount (umount2(2))."""
    _call("umount2", os.fsencode(target), flags)


def new_mount(kind: str) -> int:
    """A file system of one's own that is mounted nowhere: the descriptor of its root (fsopen(2), fsmount(2)).

    OSError: ENOSYS where the C library does not know of it either (glibc before 2.36).
    """
    context = _call("fsopen", kind.encode(), _CLOEXEC)
    try:
        _call("fsconfig", context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call("fsmount", context, _CLOEXEC, _NOSUID_NODEV_NOEXEC)
    finally:
        os.close(context)


def load() -> None:
    """Load what the functions here need, for a program that may find no files later."""
    import ctypes

    ctypes.CDLL(None, use_errno=True)
    if sys.version_info < (3, 12):
        _load("setns")


_functions: dict[str, Any] = {}


def _call(name: str, *arguments: int | bytes | None) -> int:
    import ctypes  # milliseconds, and only persistent names and crowds need it

    function = _functions.get(name)
    if function is None:  # each CDLL makes a class, which only the garbage collector frees
        try:
            function = _functions[name] = ctypes.CDLL(None, use_errno=True)[name]
        except AttributeError:
            raise OSError(ENOSYS, os.strerror(ENOSYS)) from None
    typed = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    result: int = function(*typed)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
