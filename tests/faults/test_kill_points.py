"""SIGKILL at every system call that changes kernel state: within two seconds the host is what it was (F01).

The host is compared as a whole: links, addresses, routes, rules, both firewalls, sysctls, namespace
directory, journal, mounts, and no process is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.faults.conftest import SOAK
from tests.harness.sweep import Sweep, sweep
from tests.harness.syscall_stops import cannot_stop
from tests.harness.tools import needs

pytestmark = [
    pytest.mark.kernel,
    needs("ip", "nft", "iptables-legacy"),
    pytest.mark.skipif(bool(cannot_stop()), reason=cannot_stop() or ""),
]

# The others are done by a soak: `by_the_kernel` is what needs no guard, `without_root` the broker's.
OTHERS = [
    "by_the_kernel",
    "in_the_host",
    "together",
    "star",
    "published",
    "published_by_iptables",
    "without_root",
]
SOAKED = pytest.mark.skipif(not SOAK, reason="make soak")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["whole", *(pytest.param(each, marks=SOAKED) for each in OTHERS)])
def test_F01_killed_at_every_call_nothing_is_left(
    scenario: str, seed: int, soak: bool, count: Callable[..., None]
) -> None:
    check(f"Every kill point: {scenario.replace('_', ' ')}", sweep(scenario, seed), soak, count)


@pytest.mark.slow
def test_F01_killed_with_its_guard_gc_removes_the_rest(
    seed: int, soak: bool, count: Callable[..., None]
) -> None:
    """As with a whole cgroup; of the points every n-th in the suite, all in a soak."""
    found = sweep("whole", seed, most=None if soak else 24, everybody=True)
    check("Killed with all its helpers, then netkit gc", found, soak, count)
    assert soak or found.points >= 20


def check(item: str, found: Sweep, soak: bool, count: Callable[..., None]) -> None:
    """Nothing is left, in time, and no point was left out."""
    count(item, points=found.points, differences=len(found.left), late=found.late, slowest=found.slowest)
    assert found.left == []
    assert found.points * found.step > 60
    assert found.late == 0 or not soak or _is_busy()


def _is_busy() -> bool:
    """Whether others have the processors, so that nobody can promise two seconds."""
    return os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
