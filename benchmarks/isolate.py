"""Every benchmark runs in network and mount namespaces of its own, with an empty /run."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

MARK = "NETKIT_BENCHMARK_OUTSIDE"


def _namespaces() -> str:
    return " ".join(os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt"))


def isolated() -> bool:
    """Whether this process was started by `enter`, and really is in other namespaces than its starter."""
    outside = os.environ.get(MARK)
    return outside is not None and not set(outside.split()) & set(_namespaces().split())


def require_isolated() -> None:
    """For programs that configure: refuse to touch the machine's own network."""
    if not isolated():
        sys.exit("this part of the benchmarks is started by `python -m benchmarks` only")


def enter(argv: list[str]) -> None:
    """Start this program again in fresh namespaces, unless it is there already."""
    if isolated():
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        return
    if os.geteuid() != 0:
        sys.exit("the benchmarks need root: their peers (ip, nft, pyroute2) do")
    _lift_descriptor_limit()
    os.environ[MARK] = _namespaces()
    command = ["unshare", "-n", "-m", "--propagation", "private", sys.executable, "-m", "benchmarks", *argv]
    os.execvp(command[0], command)


def _lift_descriptor_limit() -> None:
    """Thousands of namespaces are held by descriptors; as a service manager would set it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
