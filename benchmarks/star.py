"""Claims: a star of containers is built and removed in about the time that the kernel needs for it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

from . import check_star, peers, star_tables
from .harness import Budget, Child, Setting, Unavailable, interleave
from .report import Figures, Result
from .star_tables import Sample

SIZES = (10, 100, 1000, 4000)
FEW_ROUNDS = {4000: 2}  # for the growth only
BUDGET = 10.0  # seconds for a peer per size: rounds after the warm-up, which counts if there are none
PATIENCE = 150.0  # seconds that one round of a peer may take: who would need more is left out
LARGEST = {"netkit, one by one": 1000}
SLOWEST = 600.0  # seconds that an answer may take


class Builder:
    """A contestant in its own process. `judge` is the floor's process, which tells when names are free."""

    def __init__(self, judge: Child, *argv: str, kind: str = "") -> None:
        self.judge, self.child, self.kind, self.checked = judge, Child(argv), kind, False
        try:
            self.hub = str(self.child.ask("hub").get("path", ""))  # "": it comes and goes with the containers
        except Unavailable:
            self.child.close()
            raise

    def measure(self, size: int) -> Sample:
        """Build, look whether it is what was asked for (once), tear down, wait until the names are free."""
        try:
            build = self.child.ask("star", size, *self.kind.split(), deadline=SLOWEST)
            self._check(size)
            down = self.child.ask("unstar", deadline=SLOWEST)
            late = self._wait_for_names()
        except Unavailable:
            self.end()
            raise
        return Sample(_of(build), _of(build, "cpu"), _of(build, "user"), _of(down) + late, _of(down, "cpu"))

    def end(self) -> None:
        """The process, and the names it left when it failed half-way. (/run is ours alone.)"""
        self.child.close()
        for left in Path("/run/netns").glob("c[0-9]*"):
            subprocess.run(["ip", "netns", "del", left.name], check=True)

    def _check(self, size: int) -> None:
        if self.checked:
            return
        try:
            hub = self.hub or str(self.child.ask("present_hub")["path"])
            check_star.check(hub, self._place, size)
        except check_star.Wrong as difference:
            raise Unavailable(f"built something else: {difference}") from None
        self.checked = True

    def _place(self, container: int) -> str:
        return str(self.child.ask("place", container)["path"])

    def _wait_for_names(self) -> float:
        if not self.hub:
            return 0.0
        began = time.perf_counter()
        waited = self.judge.ask("vanish", self.hub, deadline=SLOWEST)["waited"]
        return time.perf_counter() - began if waited else 0.0


def _of(reply: Mapping[str, object], what: str = "seconds") -> float:
    return float(str(reply[what]))


def contestants(floor: Path) -> dict[str, Callable[[Child], Builder]]:
    """In the order of a round."""
    return {
        "floor": lambda judge: Builder(judge, str(floor)),
        "netkit Topology": _python("netkit_topology"),
        "floor, IPv6 too": lambda judge: Builder(judge, str(floor), kind="ipv6"),
        "netkit": _python("netkit"),
        "netkit, one by one": _python("netkit_single"),
        "floor, quiet": lambda judge: Builder(judge, str(floor), kind="quiet"),
        "Go netlink": lambda judge: Builder(judge, str(peers.go_program())),
        "ip -batch": _python("commands"),
        "pyroute2 IPRoute": _python("pyroute2"),
        "pyroute2, moving": _python("pyroute2_moving"),
        "pyroute2 NDB": _python("ndb"),
        "CNI bridge": _in_hub("cni", sys.executable),
        "CNI and portmap": _in_hub("cni_portmap", sys.executable),
        "netavark": _in_hub("netavark", sys.executable),
        "Mininet": _in_hub("mininet", peers.DEBIAN_PYTHON),
        "munet": _in_hub("munet", peers.PEERS_PYTHON),
        "Go, dropping": lambda judge: Builder(judge, str(peers.go_program()), "dropping"),
        "ip -batch, group": _python("commands_group"),
        "pyroute2, group": _python("pyroute2_group"),
    }


def _python(name: str) -> Callable[[Child], Builder]:
    return lambda judge: Builder(judge, sys.executable, "-m", "benchmarks.contestants", name, "star")


def _in_hub(name: str, python: str) -> Callable[[Child], Builder]:
    """A contestant that acts in the namespace it is started in: that is its hub."""
    command = ["unshare", "-n", python, "-m", "benchmarks.contestants", name, "star"]
    return lambda judge: Builder(judge, *command)


class Field:
    """Who takes part at one size after the other."""

    def __init__(self, makers: Mapping[str, Callable[[Child], Builder]], judge: Child) -> None:
        self.judge = judge
        self.made: dict[str, Builder] = {}
        self.failed: dict[str, str] = {}
        self.costs: dict[str, tuple[int, float]] = {}  # at the size before: seconds per container
        for name, make in makers.items():
            try:
                self.made[name] = make(judge)
            except Unavailable as reason:
                self.failed[name] = str(reason)

    def play(self, size: int, rounds: int) -> tuple[dict[str, list[Sample]], dict[str, str]]:
        """One size."""
        tired = {name: why for name in self.made if (why := self._too_slow(name, size))}
        measures = {name: _bind(made, size) for name, made in self.made.items() if name not in tired}
        exempt = [name for name in self.made if star_tables.is_claimed(name)]
        samples, dropped = interleave(
            measures,
            rounds,
            between=lambda: self.judge.ask("settle"),
            budget=Budget(BUDGET, lambda sample: sample.whole, exempt),
        )
        for name, played in samples.items():
            self.costs[name] = (size, median(sample.whole for sample in played) / size)
        for name in dropped:
            del self.made[name]
        failed = {**self.failed, **tired, **dropped}
        self.failed.update(dropped)
        return samples, failed

    def _too_slow(self, name: str, size: int) -> str | None:
        if size > LARGEST.get(name, size):
            return f"left out: grows with the square of the number, see {LARGEST[name]}"
        before, cost = self.costs.get(name, (0, 0.0))
        if star_tables.is_claimed(name) or cost * size <= PATIENCE:
            return None
        return f"would take about {cost * size:.0f} s ({cost * 1e3:.0f} ms a container at {before})"

    def close(self) -> None:
        """End the contestants' processes."""
        for builder in self.made.values():
            builder.end()


def _bind(builder: Builder, size: int) -> Callable[[], Sample]:
    builder.checked = False
    return lambda: builder.measure(size)


def run(setting: Setting) -> Iterator[Result | Figures]:
    """Each size, then how the cost of a container grows with it."""
    judge = Child([str(setting.floor)])
    makers = {
        name: make
        for name, make in contestants(setting.floor).items()
        if star_tables.is_floor(name) or setting.wanted(name)
    }
    field = Field(makers, judge)
    played: dict[int, dict[str, list[Sample]]] = {}
    try:
        for size in setting.sizes or SIZES:
            rounds = min(setting.rounds, FEW_ROUNDS.get(size, setting.rounds))
            played[size], failed = field.play(size, rounds)
            yield from star_tables.tables(size, played[size], failed)
        yield from star_tables.growth(played)
    finally:
        field.close()
        judge.close()
