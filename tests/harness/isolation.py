"""Move this process into namespaces of its own, so that no test can touch the machine's network.

Only system calls through ctypes: this runs before anything is imported that could start a thread,
because `unshare(CLONE_NEWUSER)` is refused to a process with a second one (unshare(2)).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def isolate() -> str | None:
    """Enter a new network and mount namespace with an empty /run; say why if that is not possible.

    As root it is unshare(1)'s `unshare -n -m`; as an ordinary user `unshare -Urnm`. Doing it again
    inside is harmless: each pytest-xdist worker has its own.
    """
    try:
        if not _is_capable():
            _enter_user_namespace()
        _call("unshare", CLONE_NEWNS | CLONE_NEWNET)
        _private_run()
        _loopback_up()
    except OSError as error:
        return f"no namespaces of our own for this user: {error}"
    return None


def _is_capable() -> bool:
    """CAP_SYS_ADMIN and CAP_NET_ADMIN, which root in a container often lacks."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return bool(held >> 21 & 1 and held >> 12 & 1)
    return False


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")  # else gid_map is refused: user_namespaces(7)
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    os.environ["LOGNAME"] = (
        f"uid-{uid}"  # getpass.getuser() would say root, whose /tmp/pytest-of-root is not ours
    )


def _private_run() -> None:
    """Mounts made here stay here, and /run/netns, /run/netkit and the xtables lock are ours."""
    _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    _call("mount", b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755")
    os.mkdir("/run/netns", 0o755)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack_from("h", fcntl.ioctl(control, SIOCGIFFLAGS, request), 16)[0]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _call(name: str, *args: object) -> None:
    converted = [ctypes.c_ulong(arg) if isinstance(arg, int) and name == "mount" else arg for arg in args]
    if getattr(_libc, name)(*converted) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
