"""Tests whose body runs inside a fresh network namespace: with root on this thread, without in a process."""

from __future__ import annotations

import json
import os
import signal
import warnings
from contextlib import contextmanager

import pytest

from netkit._fixtures.lab import LABS, Lab
from netkit._system import mode
from netkit._system.user_namespace import isolate
from netkit.errors import NetkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any


@contextmanager
def entered(item: pytest.Item) -> Generator[None]:
    """The calling thread is inside a namespace of the test's; it ends with the test's fixtures."""
    if _is_isolated_process():
        yield
        return
    lab = Lab(item.name, captures=bool(item.config.getoption("--netkit-capture")))
    labs = item.stash.setdefault(LABS, [])
    item.addfinalizer(lambda: _end(lab, labs))  # not before the report of a failure has shown it
    labs.append(lab.__enter__())
    with lab.namespace("isolated").entered():
        yield


def _end(lab: Lab, labs: list[Lab]) -> None:
    labs.remove(lab)
    lab.__exit__(None, None, None)


# -- without root ---------------------------------------------------------------------

_isolated_process: int | None = None


def _is_isolated_process() -> bool:
    return _isolated_process == os.getpid()


def run_forked(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Without root: the whole test in a child, which is root in namespaces of its own. None with root.

    setns(2) takes capabilities that this process lacks, and unshare(2) of a user namespace is refused to a
    process with a second thread; a child has one.
    """
    if not mode.is_rootless():
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports_of(item, nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _reports_of(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork() beside threads: the child starts none
        child = os.fork()
    if child == 0:
        os.close(reading)
        _play(item, nextitem, writing)  # does not return
    os.close(writing)
    try:
        with open(reading, "rb") as file:
            text = file.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    if status or not text:
        return [_crashed(item, status)]
    return [report_of(item.config, each) for each in json.loads(text)]


def report_of(config: pytest.Config, data: dict[str, Any]) -> pytest.TestReport:
    """A report that came through JSON, which knows no tuples; pytest takes a skip apart as one."""
    report: pytest.TestReport = config.hook.pytest_report_from_serializable(config=config, data=data)
    report.location = (report.location[0], report.location[1], report.location[2])
    told: Any = report.longrepr
    if told.__class__ is list:
        report.longrepr = (told[0], told[1], told[2])
    return report


def _play(item: pytest.Item, nextitem: pytest.Item | None, writing: int) -> None:
    status = 1
    try:
        global _isolated_process
        _isolated_process = os.getpid()
        reports = _play_isolated(item, nextitem)
        hook = item.config.hook
        told = [hook.pytest_report_to_serializable(config=item.config, report=each) for each in reports]
        with open(writing, "wb") as file:
            file.write(json.dumps(told, default=str).encode())
        status = 0
    finally:
        os._exit(status)


def _play_isolated(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    from _pytest.runner import runtestprotocol

    try:
        isolate()
    except NetkitError as problem:
        return [_failed(item, str(problem))]
    mode.decide_again()
    return runtestprotocol(item, log=False, nextitem=nextitem)


def _crashed(item: pytest.Item, status: int) -> pytest.TestReport:
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with {code}"
    return _failed(item, f"the process of this isolated test {how}")


def _failed(item: pytest.Item, text: str) -> pytest.TestReport:
    def fail() -> None:
        pytest.fail(text, pytrace=False)

    call: pytest.CallInfo[None] = pytest.CallInfo.from_call(fail, "call")  # pyright: ignore[reportUnknownVariableType]
    return pytest.TestReport.from_item_and_call(item, call)
