"""Claims: a fixture takes 3 ms for a namespace, 6 ms for two that are joined; runs without one, 10 ms more.

pytest loads the plugin in each run on a machine that has netkit: what that costs one that does not use it is
the difference of two runs of one test, with and without ``-p no:netkit``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from . import peers
from .harness import Budget, Setting, Unavailable, interleave
from .report import Claim, Result

SUITES = Path(__file__).parent / "suites"
EACH, MANY = 20, 500  # tests in a run: for the time of one, and for the time of all
BOUNDS = {"netns": 0.003, "veth": 0.006}
BASE = "netkit"
UNUSED_BOUND = 0.010
WITHOUT, WITH = "without the plugin", "with the plugin"
ROUNDS_OF_EACH, ROUNDS_OF_MANY = 3, 2
PATIENCE = 1.0  # seconds for all rounds of one contestant with many tests: slow ones play their warm-up only

CONTESTANTS = {
    BASE: ("netkit", sys.executable, ("-p", "netkit._pytest_plugin")),
    "ip netns commands": ("ip", sys.executable, ()),
    "pyroute2": ("pyroute2", sys.executable, ()),
    "pytest-dummynet": ("dummynet", peers.PEERS_PYTHON, ("-p", "pytest_dummynet.fixtures")),
}

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull)


def _pytest(name: str, kind: str, count: int, *options: str) -> tuple[float, list[float]]:
    """Seconds of the whole run, and of each test's set-up and teardown."""
    suite, python, plugins = CONTESTANTS[name]
    if not os.path.exists(python):
        raise Unavailable(f"no {python} ({peers.INSTALL})")
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory) / "times"
        settings = {
            "FIXTURE_TIMES": str(told),
            "FIXTURE_TESTS": str(count),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        test = f"{SUITES / suite}_suite.py::test_{kind}"
        seconds = _timed([python, *PYTEST, *plugins, *options, "--rootdir", str(SUITES), test], settings)
        return seconds, json.loads(told.read_text())


def _timed(command: list[str], settings: dict[str, str]) -> float:
    """Byte code is cached, as that of what is installed, whatever the machine's settings."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment | settings, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise Unavailable((done.stdout + done.stderr).strip().rpartition("\n")[2])
    return seconds


def _each(name: str, kind: str) -> Callable[[], float]:
    """The first test also loads what the fixture needs: the median does not show it."""
    return lambda: median(_pytest(name, kind, EACH)[1])


def _all(name: str) -> Callable[[], float]:
    return lambda: _pytest(name, "veth", MANY, "-p", "xdist", "-n", "2")[0]


def run(setting: Setting) -> Iterator[Result]:
    """Each fixture, then many tests, then none that uses it."""
    wanted = [name for name in CONTESTANTS if name == BASE or setting.wanted(name)]
    for kind in BOUNDS:
        yield _of_kind(kind, wanted, min(setting.rounds, ROUNDS_OF_EACH))
    yield _of_many(wanted, min(setting.rounds, ROUNDS_OF_MANY))
    yield _unused(setting.rounds)


def _of_kind(kind: str, wanted: list[str], rounds: int) -> Result:
    times, failed = interleave({name: _each(name, kind) for name in wanted}, rounds)
    measured = median(times[BASE]) * 1e3 if BASE in times else None
    bound = BOUNDS[kind] * 1e3
    claim = Claim(
        f"netkit's fixture {kind} takes at most {bound:.0f} ms, set-up and teardown", measured, bound
    )
    title = f"fixtures: set-up and teardown of {kind}, the median of {EACH} tests"
    return _result(title, times, failed, BASE, kind, [claim])


def _of_many(wanted: list[str], rounds: int) -> Result:
    budget = Budget(PATIENCE, lambda seconds: seconds, exempt=[BASE])
    times, failed = interleave({name: _all(name) for name in wanted}, rounds, budget=budget)
    title = f"fixtures: {MANY} tests with two joined namespaces each, by two workers, the whole run"
    return _result(title, times, failed, BASE, "with many tests")


def _unused(rounds: int) -> Result:
    with tempfile.TemporaryDirectory() as directory:
        test = Path(directory) / "test_nothing.py"
        test.write_text("def test_nothing():\n    pass\n")
        command = [sys.executable, *PYTEST, "--rootdir", directory, str(test)]
        runs = {
            WITHOUT: lambda: _timed([*command, "-p", "no:netkit"], {}),
            WITH: lambda: _timed(command, {}),
        }
        times, failed = interleave(runs, rounds)
    added = [a - b for a, b in zip(times[WITH], times[WITHOUT], strict=True)] if not failed else []
    bound = UNUSED_BOUND * 1e3
    text = f"netkit's plugin adds at most {bound:.0f} ms to a run of pytest that does not use it"
    claim = Claim(text, median(added) * 1e3 if added else None, bound)
    return _result("fixtures: a run of one test without any", times, failed, WITHOUT, "without use", [claim])


def _result(
    title: str,
    times: Mapping[str, Sequence[float]],
    failed: Mapping[str, str],
    base: str,
    phase: str,
    claims: Sequence[Claim] = (),
) -> Result:
    extra = {"claim": "fixtures", "phase": phase}
    return Result(title, times, failed, base=base, claims=claims, extra=extra)
