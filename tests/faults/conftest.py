"""Fault tests: counts that are printed, a seed that can be set, and a soak that does all in full.

NETKIT_SEED=7           the random choices of another run; each run prints its own
NETKIT_SOAK=1           everything in full; `make soak` sets it, and has docs/reliability.md written
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest

from tests.harness.reliability import Counts, summary

SOAK = bool(os.environ.get("NETKIT_SOAK"))


@pytest.fixture(scope="session")
def seed() -> int:
    """What all random choices of this run follow from."""
    return int(os.environ.get("NETKIT_SEED") or random.SystemRandom().randrange(1 << 31))


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether everything is done in full."""
    return SOAK


@pytest.fixture
def count(request: pytest.FixtureRequest, seed: int) -> Callable[..., None]:
    """`count("Every kill point", points=72, differences=0)`: for the summary, with the seconds taken."""
    begun = time.monotonic()
    print(f"NETKIT_SEED={seed}")  # a failure's captured output names it

    def noted(item: str, /, **numbers: float) -> None:
        counts = request.config.stash.setdefault(Counts.KEY, [])
        counts.append(Counts(item, numbers, time.monotonic() - begun, seed, SOAK))

    return noted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts, above pytest's own last line."""
    lines = summary(terminalreporter.config.stash.get(Counts.KEY, []))
    if lines:
        terminalreporter.section("fault tests")
        terminalreporter.write("\n".join(lines) + "\n")
