"""A pytest plugin: at the end of a soak, write what it showed into docs/reliability.md.

scripts/soak            which is what `make soak` runs
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import date
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS
from tests.harness.reliability import Counts, counts_table, faults_table, numbers_of, replaced

ROOT = Path(__file__).parents[2]
PAGE, KEPT = ROOT / "docs" / "reliability.md", ROOT / ".soak.json"
_WORST = ("failed", "xfailed", "skipped", "passed")


def pytest_configure(config: pytest.Config) -> None:
    """Listen to all results."""
    config.pluginmanager.register(_Writer(config))


def _commit() -> str:
    git = ["git", "-C", str(ROOT)]
    done = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if done.returncode:
        return "no commit"
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "netkit"]).returncode
    return done.stdout.strip() + (" with changes" if changed else "")


class _Writer:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._results: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of a test with parameters the worst result counts."""
        name = report.nodeid.partition("[")[0].removeprefix("tests/").replace(".py::", ": ")
        if not numbers_of(name) or (report.when != "call" and report.outcome == "passed"):
            return
        outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        known = self._results.get(name, "passed")
        self._results[name] = min(known, outcome, key=_WORST.index)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the generated part of the page."""
        counts = self._config.stash.get(Counts.KEY, [])
        commits = [_commit()]
        if os.environ.get("NETKIT_SOAK") == "continue" and KEPT.exists():
            kept = json.loads(KEPT.read_text())
            before = [Counts.of(each) for each in kept["counts"]]
            order = list(dict.fromkeys(each.item for each in (*before, *counts)))
            new = {each.item for each in counts}
            counts = [*(each for each in before if each.item not in new), *counts]
            counts.sort(key=lambda each: order.index(each.item))
            commits = list(dict.fromkeys([*kept.get("commits", []), *commits]))
            self._results = kept["results"] | self._results
        kept = {"counts": [vars(each) for each in counts], "results": self._results, "commits": commits}
        KEPT.write_text(json.dumps(kept))
        where = f"Linux {platform.release()}, {os.cpu_count()} processors, Python {platform.python_version()}"
        seeds = ", ".join(dict.fromkeys(str(each.seed) for each in counts))
        lines = [
            f"`make soak` on {date.today()} at {', '.join(commits)}, {where}; NETKIT_SEED={seeds}.", "",
            *counts_table(counts), "", "## The catalogue", "", *faults_table(FAULTS, self._results),
        ]  # fmt: skip
        PAGE.write_text(replaced(PAGE.read_text(), lines))
