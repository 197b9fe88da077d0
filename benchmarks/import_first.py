"""Claims: `import netkit` costs under 30 ms, its first namespace under 60 ms in all, before pyroute2's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from .harness import Child, Setting, Unavailable, interleave
from .report import Claim, Result

IMPORT_BOUND, FIRST_BOUND = 0.030, 0.060
BARE = "python -c pass"

PROGRAMS = {
    BARE: "pass",
    "import netkit": "import netkit",  # which loads the rest when it is asked for
    "from netkit import": "from netkit import Bridge, Namespace, NatRule, RouteTable, VethPair",
    "netkit, first namespace": "import netkit\nwith netkit.Namespace(): pass",
    "netkit, first named namespace": "import netkit\nwith netkit.Namespace('first'): pass",
    "import pyroute2": "import pyroute2",
    "pyroute2, first namespace": (
        "from pyroute2 import IPRoute, netns\nnetns.create('first')\nnetns.remove('first')"
    ),
}


def _environment(cache: str) -> dict[str, str]:
    """Byte code is cached, as an installed library's is, whatever the machine's settings; not in the tree."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": cache}


def _measure(program: str, environment: dict[str, str]) -> Callable[[], float]:
    command = [sys.executable, "-c", program]

    def whole_process() -> float:
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise Unavailable(done.stderr.strip().rpartition("\n")[2])
        return seconds

    return whole_process


def above_bare(times: dict[str, list[float]], name: str) -> list[float] | None:
    """Round by round, what it took beyond an interpreter that does nothing."""
    if name not in times or BARE not in times:
        return None
    return [own - bare for own, bare in zip(times[name], times[BARE], strict=False)]


def _claims(times: dict[str, list[float]]) -> list[Claim]:
    own = above_bare(times, "from netkit import")
    first, peer = (above_bare(times, f"{library}, first namespace") for library in ("netkit", "pyroute2"))
    quotient = median([a / b for a, b in zip(first, peer, strict=False)]) if first and peer else None
    return [
        _under("the import of the five objects", own, IMPORT_BOUND),
        _under("netkit's first namespace from a cold interpreter", first, FIRST_BOUND),
        Claim(
            "netkit's first namespace is there in less time than pyroute2's, both above bare", quotient, 1.0
        ),
    ]


def _under(what: str, above: list[float] | None, bound: float) -> Claim:
    text = f"{what} takes at most {bound * 1e3:.0f} ms above bare Python"
    return Claim(text, median(above) * 1e3 if above else None, bound * 1e3)


def run(setting: Setting) -> list[Result]:
    """Whole processes, byte code cached by the warm-up round."""
    settler = Child([str(setting.floor)])
    try:
        environment = _environment(str(setting.floor.parent / "bytecode"))
        programs = {
            name: _measure(program, environment)
            for name, program in PROGRAMS.items()
            if name == BARE or setting.wanted(name)
        }
        times, failed = interleave(programs, setting.rounds, between=lambda: settler.ask("settle"))
    finally:
        settler.close()
    above = {name: above_bare(times, name) for name in times if name != BARE}
    beyond = ", ".join(f"{name} {median(extra) * 1e3:.1f}" for name, extra in above.items() if extra)
    return [
        Result(
            "import_first: from the start of the process to its end",
            times,
            failed,
            base=BARE,
            claims=_claims(times),
            notes=[f"above bare Python, median ms: {beyond}"],
            extra={"claim": "import_first", "above_bare_seconds": above},
        )
    ]
