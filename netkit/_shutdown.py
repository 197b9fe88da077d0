"""Ending what a process has: everything owned is undone."""

from __future__ import annotations

import sys

from netkit._lifecycle import undo_all


def shutdown() -> None:
    """Undo everything that this process still owns, as the interpreter's exit does.

    For programs that end without exit handlers, such as a fork of a larger one. Afterwards
    netkit can be used again. Raises TeardownError for what could not be removed.
    """
    try:
        undo_all()
    finally:
        broker = sys.modules.get("netkit._system.broker")
        if broker is not None:
            broker.end()
