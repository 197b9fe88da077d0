"""The guard: a small process that outlives this one by a moment, and undoes what the kernel does not.

It is a fresh interpreter (``-I -S``, parts of netkit only) in a session of its own, with all signals
blocked: neither the terminal's Ctrl-C, nor a kill of this process's group, nor a service manager's
SIGTERM stops it. It waits for this process's pidfd, reads the journal, undoes, and ends.
"""

from __future__ import annotations

import os
import sys

from netkit._system.interpreter import spawn_helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from netkit._system.orphan import Orphan

_signal: Any = sys.modules["_signal"]  # the signal module makes enums of its constants
_FOR_IPTABLES = ("PATH", "XTABLES_LOCKFILE", "XTABLES_LIBDIR")


def start(journal: int, path: str, places: int) -> Orphan | None:
    """Start the guard of this process; None where no interpreter is known (a program that embeds Python).

    ``places``: where it finds namespaces, see held_places. Returns as soon as it is a process: dying before
    it has begun to wait makes no difference to it.
    """
    if not sys.executable:
        return None
    owner = os.pidfd_open(os.getpid())
    try:
        return spawn_helper(
            "_lifecycle.guard_program", [journal, owner, places], "what would outlive this process", path,
            new_session=True, blocked=_signal.valid_signals(), variables=_FOR_IPTABLES,
        )  # fmt: skip
    finally:
        os.close(owner)
