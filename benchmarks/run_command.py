"""Claim: a command run inside a namespace costs the same command run outside and 0.1 ms at most."""

from __future__ import annotations

import subprocess
from statistics import median

from .children import Task, Times
from .harness import Setting
from .report import Claim, Result

NAMESPACE = "commands"
COUNT = 20  # per round
BOUND = 0.1e-3
BASE = "subprocess.run, outside"

CONTESTANTS = {
    BASE: "outside",
    "netkit, ns.run": "netkit",
    "nsenter --net": "nsenter",
    "ip netns exec": "ip",
    "pyroute2 NSPopen": "pyroute2",
}


def _above(times: Times, name: str) -> float | None:
    if name not in times or BASE not in times:
        return None
    return median(own - bare for own, bare in zip(times[name], times[BASE], strict=False))


def run(setting: Setting) -> list[Result]:
    """`/bin/true`, started and waited for."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    task = Task(setting, "command", NAMESPACE, "open")
    try:
        times, failed = task.play(CONTESTANTS, BASE, lambda child: child.seconds("run", COUNT))
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)
    beyond = {name: _above(times, name) for name in times if name != BASE}
    listed = ", ".join(f"{name} {extra * 1e3:.2f}" for name, extra in beyond.items() if extra is not None)
    above = beyond.get("netkit, ns.run")
    claim = Claim(
        f"netkit runs a command inside in at most {BOUND * 1e3:.1f} ms more than outside",
        None if above is None else above * 1e3,
        BOUND * 1e3,
    )
    return [
        Result(
            "run_command: /bin/true in a namespace, started and waited for",
            times,
            failed,
            base=BASE,
            claims=[claim],
            notes=[f"beyond the same outside, median ms: {listed}"],
            extra={"claim": "run_command", "above_outside_seconds": beyond},
        )
    ]
