"""Which namespace a thread, a path, a descriptor or a handle is of: device and inode, as /proc shows them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netkit import Namespace

HERE = "/proc/thread-self/ns/net"


def identity(of: str | int) -> tuple[int, int]:
    """Device and inode of a path or descriptor."""
    status = os.stat(of)
    return status.st_dev, status.st_ino


def inode(ns: Namespace) -> str:
    """As /proc shows it."""
    return f"net:[{os.fstat(ns.fileno()).st_ino}]"


def descriptors() -> list[str]:
    """The numbers of all that are open in this process."""
    return sorted(os.listdir("/proc/self/fd"))
