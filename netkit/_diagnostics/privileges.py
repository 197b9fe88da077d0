"""What this process may do: its user, its capabilities, and user namespaces as the way out."""

from __future__ import annotations

import os

from netkit._diagnostics.finding import Finding
from netkit._system.mode import VARIABLE, decide
from netkit._system.privilege import effective_capabilities
from netkit._system.refusals import suspects

_CAPABILITIES = (
    ("CAP_SYS_ADMIN", "making and entering network namespaces"),
    ("CAP_NET_ADMIN", "changing links, addresses, routes and NAT"),
    ("CAP_NET_RAW", "ns.ping() and packet sockets"),
)
# What the helper process cannot make good for somebody without root.
_LOST_WITH_HELPER = {
    "CAP_SYS_ADMIN": "ns.entered(), and entering namespaces that are not netkit's",
    "CAP_NET_ADMIN": "changing the namespace this process is in, and others that are not netkit's",
    "CAP_NET_RAW": "ns.ping() and packet sockets in namespaces that are not netkit's",
}
_MODE = "how namespaces are made"
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/uapi/linux/nsfs.h
_NAMES = "/run/netns"


def find_privileges(refusal: str | None) -> list[Finding]:
    """``refusal``: why a user namespace could not be had, None if one could."""
    rootless, why = decide()
    helped = rootless and refusal is None
    found = [Finding("user", "yes", f"uid {os.geteuid()}"), *_capabilities(helped)]
    return [*found, _mode(rootless, why), _user_namespaces(refusal), _names(helped), _pid_namespace()]


def _capabilities(helped: bool) -> list[Finding]:
    held = effective_capabilities()
    return [
        Finding(name, "yes")
        if name in held
        else Finding(name, "no", "not in effect (CapEff)", lost=_LOST_WITH_HELPER[name] if helped else lost)
        for name, lost in _CAPABILITIES
    ]


def _mode(rootless: bool, why: str) -> Finding:
    if rootless:
        return Finding(_MODE, "yes", f"without root, by a helper process in a user namespace ({why})")
    return Finding(_MODE, "yes", f"by this process ({why}); {VARIABLE}=1 would do it without root")


def _user_namespaces(refusal: str | None) -> Finding:
    name = "user namespaces"
    if refusal is None:
        return Finding(name, "yes", "so an ordinary user can work")
    return Finding(
        name,
        "no",
        refusal,
        option="CONFIG_USER_NS",
        sysctl=", ".join(suspects()) or "user.max_user_namespaces",
        lost="working without root",
    )


def _names(helped: bool) -> Finding:
    name = "named namespaces"
    directory = _NAMES if os.path.isdir(_NAMES) else os.path.dirname(_NAMES)
    if os.access(directory, os.W_OK | os.X_OK):
        return Finding(name, "yes", f"{_NAMES} can be written")
    lost = 'Namespace("name"); anonymous ones are not concerned'
    if helped:
        lost = "`ip netns exec name` from outside; this program, and what it runs inside, finds its names"
    return Finding(name, "no", f"{_NAMES} can't be written by this user", lost=lost)


def _pid_namespace() -> Finding:
    """A named namespace is a symlink into /proc/PID/fd: only its own pid namespace can follow it."""
    name = "first pid namespace"
    try:
        if os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE:
            return Finding(name, "yes")
    except OSError as problem:
        return Finding(name, "untried", str(problem))
    return Finding(
        name,
        "no",
        "this is a container: names in a /run/netns shared with others are followed only in here",
        lost="names for programs outside; persistent=True makes a mount, which they can follow",
    )
