"""Ending what a process has: everything owned is undone."""

from __future__ import annotations

import sys

from netkit._lifecycle import end_guard, undo_all


def shutdown() -> None:
    """Undo everything that this process still owns, as the interpreter's exit does; end guard and broker.

    For programs that end without exit handlers, such as a fork of a larger one. Afterwards
    netkit can be used again. Raises TeardownError for what could not be removed.

    Twin: none.
    """
    try:
        undo_all()
    finally:
        if not end_guard():  # something could not be removed: it is left to `netkit gc`
            sys.modules["netkit._system.journal"].journal.abandon()
        broker = sys.modules.get("netkit._system.broker")
        if broker is not None:
            broker.end()
