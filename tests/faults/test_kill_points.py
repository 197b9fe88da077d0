"""SIGKILL at every system call that changes kernel state: within two seconds the host is what it was (F01).

The host is compared as a whole: links, addresses, routes, rules, both firewalls, sysctls, namespace
directory, journal, mounts, and no process is left.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest

from tests.harness.sweep import sweep
from tests.harness.syscall_stops import cannot_stop
from tests.harness.tools import needs

pytestmark = [
    pytest.mark.kernel,
    needs("ip", "nft", "iptables-legacy"),
    pytest.mark.skipif(bool(cannot_stop()), reason=cannot_stop() or ""),
]

GUARDED = pytest.mark.skipif(not find_spec("netkit._system.guard"), reason="the guard is not there yet")
SCENARIOS = ["by_the_kernel", pytest.param("whole", marks=GUARDED)]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_F01_killed_at_every_call_nothing_is_left(
    scenario: str, seed: int, soak: bool, count: Callable[..., None]
) -> None:
    found = sweep(scenario, seed)
    count(
        f"Every kill point: {scenario.replace('_', ' ')}",
        points=found.points,
        differences=len(found.left),
        late=found.late,
        slowest=found.slowest,
    )
    assert found.left == []
    assert found.points >= found.calls > 50
    # Somebody else may have the processors; a soak is run where nobody does.
    assert found.late <= (0 if soak else found.points // 10)
