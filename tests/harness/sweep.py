"""Run tests.harness.killing over many points, on as many processes as there are processors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.harness.killing import PATIENCE

_SECONDS_PER_POINT = 600.0


@dataclass
class Sweep:
    """What all points showed."""

    scenario: str
    calls: int = 0
    points: int = 0
    slowest: float = 0.0
    late: int = 0
    step: int = 1
    left: list[str] = field(default_factory=list[str])

    def note(self, line: dict[str, Any]) -> None:
        if "n" not in line:
            self.calls = min(self.calls or line["calls"], line["calls"])
        elif not line.get("end"):
            self.points += 1
            self.slowest = max(self.slowest, line["seconds"])
            self.late += line["seconds"] > PATIENCE
        where = f"{line['n']} ({line.get('call', 'to the end')})" if "n" in line else "a whole run"
        self.left += [f"{where}: {text}" for text in line["left"]]


def sweep(scenario: str, seed: int, most: int | None = None, everybody: bool = False) -> Sweep:
    """Kill at every call, or at about `most` of them, evenly, the first by the seed.

    With `everybody` the guard and all helpers are killed, too, and `netkit gc` is run.
    """
    found = Sweep(scenario)
    how = ["--all"] if everybody else []
    jobs = min(2, os.cpu_count() or 1)
    step = 1
    if most is not None:
        with _program(scenario, "", how) as only_counts:
            found.note(json.loads(_line(only_counts)))
            only_counts.wait()
        found.step = step = max(1, found.calls // most)
    begin = 1 + seed % step
    threads = [
        threading.Thread(target=_series, args=(scenario, begin + job * step, step * jobs, found, how))
        for job in range(jobs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _series(scenario: str, n: int, step: int, found: Sweep, how: list[str]) -> None:
    """Every step-th point; a program that met a difference is followed by a fresh one, in a fresh host."""
    while True:
        with _program(scenario, f"from:{n}:{step}", how) as program:
            assert program.stdout is not None
            ended = False
            for text in iter(lambda: _line(program), ""):
                line = json.loads(text)
                found.note(line)
                if "n" in line:
                    n = line["n"] + step
                    ended = bool(line.get("end"))
            program.wait()  # it ends with its standard input, which the block closes
        if ended:
            return
        if program.returncode:
            found.left.append(f"at {n}: the program ended with status {program.returncode}")
            return


def _line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    assert program.stdin is not None
    late = threading.Timer(
        _SECONDS_PER_POINT, program.stdin.close
    )  # which ends it and all that it has started
    late.start()
    try:
        return program.stdout.readline()
    finally:
        late.cancel()


def _program(scenario: str, points: str, how: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.harness.killing", scenario, "--points", points, *how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
