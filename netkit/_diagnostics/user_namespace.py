"""A user namespace for this very process: the way out for who has no capabilities."""

from __future__ import annotations

import os

from netkit._system.privilege import effective_capabilities
from netkit._system.syscalls import CLONE_NEWNET, unshare

_CLONE_NEWUSER = 0x10000000


def may_make_namespaces() -> bool:
    """Whether the capabilities to make and configure network namespaces are there."""
    return {"CAP_SYS_ADMIN", "CAP_NET_ADMIN"} <= effective_capabilities()


def enter_user_namespace() -> None:
    """Move this process into a user namespace of its own, with a network namespace; it is root there.

    Twin: ``unshare --map-root-user --net``. Raises OSError where that is forbidden, and in a process
    with a second thread (EINVAL, unshare(2)).
    """
    user, group = os.geteuid(), os.getegid()
    unshare(_CLONE_NEWUSER | CLONE_NEWNET)
    _write("setgroups", "deny")  # else gid_map is refused: user_namespaces(7)
    _write("uid_map", f"0 {user} 1")
    _write("gid_map", f"0 {group} 1")
    _use_own_xtables_lock()


def _use_own_xtables_lock() -> None:
    """iptables locks a file that only the machine's root can open. Nobody else can reach the namespaces
    made in here, so a file of this process does; it has no name and goes with the process."""
    if "XTABLES_LOCKFILE" not in os.environ:
        os.environ["XTABLES_LOCKFILE"] = f"/proc/{os.getpid()}/fd/{os.memfd_create('xtables.lock')}"


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
