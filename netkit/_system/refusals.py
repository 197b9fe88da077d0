"""Why the kernel does not let this user have namespaces: the settings that forbid it, as they are now."""

from __future__ import annotations

import os
from errno import ENOSPC

from netkit.errors import kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from netkit.errors import KernelError

# What forbids it. The second is Debian's, the third Ubuntu's; the others are limits (namespaces(7)).
_SYSCTLS = (
    ("user.max_user_namespaces", "0"),
    ("kernel.unprivileged_userns_clone", "0"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ("user.max_net_namespaces", "0"),
    ("user.max_mnt_namespaces", "0"),
    ("user.max_pid_namespaces", "0"),
)
_NETWORKS = "user.max_net_namespaces"
_MOUNTS = "/proc/self/mountinfo"
_FIRST_MOUNTS = "/proc/1/mountinfo"  # everybody may read it, unlike /proc/1/root
_ALLOWED = "/proc/sys/fs/binfmt_misc"  # on a directory that is always empty: hides nothing
_MAPS = "/proc/self/uid_map"


def suspects() -> list[str]:
    """The settings that may forbid user namespaces, with their values; those that do so now say so."""
    told: list[str] = []
    for key, forbids in _SYSCTLS:
        value = _read("/proc/sys/" + key.replace(".", "/"))
        if value is not None:
            told.append(f"{key} = {value}{' (forbids it)' if value == forbids else ''}")
    if _filtered():
        told.append("Seccomp = 2 in /proc/self/status (a filter, as containers have, may forbid unshare)")
    if _chrooted():
        told.append("/ is that of a chroot, in which the kernel makes no user namespace (user_namespaces(7))")
    if hiding := _hiding():
        told.append(
            f"mounts on parts of /proc, as containers have: {', '.join(hiding)} (forbid another /proc)"
        )
    if not os.path.exists(_MAPS):
        told.append(f"{_MAPS} is missing: /proc is not mounted, or the kernel lacks CONFIG_USER_NS")
    return told


def refused(operation: str, problem: OSError, told: Sequence[str]) -> KernelError:
    """The error for a namespace that this user may not have.

    ``told`` is what `suspects` said before the first try: in a new user namespace user.* are other values.
    """
    need = "It needs CAP_SYS_ADMIN, or a user namespace. What can forbid that one"
    if problem.errno == ENOSPC:
        need = "A limit is reached, here or in a user namespace around this one. They are here"
    return kernel_error(
        operation,
        problem.errno or 0,
        missing_capability="CAP_SYS_ADMIN",
        hint=f"{need}: {', '.join(told)}",
    )


def limit_of_networks() -> str:
    """What to say when there are as many network namespaces as there may be (ENOSPC)."""
    value = _read("/proc/sys/" + _NETWORKS.replace(".", "/"))
    return f"The limit is the sysctl {_NETWORKS} = {value}, or that of a user namespace around this one"


def _hiding() -> list[str]:
    """What is mounted on things in /proc: the kernel allows no second /proc then (mnt_already_visible)."""
    return [path for path in _mounts(_MOUNTS).values() if path.startswith("/proc/") and path != _ALLOWED]


def _mounts(file: str) -> dict[str, str]:
    """The mount points below somebody's own root, by their numbers."""
    return {words[0]: words[4] for words in map(str.split, (_read(file) or "").splitlines())}


def _chrooted() -> bool:
    """Whether / is not the root of the mount namespace: then unshare(CLONE_NEWUSER) is EPERM for everybody.

    Either / is no mount at all; or it is one that process 1, of the same mount namespace, sees elsewhere
    (numbers of mounts are the machine's, and a copied mount namespace has others).
    """
    here, first = _mounts(_MOUNTS), _mounts(_FIRST_MOUNTS)
    roots = [number for number, path in here.items() if path == "/"]
    return bool(here) and all(first.get(number, "/") != "/" for number in roots)


def _filtered() -> bool:
    status = _read("/proc/self/status") or ""
    return any(line.split() == ["Seccomp:", "2"] for line in status.splitlines())


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None
