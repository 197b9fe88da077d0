"""The whole examination: here where the capabilities are, else in a user namespace."""

from __future__ import annotations

import json
import os
import sys

from netkit._diagnostics.finding import Finding
from netkit._diagnostics.privileges import find_privileges
from netkit._diagnostics.software import find_libraries, find_tools
from netkit._system.refusals import suspects
from netkit._system.user_namespace import may_make_namespaces
from netkit.errors import NetkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATIENCE = 60  # seconds for the child; it takes less than one


class Examination:
    """What was found; each part a list of findings."""

    __slots__ = ("backends", "features", "kernel", "libraries", "privileges", "python", "tools", "where")

    def __init__(self) -> None:
        self.kernel = os.uname().release
        self.python = sys.version.partition(" ")[0]
        self.where = "in a throw-away namespace"
        self.features: list[Finding] = []
        self.backends: list[Finding] = []
        self.libraries = find_libraries()
        self.tools = find_tools()
        self.privileges: list[Finding] = []


def examine() -> Examination:
    """Try everything. Changes nothing outside the throw-away namespaces, and raises nothing."""
    found = Examination()
    if may_make_namespaces():
        answer = _ask_child("enter")
        _try_here(found)
    else:
        answer = _ask_child()
        _take(found, answer)
    found.privileges = find_privileges(answer.get("refusal"))
    return found


def _try_here(found: Examination) -> None:
    from netkit._diagnostics.features import find_backends, find_features

    try:
        found.features = find_features()
        found.backends = find_backends()
    except (NetkitError, OSError) as problem:
        _take(found, {"refusal": str(problem)})


def _take(found: Examination, answer: dict[str, Any]) -> None:
    refusal = answer.get("refusal")
    if refusal is not None:
        found.where = "not tried"
        found.features, found.backends = _untried(refusal)
        return
    found.where = "in a throw-away user namespace with a network namespace"
    found.features = [Finding.from_dict(fields) for fields in answer["features"]]
    found.backends = [Finding.from_dict(fields) for fields in answer["backends"]]


def _untried(refusal: str) -> tuple[list[Finding], list[Finding]]:
    """Every feature by its names, with the reason why it could not be tried."""
    from netkit._diagnostics.features import FEATURES

    reason = f"no namespace to try it in: {refusal}"
    features = [
        Finding(each.name, "untried", reason, option=each.option, module=each.module, lost=each.lost)
        for each in FEATURES
    ]
    sysctl = ", ".join(suspects())
    backends = [Finding(name, "untried", reason, sysctl=sysctl) for name in ("nftables", "iptables")]
    return features, backends


def _ask_child(*arguments: str) -> dict[str, Any]:
    import subprocess

    import netkit

    package = os.path.dirname(os.path.dirname(os.path.abspath(netkit.__file__)))
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
    command = [sys.executable, "-m", "netkit._diagnostics.child", *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            env={**os.environ, "PYTHONPATH": path},
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as problem:
        return {"refusal": f"the process that was to try it failed: {problem}"}
    return answer
