"""What dead processes have left that an ordinary user sees and may not remove: `netkit gc` tells of it.

He leaves nothing himself: his namespaces, their names and mounts end with his broker.
"""

from __future__ import annotations

import os

from netkit._lifecycle.reclaim import FOREIGN, Finding
from netkit._lifecycle.tags import links_here
from netkit._system.journal import DIRECTORY
from netkit._system.privilege import missing_capability

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED = ("CAP_SYS_ADMIN", "CAP_NET_ADMIN")


def missing() -> str:
    """The capabilities that are missing to remove anything, in words; empty if there is none."""
    return " and ".join([name for name in _NEEDED if missing_capability(name)])


def told_only(found: Finding, lacking: str) -> Finding:
    """The same, left alone for want of these capabilities."""
    return Finding(None, found.what, FOREIGN, f"{lacking} missing: run `netkit gc` as root")


def seen(lacking: str) -> Iterator[tuple[str, Finding]]:
    """What has been noted, by whom, and links here that bear a dead process's tag."""
    for owner in _noted():
        what = f"what process {owner.partition('-')[0]} has noted"
        yield owner, told_only(Finding(None, what, FOREIGN), lacking)
    for owner, found in links_here(dry_run=True, known=()):
        yield owner, told_only(found, lacking)


def _noted() -> list[str]:
    """The owners of journals whose process is not there: they are readable by their owners only."""
    try:
        names = sorted(os.listdir(DIRECTORY))
        os.stat("/proc/1")  # else others' processes are hidden
    except OSError:
        return []
    owners = [name.rpartition("-")[0] for name in names]
    pids = {owner: owner.partition("-")[0] for owner in owners}
    dead = [owner for owner, pid in pids.items() if pid.isdigit() and not os.path.exists(f"/proc/{pid}")]
    return list(dict.fromkeys(dead))
