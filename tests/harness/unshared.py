"""Tests of what netkit does with capabilities, in a session without: they run in `netkit unshare`.

There an ordinary user is root of namespaces of his own. Each module is one pytest session there, whose
reports are this session's: the same tests, as if they had run here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from netkit._fixtures.isolation import report_of
from netkit._system.mode import VARIABLE, is_rootless
from tests.harness.patience import LONG

MARK = "capable"
REPORTS = "NETKIT_TEST_REPORTS"  # the file that a session writes its reports to
_ROOT = Path(__file__).parents[2]
_TIMEOUT = 15 * LONG


class Sender:
    """In the session inside: writes each report as a line."""

    def __init__(self, config: pytest.Config, path: str) -> None:
        self._config = config
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One report."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with open(self._path, "a") as file:
            file.write(json.dumps(data, default=str) + "\n")


class Delegate:
    """In the session without root: runs the marked tests inside, a module at a time."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reports: dict[Path, dict[str, list[pytest.TestReport]]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """The reports of a marked test, instead of running it here."""
        if item.get_closest_marker(MARK) is None:
            return None
        if item.path not in self._reports:
            wanted = [each for each in item.session.items if each.path == item.path]
            self._reports[item.path] = self._run([each for each in wanted if each.get_closest_marker(MARK)])
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports[item.path].get(item.nodeid, [_missing(item)]):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        item.session._setupstate.teardown_exact(nextitem)  # what the test before it left for this module
        return True

    def _run(self, items: list[pytest.Item]) -> dict[str, list[pytest.TestReport]]:
        found: dict[str, list[pytest.TestReport]] = {}
        with TemporaryDirectory(prefix="netkit-reports-") as directory:
            path = Path(directory) / "reports"
            path.touch()
            done = _session(items, path)
            for line in path.read_text().splitlines():
                report = report_of(self._config, json.loads(line))
                found.setdefault(report.nodeid, []).append(report)
        failed = any(each.failed for reports in found.values() for each in reports)
        if done.returncode and not failed:  # it left something behind, or could not even begin
            found[items[0].nodeid] = [_failure(items[0], done.stdout + done.stderr)]
        return found


def _session(items: list[pytest.Item], reports: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command = [sys.executable, "-m", "netkit", "unshare", "--", sys.executable, *words]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(
        [*command, *(each.nodeid for each in items)],
        # Inside getpass.getuser() would say root, whose /tmp/pytest-of-root is not ours.
        env={**environment, VARIABLE: "0", REPORTS: str(reports), "LOGNAME": f"uid-{os.geteuid()}"},
        cwd=_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT,
    )  # fmt: skip


def _missing(item: pytest.Item) -> pytest.TestReport:
    return _failure(item, "the session inside `netkit unshare` said nothing of it")


def _failure(item: pytest.Item, text: str) -> pytest.TestReport:
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")


def configure(config: pytest.Config) -> None:
    """Take part in a session, in the one or the other role."""
    path = os.environ.get(REPORTS)
    if path:
        config.pluginmanager.register(Sender(config, path))
    elif is_rootless():
        config.pluginmanager.register(Delegate(config))
