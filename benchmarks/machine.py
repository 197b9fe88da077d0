"""What the figures were measured on, and with which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime

from . import peers

DEBIAN = ("golang-github-vishvananda-netlink-dev", "containernetworking-plugins", "netavark", "mininet")


def _output(*command: str) -> str:
    """The first line a command prints; nothing if it is not there."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().partition("\n")[0] if done.returncode == 0 else ""


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    found = {
        "pyroute2": importlib.metadata.version("pyroute2"),
        "iproute2": _output("ip", "-V").rpartition("-")[2],
        "Go": _output("go", "version").removeprefix("go version go").partition(" ")[0],
    }
    for package in DEBIAN:
        name = package.removeprefix("golang-github-").removesuffix("-dev")
        found[name] = _output("dpkg-query", "-W", "-f", "${Version}", package)
    code = "import importlib.metadata as m; print(m.version('munet'))"
    found["munet"] = _output(peers.PEERS_PYTHON, "-c", code) if os.path.exists(peers.PEERS_PYTHON) else ""
    return {name: version for name, version in found.items() if version}


def describe() -> dict[str, object]:
    """For programs; `sentence` is for people."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_gib": round(pages * size / 2**30),
        "versions": _versions(),
    }


def sentence(machine: dict[str, object]) -> str:
    """One paragraph of the page."""
    versions = machine["versions"]
    assert isinstance(versions, dict)
    others = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{machine['date']}, Linux {machine['kernel']} on {machine['processors']} processors "
        f"({machine['processor']}), {machine['memory_gib']} GiB, Python {machine['python']}. Peers: {others}."
    )
