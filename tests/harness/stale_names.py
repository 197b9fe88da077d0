"""Names in /run/netns that lead to no namespace, as crashes of various programs leave them."""

from __future__ import annotations

from pathlib import Path


def dangling(path: Path) -> None:
    """What netkit leaves whose process and guard were killed, as long as no other process has its number."""
    path.symlink_to("/proc/999999999/fd/400")


def reused(path: Path) -> None:
    """The same when another one has, and some other file open."""
    path.symlink_to("/proc/self/fd/0")


def placeholder(path: Path) -> None:
    """What `ip netns add` leaves when it is killed before it mounts; after a boot, if /run is kept."""
    path.touch(mode=0)
