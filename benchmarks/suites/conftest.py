"""For all suites: how long the set-up and the teardown of each test took, as pytest measured it."""

from __future__ import annotations

import json
import os
from collections import defaultdict

import pytest

_TIMES: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What is not the test's own body."""
    if report.when != "call":
        _TIMES[report.nodeid] += report.duration


def pytest_sessionfinish() -> None:
    """To the harness."""
    if "FIXTURE_TIMES" in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(os.environ["FIXTURE_TIMES"], "w") as file:
            json.dump(list(_TIMES.values()), file)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test so many times."""
    metafunc.parametrize("number", range(int(os.environ["FIXTURE_TESTS"])), ids=str)
