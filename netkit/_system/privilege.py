"""Which capabilities the calling thread has, and whether they count in a network namespace."""

from __future__ import annotations

import os
import sys
from errno import ENOENT
from fcntl import ioctl

from netkit.errors import kernel_error

# capabilities(7) in the order of linux/capability.h.
CAPABILITIES = tuple(
    "CAP_" + name
    for name in (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
        "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
        "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
        "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
        "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
)

# linux/nsfs.h
NS_GET_USERNS = 0xB701
NS_GET_PARENT = 0xB702
NS_GET_OWNER_UID = 0xB704

_OWN_USER_NAMESPACE = "/proc/thread-self/ns/user"


def effective_mask() -> int:
    """CapEff of the calling thread, one bit per capability. KernelError where /proc does not tell."""
    try:
        with open("/proc/thread-self/status", "rb") as status:
            for line in status:
                if line.startswith(b"CapEff:"):
                    return int(line[7:], 16)
    except OSError as problem:
        number = problem.errno or 0
    else:
        number = ENOENT
    hint = "CapEff is not in /proc/thread-self/status: is /proc mounted? As root: mount -t proc proc /proc"
    operation = "read the capabilities of this process"
    raise kernel_error(operation, number, hint=hint if number == ENOENT else None)


def effective_capabilities() -> frozenset[str]:
    """The names of the capabilities in effect, such as ``CAP_NET_ADMIN``."""
    mask = effective_mask()
    return frozenset(name for number, name in enumerate(CAPABILITIES) if mask >> number & 1)


def missing_capability(name: str, namespace: int | None = None) -> str | None:
    """``name`` if the calling thread lacks that capability, else None.

    ``namespace`` is a network namespace's descriptor: a capability counts there only when the
    user namespace that owns it is the thread's own or a descendant (user_namespaces(7)).
    Needs nothing. Never an exception: where /proc does not tell, None ("not known to be missing").
    """
    try:
        held = bool(effective_mask() >> CAPABILITIES.index(name) & 1)
        present = held if namespace is None else _counts_in(namespace, held)
    except OSError:
        return None
    return None if present else name


def _counts_in(namespace: int, held: bool) -> bool:
    try:
        owner = ioctl(namespace, NS_GET_USERNS)
    except PermissionError:
        return False  # owned by a user namespace that is not ours and not below ours
    try:
        return held if _same(owner) else held or _is_owner_of(owner)
    finally:
        os.close(owner)


def _same(user_namespace: int) -> bool:
    own, other = os.stat(_OWN_USER_NAMESPACE), os.fstat(user_namespace)
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)


def _is_owner_of(descendant: int) -> bool:
    """Whether the thread's user made the child namespace that ``descendant`` lies in."""
    current = os.dup(descendant)
    try:
        while True:
            parent = ioctl(current, NS_GET_PARENT)
            if _same(parent):
                os.close(parent)
                return _owner_uid(current) == os.geteuid()
            os.close(current)
            current = parent
    finally:
        os.close(current)


def _owner_uid(user_namespace: int) -> int:
    buffer = bytearray(4)
    ioctl(user_namespace, NS_GET_OWNER_UID, buffer)
    return int.from_bytes(buffer, sys.byteorder)
