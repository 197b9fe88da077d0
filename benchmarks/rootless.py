"""Claims: a network takes at most 1.2 times as long without root as with it, the broker's start aside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

from . import demo_build, star
from .harness import Child, Setting, Unavailable, interleave, ratio
from .report import Claim, Result

WITH, WITHOUT = "netkit, root", "netkit, without root"
BOUND = 1.2
SIZE = 100
_FIRST = "import netkit\nwith netkit.Namespace(): pass"
_ROOTLESS = ["env", "NETKIT_ROOTLESS=1"]


def _command(task: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.contestants", "netkit", task]


def _claim(what: str, times: dict[str, list[float]]) -> Claim:
    text = f"without root {what} takes at most {BOUND} times what it takes with root"
    return Claim(text, ratio(times, WITHOUT, WITH), BOUND)


def _demo(setting: Setting) -> Result:
    makers: dict[str, Callable[[], demo_build.Builder]] = {
        WITH: lambda: demo_build.ChildBuilder(*_command("demo")),
        WITHOUT: lambda: demo_build.ChildBuilder(*_ROOTLESS, *_command("demo")),
    }
    times, failed, down = demo_build.play(makers, setting)
    teardown = ", ".join(f"{name} {median(down[name]) * 1e3:.1f}" for name in times)
    return Result(
        "rootless: the demo's network",
        times,
        failed,
        base=WITH,
        claims=[_claim("the demo's network", times)],
        notes=[f"until teardown returns, median ms: {teardown}"],
        extra={"claim": "rootless", "phase": "demo"},
    )


def _star(setting: Setting, size: int) -> Result:
    judge = Child([str(setting.floor)])
    makers: dict[str, Callable[[Child], star.Builder]] = {
        WITH: lambda judge: star.Builder(judge, *_command("star")),
        WITHOUT: lambda judge: star.Builder(judge, *_ROOTLESS, *_command("star")),
    }
    field = star.Field(makers, judge)
    try:
        samples, failed = field.play(size, setting.rounds)
    finally:
        field.close()
        judge.close()
    times = {name: [sample.build for sample in played] for name, played in samples.items()}
    down = ", ".join(
        f"{n} {median(each.teardown for each in played) * 1e3:.1f}" for n, played in samples.items()
    )
    return Result(
        f"rootless: a star of {size} containers",
        times,
        failed,
        base=WITH,
        claims=[_claim(f"a star of {size}", times)],
        notes=[f"removed until the names are free, median ms: {down}"],
        extra={"claim": "rootless", "phase": "star"},
    )


def _first(setting: Setting) -> Result:
    """Whole processes that make one namespace: what the broker adds, once per process."""
    settler = Child([str(setting.floor)])
    measures = {WITH: _process("0"), WITHOUT: _process("1")}
    try:
        times, failed = interleave(measures, setting.rounds, between=lambda: settler.ask("settle"))
    finally:
        settler.close()
    more = [one - other for one, other in zip(times[WITHOUT], times[WITH], strict=False)]
    return Result(
        "rootless: a process with a first namespace",
        times,
        failed,
        base=WITH,
        notes=[f"the broker's start and end, once per process, median ms: {median(more) * 1e3:.1f}"],
        extra={"claim": "rootless", "phase": "first", "broker_seconds": more},
    )


def _process(rootless: str) -> Callable[[], float]:
    environment = {**os.environ, "NETKIT_ROOTLESS": rootless}

    def whole_process() -> float:
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", _FIRST], env=environment, stderr=subprocess.PIPE)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise Unavailable(done.stderr.decode().strip().rpartition("\n")[2])
        return seconds

    return whole_process


def run(setting: Setting) -> Iterator[Result]:
    """The same program twice in each round."""
    yield _demo(setting)
    yield _star(setting, (setting.sizes or [SIZE])[0])
    yield _first(setting)
