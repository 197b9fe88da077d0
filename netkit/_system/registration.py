"""Names of namespaces in /run/netns: made, repaired when stale, and removed only while they are ours.

Two forms, both followed by `ip netns exec`, `ip -n` and `nsenter --net=`: a symlink to a descriptor
of this process, which ends with the process, and the bind mount of `ip netns add`, which stays.
"""

from __future__ import annotations

import errno
import fcntl
import os

from netkit._system import namespace_files as nsfs
from netkit._system.signals import admitted_signals
from netkit._system.syscalls import MNT_DETACH, MS_BIND, MS_REC, MS_SHARED, mount, umount2
from netkit.errors import KernelError, StateError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_held: set[int] = set()
"""The descriptors that symlinks of this process lead to."""

# After a crash the pid and descriptor of a link can come back in another process, and few have
# descriptors as high as these. Up to 1023 the table is prepared (see worker.py).
_FIRST_FD, _RANDOM_FD, _RANDOM_FDS = 300, 512, 512


class Registration:
    """A name in /run/netns that this process made, or took over."""

    __slots__ = ("_fd", "_noted", "_target", "identity", "mounted", "name", "path")

    def __init__(self, name: str, identity: tuple[int, int], fd: int, target: str, noted: int = 0) -> None:
        self.name: Final = name
        self.path: Final = nsfs.registered_path(name)
        self.identity: Final = identity
        self.mounted: Final = fd < 0
        self._fd = fd
        self._target = target
        self._noted = noted

    def __repr__(self) -> str:
        return f"<Registration {self.path} {'mount' if self.mounted else '-> ' + self._target}>"

    @property
    def holds(self) -> bool:
        """Whether the path still is what was made here: not removed, not made anew by another."""
        if self.mounted:
            return nsfs.path_identity(self.path) == self.identity
        try:
            return os.readlink(self.path) == self._target
        except OSError:
            return False

    def remove(self) -> None:
        """Take the name away if it is still ours; needs no new descriptor.

        The link goes before the descriptor: in between it would name whatever takes the number.
        """
        try:
            if self.mounted:
                self._unmount()
            elif self.holds:
                os.unlink(self.path)
        except FileNotFoundError:
            pass  # somebody was quicker
        except OSError as error:
            # EBUSY: unmounted without the lock it was stale for a moment, and another one has mounted there.
            if not self.mounted or error.errno != errno.EBUSY:
                raise nsfs.refused(f"remove the name of namespace '{self.name}'", error, self.path) from None
        finally:
            self.forget()
        self.disown()

    def _unmount(self) -> None:
        """In between it is stale, and another process may put a name of its own there: not under the lock.

        Without a descriptor to take that with it goes on.
        """
        with _LockedDirectory(needed=False):
            if self.holds:
                umount2(self.path, MNT_DETACH)
                os.unlink(self.path)

    def disown(self) -> None:
        """Leave the name for good: it does not end with this process."""
        noted, self._noted = self._noted, 0
        _strike(noted)

    def give_descriptor(self) -> int:
        """The descriptor that the symlink leads to, which is the caller's from now on; -1 for a mount.

        It is to be closed after `remove`.
        """
        fd, self._fd = self._fd, -1
        _held.discard(fd)
        return fd

    def forget(self) -> None:
        """Close the descriptor and leave the path alone, as a child after a fork must."""
        fd, self._fd = self._fd, -1
        if fd in _held:
            _held.discard(fd)
            os.close(fd)


def register_symlink(name: str, fd: int) -> Registration:
    """Name the namespace by a symlink to a new descriptor of this process.

    A live name is ExistsError, a stale one is repaired; of several processes exactly one wins.
    Needs write access to /run/netns.
    """
    path, operation = nsfs.registered_path(name), f"create namespace '{name}'"
    held = _high_duplicate(fd, operation)
    noted = 0
    try:
        # Not getpid(): /proc may belong to another pid namespace than ours.
        target = f"/proc/{os.readlink('/proc/self')}/fd/{held}"
        _make_directory()
        noted = _note(name, fd, 0, target)
        try:
            os.symlink(target, path)
        except FileExistsError:
            with _LockedDirectory():
                _clear_stale(path)
                os.symlink(target, path)
    except BaseException as error:
        os.close(held)
        _strike(noted)
        if isinstance(error, KernelError) or not isinstance(error, OSError):  # of the journal, or a signal's
            raise
        raise nsfs.refused(operation, error, path) from None
    _held.add(held)
    return Registration(name, nsfs.identity(fd), held, target, noted)


def register_mount(name: str, fd: int, *, outlives: bool = True) -> Registration:
    """Name the namespace by a bind mount, as ``ip netns add`` does: it outlives this process.

    A live name is ExistsError, a stale one is repaired. ``outlives=False``: the /run is this process's
    own and ends with it, so the guard need not know. Needs CAP_SYS_ADMIN (mount(2)).
    """
    path, operation = nsfs.registered_path(name), f"create namespace '{name}'"
    noted = 0
    try:
        _make_directory()
        noted = _note_mount(name, fd) if outlives else 0
        # The lock also keeps others from taking the file for a stale one before it is mounted on.
        with _LockedDirectory():
            _share_directory()
            while not _mounted(fd, path):
                pass
    except BaseException as error:
        _strike(noted)
        if isinstance(error, KernelError) or not isinstance(error, OSError):
            raise
        raise nsfs.refused(operation, error, path) from None
    return Registration(name, nsfs.identity(fd), -1, "", noted)


def _mounted(fd: int, path: str) -> bool:
    """Make the file and mount on it; False if its last owner took it for his own in between.

    He unmounts, then removes the file, without the lock if he has no descriptor for that (or is `ip netns`).
    """
    _clear_stale(path)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    try:
        mount(f"/proc/self/fd/{fd}", path, MS_BIND)
    except OSError as error:
        if error.errno == errno.ENOENT and not os.path.lexists(path):
            return False
        os.unlink(path)
        raise
    return True


def registration_of(name: str, fd: int) -> Registration:
    """The registration of a name that exists already, so that this process may remove it.

    Only a mount of just this namespace can be taken over: a symlink belongs to another process.
    """
    path, operation = nsfs.registered_path(name), f"take over namespace '{name}'"
    found = Registration(name, nsfs.identity(fd), -1, "")
    if os.path.islink(path):
        raise StateError(f"cannot {operation}: {path} is a symlink into the process that owns it")
    if not found.holds:
        raise kernel_error(operation, errno.ENOENT, hint=f"{path} does not name this namespace (any more)")
    found._noted = _note_mount(name, fd)  # ours now
    return found


def _note_mount(name: str, fd: int) -> int:
    from netkit._system.places import cookie_here
    from netkit._system.worker import inside

    return _note(name, fd, inside(fd, cookie_here), "")


def _note(name: str, fd: int, cookie: int, target: str) -> int:
    from netkit._system.entries import NAME
    from netkit._system.journal import note
    from netkit._system.places import place

    return note(NAME, place(nsfs.identity(fd), cookie), name, target)


def _strike(noted: int) -> None:
    if noted:
        from netkit._system.journal import strike

        strike(noted)


def remove_name(name: str, target: str, identity: tuple[int, int] | None, dry_run: bool = False) -> bool:
    """Remove the name that a dead process has left; whether it was there.

    It is the symlink to ``target``, or without one the mount of the namespace that ``identity`` is; None
    if that is gone. StateError if the name stands for something else now.
    """
    path = nsfs.registered_path(name)
    try:
        with _LockedDirectory():
            if target:
                mounted = False
                ours = os.readlink(path) == target
            else:
                mounted = identity is not None and nsfs.path_identity(path) == identity
                ours = mounted or (nsfs.is_stale(path) and not os.path.islink(path))
            if not ours and os.path.lexists(path):
                raise StateError(f"{path} names something else now")
            if ours and not dry_run:
                if mounted:
                    umount2(path, MNT_DETACH)
                os.unlink(path)
            return ours
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.EINVAL:  # readlink: it is no symlink any more
            raise StateError(f"{path} names something else now") from None
        raise nsfs.refused(f"remove the name of namespace '{name}'", error, path) from None


def _high_duplicate(fd: int, operation: str) -> int:
    start = _RANDOM_FD + int.from_bytes(os.urandom(2), "little") % _RANDOM_FDS
    for lowest in (start, _FIRST_FD):
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
        except OSError as error:
            # EINVAL: RLIMIT_NOFILE is not above `lowest`; EMFILE: nothing free from there on.
            if error.errno not in (errno.EINVAL, errno.EMFILE):
                raise nsfs.refused(operation, error, f"/proc/self/fd/{fd}") from None
    limit = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    raise nsfs.refused(operation, limit, "/proc/self/fd")


def _make_directory() -> None:
    os.makedirs(nsfs.NETNS_DIRECTORY, 0o755, exist_ok=True)


class _LockedDirectory:
    """One repair or mount at a time; iproute2 takes the same lock (ip/ipnetns.c)."""

    __slots__ = ("_fd", "_needed")

    def __init__(self, needed: bool = True) -> None:
        self._fd = -1
        self._needed = needed

    def __enter__(self) -> None:
        try:
            self._fd = os.open(nsfs.NETNS_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            if self._needed:
                raise
            return
        try:
            with admitted_signals():
                fcntl.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:
            os.close(self._fd)
            raise

    def __exit__(self, *exc: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _clear_stale(path: str) -> None:
    """Remove a stale name; whatever else has the path stays, and is met again as EEXIST."""
    if nsfs.is_stale(path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return  # its owner was quicker


def _share_directory() -> None:
    """Make /run/netns a shared mount, so that mounts in it, and their ends, reach other mount namespaces."""
    directory = nsfs.NETNS_DIRECTORY
    try:
        mount("", directory, MS_SHARED | MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        mount(directory, directory, MS_BIND | MS_REC)
        mount("", directory, MS_SHARED | MS_REC)


def _after_fork() -> None:
    """A child that lives on would keep the parent's namespaces alive."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_after_fork)
