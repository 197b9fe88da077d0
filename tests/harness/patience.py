"""How long tests wait. What is to come is waited for much longer than it takes: only a failing test waits
that long. What takes a given time at most is tried several times, for others may have the processors.

NETKIT_TEST_PATIENCE=10: all of it ten times as long, as in an emulated machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable

PATIENCE = float(os.environ.get("NETKIT_TEST_PATIENCE", "1"))
# Seconds, for what comes at once on a machine with nothing else to do. On a busy one four minutes were seen
# in which no process ran at all.
LONG = 300.0 * PATIENCE
AT_ONCE = 0.9 * PATIENCE  # seconds: less than duplicate address detection or a second solicitation takes
_TRIES = 10


def in_time(attempt: Callable[[], object]) -> None:
    """What is fast is so at least once: on a busy machine each try may be late, but not all of them."""
    for _ in range(_TRIES - 1):
        try:
            attempt()
        except AssertionError:
            continue
        return
    attempt()
