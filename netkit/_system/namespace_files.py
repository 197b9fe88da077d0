"""Network namespaces as files: open and identify them, tell a live name from a stale one."""

from __future__ import annotations

import errno
import os
import stat
from fcntl import F_DUPFD_CLOEXEC, fcntl, ioctl

from netkit._spec.value import shown, shown_path
from netkit._system.privilege import missing_capability
from netkit._system.syscalls import CLONE_NEWNET
from netkit.errors import KernelError, NotFoundError, SpecError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class _HasFileno(Protocol):
        def fileno(self) -> int: ...


NETNS_DIRECTORY = "/run/netns"

_NS_GET_NSTYPE = 0xB703  # linux/nsfs.h
_SIOCGSKNS = 0x894C  # linux/sockios.h
_OPEN = os.O_RDONLY | os.O_CLOEXEC


def identity(fd: int) -> tuple[int, int]:
    """Device and inode: what makes two descriptors the same namespace."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def path_identity(path: str) -> tuple[int, int] | None:
    """Device and inode of what a path leads to, or None."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_namespace(fd: int) -> bool:
    """Whether the descriptor is a network namespace's (NS_GET_NSTYPE, ioctl_nsfs(2))."""
    try:
        # nsfs files are regular ones; an ioctl on a device could mean something else.
        return stat.S_ISREG(os.fstat(fd).st_mode) and ioctl(fd, _NS_GET_NSTYPE) == CLONE_NEWNET
    except OSError:
        return False


def open_current() -> int:
    """The calling thread's network namespace. (/proc/self would be the main thread's.)"""
    return _open("/proc/thread-self/ns/net", "open the current network namespace")


def open_of_socket(sock: int | _HasFileno) -> int:
    """The network namespace of a socket that the calling thread has just opened in its own.

    Without a path to look up, which after the making of a namespace costs 6 us (SIOCGSKNS in net/socket.c).
    It takes CAP_NET_ADMIN, which who may make namespaces need not have.
    """
    try:
        return ioctl(sock, _SIOCGSKNS)
    except OSError:
        return open_current()


def open_pid(pid: int) -> int:
    """The network namespace of a process; NotFoundError if there is none of that number."""
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SpecError(f"pid {shown(pid)} is no process: it is an int above 0")
    return _open(f"/proc/{pid}/ns/net", f"open the network namespace of process {pid}")


def open_name_or_path(value: str | os.PathLike[str]) -> int:
    """A namespace by its name in /run/netns, or by a path (with a slash, or a PathLike).

    NotFoundError if it is missing or stale, SpecError if the path is no network namespace.
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    text = repr(path)
    if not isinstance(path, str) or not path or "\0" in path:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SpecError(
            f"{shown(value)} is no name and no path of a namespace: give a str or a Path without NUL"
        )
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise SpecError(
            f"{text} is no name and no path of a namespace: it cannot be written in UTF-8"
        ) from None
    if isinstance(value, str) and "/" not in value:
        path = registered_path(value)
    operation = f"open namespace {text}"
    _refuse_stale(path, operation)
    try:
        return _open_namespace(path, operation)
    except NotFoundError:
        _refuse_stale(path, operation)
        raise
    except (SpecError, KernelError):  # it may have been removed half-way: by who owns it, or cleans up
        _refuse_stale(path, operation)
        if not os.path.lexists(path):
            raise kernel_error(operation, errno.ENOENT, hint=f"The path is {shown_path(path)}") from None
        raise


def _refuse_stale(path: str, operation: str) -> None:
    if _is_stale(path, operation):
        raise kernel_error(
            operation, errno.ENOENT, hint=f"{shown_path(path)} is stale: the namespace it named is gone"
        )


def _open_namespace(path: str, operation: str) -> int:
    if not _is_regular(path, operation):
        raise SpecError(f"{shown_path(path)} is no network namespace: it is not even a regular file")
    fd = _open(path, operation)
    if not is_namespace(fd):
        os.close(fd)
        raise SpecError(
            f"{shown_path(path)} is no network namespace: it is an ordinary file or another kind of namespace"
        )
    return fd


def open_descriptor(fd: int) -> int:
    """A duplicate of a namespace's descriptor; SpecError if it is something else."""
    if not isinstance(fd, int) or isinstance(fd, bool) or not 0 <= fd < 2**31:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SpecError(f"fd {shown(fd)} is no descriptor: it is an int, 0 to 2147483647")
    try:
        duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0)
    except OSError as error:
        raise kernel_error(f"duplicate descriptor {fd}", error.errno or 0) from None
    if not is_namespace(duplicate):
        os.close(duplicate)
        raise SpecError(f"fd {fd} is no network namespace")
    return duplicate


def registered_path(name: str) -> str:
    """Where a name is registered: one component below /run/netns, never outside it."""
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise SpecError(f"namespace name {name!r} is no name in {NETNS_DIRECTORY}")
    size = len(os.fsencode(name))
    if size > 255:  # NAME_MAX
        raise SpecError(f"namespace name {shown(name)} has {size} bytes, 255 is the most")
    return f"{NETNS_DIRECTORY}/{name}"


def is_stale(path: str) -> bool:
    """Whether the path once named a namespace that is gone.

    Stale are a symlink that dangles or leads to a descriptor that is now something else, and in
    /run/netns the empty file on which a namespace was mounted.
    """
    try:
        linked = stat.S_ISLNK(os.lstat(path).st_mode)
        target = os.readlink(path) if linked else ""
        status = os.stat(path)
    except FileNotFoundError:
        return os.path.lexists(path)
    except OSError:
        return False  # a link that may not be followed: whatever it is, it is not known to be stale
    if linked:
        return target.startswith("/proc/") and not _names_namespace(path, status)
    directory = os.path.dirname(os.path.abspath(path))
    placeholder = stat.S_ISREG(status.st_mode) and status.st_size == 0
    return (
        placeholder
        and os.path.realpath(directory) == os.path.realpath(NETNS_DIRECTORY)
        and (not _names_namespace(path, status))
    )


def _names_namespace(path: str, status: os.stat_result) -> bool:
    if not stat.S_ISREG(status.st_mode):
        return False
    try:
        fd = os.open(path, _OPEN | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except PermissionError:
        # A namespace's file may be opened by anybody who can reach it, except one that an
        # unprivileged `ip netns add` left empty with mode 0.
        return status.st_size != 0
    try:
        return is_namespace(fd)
    finally:
        os.close(fd)


def _is_stale(path: str, operation: str) -> bool:
    try:
        return is_stale(path)
    except OSError as error:  # no descriptor left to look with
        raise refused(operation, error, path) from None


def _is_regular(path: str, operation: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        raise refused(operation, error, path) from None


def _open(path: str, operation: str) -> int:
    try:
        return os.open(path, _OPEN | os.O_NONBLOCK)
    except OSError as error:
        raise refused(operation, error, path) from None


def _leads_to_proc(path: str) -> bool:
    if path.startswith("/proc/"):
        return True
    try:
        return os.readlink(path).startswith("/proc/")
    except OSError:
        return False  # no link, or not to be read


def refused(operation: str, error: OSError, path: str) -> KernelError:
    """The exception for a path of /proc or /run/netns that the kernel did not let us use."""
    capability = "CAP_SYS_PTRACE" if _leads_to_proc(path) else "CAP_SYS_ADMIN"
    missing = missing_capability(capability)
    hint = (
        None if missing and error.errno in (errno.EPERM, errno.EACCES) else f"The path is {shown_path(path)}"
    )
    if error.errno == errno.EACCES and not missing and path.startswith(NETNS_DIRECTORY):
        way = "in a user namespace names need a /run of its own: mount -t tmpfs none /run"
        hint = f"The path is {shown_path(path)}; {way}"
    if error.errno == errno.EEXIST:
        hint = (
            f"The path is {shown_path(path)}; Namespace.open({os.path.basename(path)!r}) opens what is there"
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        hint = None  # errors.py names the limit
    return kernel_error(operation, error.errno or 0, hint=hint, missing_capability=missing)
