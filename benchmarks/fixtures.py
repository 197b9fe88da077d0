"""Claims: what a fixture adds to a test: 3 ms for a namespace, 6 ms for two that are joined."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from . import peers
from .harness import Setting, Unavailable, interleave
from .report import Claim, Result

SUITES = Path(__file__).parent / "suites"
EACH, MANY = 40, 500  # tests in a run: for the time of one, and for the time of all
BOUNDS = {"netns": 0.003, "veth": 0.006}
BASE = "netkit"
ROUNDS_OF_MANY = 3

CONTESTANTS = {
    BASE: ("netkit", sys.executable, ("-p", "netkit._pytest_plugin")),
    "ip netns commands": ("ip", sys.executable, ()),
    "pyroute2": ("pyroute2", sys.executable, ()),
    "pytest-dummynet": ("dummynet", peers.PEERS_PYTHON, ("-p", "pytest_dummynet.fixtures")),
}


def _pytest(name: str, kind: str, count: int, *options: str) -> tuple[float, list[float]]:
    """Seconds of the whole run, and of each test's set-up and teardown."""
    suite, python, plugins = CONTESTANTS[name]
    if not os.path.exists(python):
        raise Unavailable(f"no {python} ({peers.INSTALL})")
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory) / "times"
        command = [
            python,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *plugins,
            *options,
            "-c",
            os.devnull,
        ]
        command += ["--rootdir", str(SUITES), f"{SUITES / suite}_suite.py::test_{kind}"]
        settings = {
            "FIXTURE_TIMES": str(told),
            "FIXTURE_TESTS": str(count),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        began = time.perf_counter()
        done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise Unavailable((done.stdout + done.stderr).strip().rpartition("\n")[2])
        return seconds, json.loads(told.read_text())


def _each(name: str, kind: str) -> Callable[[], float]:
    """The first test also loads what the fixture needs: the median does not show it."""
    return lambda: median(_pytest(name, kind, EACH)[1])


def _all(name: str) -> Callable[[], float]:
    return lambda: _pytest(name, "veth", MANY, "-p", "xdist", "-n", "2")[0]


def run(setting: Setting) -> list[Result]:
    """Each fixture, then many tests."""
    wanted = [name for name in CONTESTANTS if name == BASE or setting.wanted(name)]
    results = [_result_of(kind, wanted, setting.rounds) for kind in BOUNDS]
    times, failed = interleave({name: _all(name) for name in wanted}, min(setting.rounds, ROUNDS_OF_MANY))
    title = f"fixtures: {MANY} tests with two joined namespaces each, by two workers, the whole run"
    return [*results, Result(title, times, failed, base=BASE, extra={"claim": "fixtures"})]


def _result_of(kind: str, wanted: list[str], rounds: int) -> Result:
    times, failed = interleave({name: _each(name, kind) for name in wanted}, rounds)
    measured = median(times[BASE]) * 1e3 if BASE in times else None
    bound = BOUNDS[kind] * 1e3
    claim = Claim(
        f"netkit's fixture {kind} takes at most {bound:.0f} ms, set-up and teardown", measured, bound
    )
    title = f"fixtures: set-up and teardown of {kind}, the median of {EACH} tests"
    return Result(title, times, failed, base=BASE, claims=[claim], extra={"claim": "fixtures"})
