"""Every session runs in namespaces of its own, and ends by comparing the machine with what it was.

This module isolates the process while it is imported: pytest imports it before any test module, and
before any thread exists. `tests/harness/` holds the parts.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from netkit._system import mode

pytest.register_assert_rewrite("tests.harness")  # before it is imported: it asserts like a test

from tests.harness import unshared  # noqa: E402
from tests.harness.baseline import Baseline  # noqa: E402
from tests.harness.isolation import isolate_session  # noqa: E402
from tests.harness.tools import cannot_compare, skipped_for_a_missing_tool  # noqa: E402

_is_worker = "PYTEST_XDIST_WORKER" in os.environ
_baseline = None if _is_worker else Baseline()  # a worker's machine is its controller's business
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests and their children are interrupted
IS_ROOT = os.geteuid() == 0  # asked before: in a user namespace everybody is
NOT_ISOLATED = isolate_session()
_CHANGES: pytest.StashKey[list[str]] = pytest.StashKey()

# Modest by default, and the same each time: the whole suite is meant to end within minutes, and what fails is
# what was changed. NETKIT_TEST_EXAMPLES=1000 digs deeper, somewhere else each time.
settings.register_profile(
    "netkit",
    deadline=None,
    derandomize="NETKIT_TEST_EXAMPLES" not in os.environ,
    max_examples=int(os.environ.get("NETKIT_TEST_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("netkit")


def pytest_configure(config: pytest.Config) -> None:
    """Without root some tests run elsewhere."""
    unshared.configure(config)


def pytest_report_header() -> str:
    """One line in the header, so that a log shows what the kernel tests stood on."""
    rootless, reason = mode.decide()
    how = "without root, by the broker" if rootless else "by this process"
    return f"namespaces: {NOT_ISOLATED or f'{how} ({reason})'}; uid {os.geteuid()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All in tests/kernel are kernel tests; without namespaces of our own they are skipped."""
    reason = NOT_ISOLATED or cannot_compare()
    for item in items:
        if item.path.parent.name == "kernel":
            item.add_marker(pytest.mark.kernel)
        if reason and item.get_closest_marker("kernel"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """A fixture that needs a command which is not installed skips its test."""
    return (yield from _skipping())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """As the set-up."""
    return (yield from _skipping())


def _skipping() -> Generator[None, object, object]:
    try:
        return (yield)
    except Exception as problem:
        end = skipped_for_a_missing_tool(problem)
        if end is problem:
            raise
        raise end from problem


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if it left anything on the machine."""
    global _baseline
    if _baseline is None:
        return
    _shut_down()
    changes = _baseline.check()
    _baseline.close()
    _baseline = None
    session.config.stash[_CHANGES] = changes
    if changes:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The changes, above pytest's own last line."""
    changes = terminalreporter.config.stash.get(_CHANGES, [])
    if changes:
        terminalreporter.section("the machine is not what it was", red=True)
        terminalreporter.write("\n".join(changes) + "\n")


def _shut_down() -> None:
    """netkit's guard and broker live as long as the process: end them before looking for leftovers."""
    netkit = sys.modules.get("netkit")
    if netkit is not None and hasattr(netkit, "shutdown"):
        with warnings.catch_warnings():
            # A failed test may leave something owned: a warning raised here would hide its report.
            warnings.simplefilter("default", ResourceWarning)
            netkit.shutdown()
