"""Namespaces for this very process: the way out for who has no capabilities, and for whole programs.

`netkit unshare`, `netkit demo`, `netkit doctor`, the broker and the test suite all enter them here.
"""

from __future__ import annotations

from fcntl import ioctl
from struct import pack, unpack_from

from netkit._system.id_maps import Mapper
from netkit._system.private_run import make_run_private
from netkit._system.privilege import effective_capabilities
from netkit._system.refusals import refused, suspects
from netkit._system.syscalls import CLONE_NEWNET, unshare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWUSER = 0x10000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def may_make_namespaces() -> bool:
    """Whether the capabilities to make and configure network namespaces are there."""
    return {"CAP_SYS_ADMIN", "CAP_NET_ADMIN"} <= effective_capabilities()


def isolate() -> None:
    """Move this process into network and mount namespaces of its own, where it is root.

    ``lo`` is up; /run is its own (`private_run`), so that names and the xtables lock
    are, too. Without the capabilities, that is inside a user namespace. Twins:
    ``unshare --net --mount`` and ``unshare --map-root-user --net --mount``.

    AccessError (or another KernelError) names the setting that forbids it. For a process with one
    thread: unshare(CLONE_NEWUSER) is refused to one with a second (EINVAL, unshare(2)).
    """
    told = suspects()
    if not may_make_namespaces():
        enter_user_namespace(told)
    take_namespaces(CLONE_NEWNS | CLONE_NEWNET, told)
    make_run_private(told)
    bring_loopback_up()


def enter_user_namespace(told: Sequence[str]) -> None:
    """Move this process into a user namespace where it is root; for a process with one thread."""
    mapper = Mapper()
    try:
        try:
            unshare(CLONE_NEWUSER)
        except OSError as problem:
            raise refused("make a user namespace", problem, told) from None
        try:
            mapper.map()
        except OSError as problem:  # Ubuntu's AppArmor lets one be made, and then nothing be done in it
            raise refused("become root in the new user namespace", problem, told) from None
    finally:
        mapper.close()


def take_namespaces(flags: int, told: Sequence[str] = ()) -> None:
    """Other namespaces for this process: CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID."""
    names = [
        name
        for flag, name in ((CLONE_NEWNS, "mount"), (CLONE_NEWNET, "network"), (CLONE_NEWPID, "pid"))
        if flags & flag
    ]
    try:
        unshare(flags)
    except OSError as problem:
        raise refused(f"make a {' and a '.join(names)} namespace", problem, told) from None


def bring_loopback_up() -> None:
    """Twin: ``ip link set lo up``."""
    from _socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket

    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        flags = unpack_from("h", ioctl(control.fileno(), _SIOCGIFFLAGS, pack("16sh14x", b"lo", 0)), 16)[0]
        ioctl(control.fileno(), _SIOCSIFFLAGS, pack("16sh14x", b"lo", flags | _IFF_UP))
    finally:
        control.close()
