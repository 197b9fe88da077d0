"""A pytest plugin: at the end of a soak, write what it showed into docs/reliability.md.

scripts/soak            which is what `make soak` runs
"""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS
from tests.harness.reliability import Counts, counts_table, faults_table, numbers_of, replaced

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_WORST = ("failed", "skipped", "passed")


def pytest_configure(config: pytest.Config) -> None:
    """Listen to all results."""
    config.pluginmanager.register(_Writer(config))


class _Writer:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._results: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of a test with parameters the worst result counts."""
        name = report.nodeid.partition("[")[0].removeprefix("tests/").replace(".py::", ": ")
        if not numbers_of(name) or (report.when != "call" and report.outcome == "passed"):
            return
        known = self._results.get(name, "passed")
        self._results[name] = min(known, report.outcome, key=_WORST.index)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the generated part of the page."""
        counts = self._config.stash.get(Counts.KEY, [])
        if not counts or not counts[0].soak:
            return
        where = f"Linux {platform.release()}, {os.cpu_count()} processors, Python {platform.python_version()}"
        lines = [
            f"`make soak` on {date.today()}, {where}; NETKIT_SEED={counts[0].seed}.", "",
            *counts_table(counts), "", "## The catalogue", "", *faults_table(FAULTS, self._results),
        ]  # fmt: skip
        PAGE.write_text(replaced(PAGE.read_text(), lines))
