"""Claims: a container costs at most 5 KB of Python, 2 descriptors, no thread; the kernel's share beside it.

Each contestant builds a star twice: once as it is, for what its process holds in the end, and once under
tracemalloc, for what its objects hold.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from . import peers
from .harness import Child, Setting, Unavailable
from .report import Claim, Figures

SIZE, SMALL = 1000, 10
BOUND_KB, BOUND_DESCRIPTORS = 5, 2
ENOUGH = 600.0  # seconds that an answer may take

# title: module, interpreter; those that act where they are get a hub of their own
CONTESTANTS = {
    "netkit": ("netkit", sys.executable, False),
    "netkit Topology": ("netkit_topology", sys.executable, False),
    "pyroute2 IPRoute": ("pyroute2", sys.executable, False),
    "Mininet": ("mininet", peers.DEBIAN_PYTHON, True),
}
COLUMNS = ("traced KB", "resident KB", "descriptors", "threads", "processes", "kernel KB")


def kernel_bytes() -> int:
    """What the kernel has in its own caches and per-processor areas (proc(5), meminfo)."""
    with open("/proc/meminfo") as file:
        lines = dict(line.split(":", 1) for line in file)
    return sum(int(lines[key].split()[0]) * 1024 for key in ("Slab", "Percpu", "KernelStack", "PageTables"))


class Subject:
    """A contestant's process, with or without tracemalloc."""

    def __init__(self, judge: Child, module: str, python: str, in_hub: bool, traced: bool) -> None:
        prefix = ["unshare", "-n"] if in_hub else []
        options = ["-X", "tracemalloc"] if traced else []
        self.judge = judge
        self.child = Child([*prefix, python, *options, "-m", "benchmarks.contestants", module, "star"])
        self.hub = str(self.child.ask("hub").get("path", ""))

    def per_container(self, size: int) -> dict[str, float]:
        """What a star of this size has beyond a small one, by the number of containers between them."""
        small, small_kernel = self._standing(SMALL)
        large, large_kernel = self._standing(size)
        between = size - SMALL
        grown = {what: (large[what] - small[what]) / between for what in large}
        return {**grown, "kernel": (large_kernel - small_kernel) / between}

    def _standing(self, size: int) -> tuple[dict[str, float], int]:
        self.child.ask("star", size, deadline=ENOUGH)
        found = self._usage(), kernel_bytes()
        self._remove()
        return found

    def _usage(self) -> dict[str, float]:
        return {what: float(str(value)) for what, value in self.child.ask("usage").items()}

    def _remove(self) -> None:
        self.child.ask("unstar", deadline=ENOUGH)
        if self.hub:
            self.judge.ask("vanish", self.hub, deadline=ENOUGH)
        self.judge.ask("settle", deadline=ENOUGH)


def _measure(judge: Child, module: str, python: str, in_hub: bool, size: int) -> list[float]:
    found = {}
    for traced in (False, True):
        subject = Subject(judge, module, python, in_hub, traced)
        try:
            found[traced] = subject.per_container(size)
        finally:
            subject.child.close()
    plain = found[False]
    return [
        found[True]["traced"] / 1024,
        plain["resident"] / 1024,
        plain["descriptors"],
        plain["threads"],
        plain["children"],
        plain["kernel"] / 1024,
    ]


def _claims(rows: Mapping[str, list[float]]) -> Iterator[Claim]:
    for name in (name for name in rows if name.startswith("netkit")):
        traced, resident, descriptors, threads, *_ = rows[name]
        yield Claim(f"{name}: objects of a container take at most {BOUND_KB} KB", traced, BOUND_KB)
        yield Claim(f"{name}: the process grows by at most {BOUND_KB} KB a container", resident, BOUND_KB)
        yield Claim(
            f"{name}: at most {BOUND_DESCRIPTORS} descriptors a container", descriptors, BOUND_DESCRIPTORS
        )
        yield Claim(f"{name}: no thread per container", threads * SIZE, 1)


def run(setting: Setting) -> list[Figures]:
    """Once each: of all this only the kernel's share depends on what else the machine does."""
    size = (setting.sizes or [SIZE])[0]
    rows: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    judge = Child([str(setting.floor)])
    try:
        for name, (module, python, in_hub) in CONTESTANTS.items():
            if name == "netkit" or setting.wanted(name):
                try:
                    rows[name] = _measure(judge, module, python, in_hub, size)
                except Unavailable as reason:
                    failed[name] = str(reason)
    finally:
        judge.close()
    return [
        Figures(
            f"memory: what a container of a star of {size} costs",
            COLUMNS,
            rows,
            failed,
            claims=list(_claims(rows)),
            notes=[
                "traced: Python objects, by tracemalloc in a run of its own; resident: the process's RSS;",
                "processes: children, not in resident; kernel: Slab, Percpu, KernelStack and PageTables",
            ],
            extra={"claim": "memory", "size": size},
        )
    ]
