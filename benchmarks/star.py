"""Claims: a star of containers is built and removed in about the time that the kernel needs for it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from . import check_star, peers
from .harness import Budget, Child, Setting, Unavailable, interleave, ratio
from .report import Claim, Result

SIZES = (10, 100, 1000, 4000)
FEW_ROUNDS = {4000: 3}  # for the growth only
BUDGET = 60.0  # seconds for a peer per size; who needs more for one round is left out
SLOWEST = 600.0  # seconds that an answer may take
BUILD, TEARDOWN, FASTER, GROWTH = 1.1, 1.2, 20, 2.0


@dataclass(frozen=True)
class Sample:
    """One build and the teardown that went with it: seconds by the clock and of the processors."""

    build: float
    build_cpu: float
    teardown: float
    teardown_cpu: float

    @property
    def whole(self) -> float:
        """Both."""
        return self.build + self.teardown


class Builder:
    """A contestant in its own process. `judge` is the floor's process, which tells when names are free."""

    def __init__(self, judge: Child, *argv: str) -> None:
        self.judge, self.child, self.checked = judge, Child(argv), False
        try:
            self.hub = str(self.child.ask("hub")["path"])
        except Unavailable:
            self.child.close()
            raise

    def measure(self, size: int) -> Sample:
        """Build, look whether it is what was asked for (once), tear down, wait until the names are free."""
        try:
            build = self.child.ask("star", size, deadline=SLOWEST)
            self._check(size)
            down = self.child.ask("unstar", deadline=SLOWEST)
            late = self._wait_for_names()
        except Unavailable:
            self.end()
            raise
        return Sample(_of(build), _of(build, "cpu"), _of(down) + late, _of(down, "cpu"))

    def end(self) -> None:
        """The process, and the names it left when it failed half-way. (/run is ours alone.)"""
        self.child.close()
        for left in Path("/run/netns").glob("c[0-9]*"):
            subprocess.run(["ip", "netns", "del", left.name], check=True)

    def _check(self, size: int) -> None:
        if self.checked:
            return
        try:
            check_star.check(self.hub, self._place, size)
        except check_star.Wrong as difference:
            raise Unavailable(f"built something else: {difference}") from None
        self.checked = True

    def _place(self, container: int) -> str:
        return str(self.child.ask("place", container)["path"])

    def _wait_for_names(self) -> float:
        began = time.perf_counter()
        waited = self.judge.ask("vanish", self.hub, deadline=SLOWEST)["waited"]
        return time.perf_counter() - began if waited else 0.0


def _of(reply: Mapping[str, object], what: str = "seconds") -> float:
    return float(str(reply[what]))


def contestants(floor: Path) -> dict[str, Callable[[Child], Builder]]:
    """In the order of a round."""
    return {
        "floor": lambda judge: Builder(judge, str(floor)),
        "netkit": _python("netkit"),
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

    def __init__(self, setting: Setting, judge: Child) -> None:
        self.judge = judge
        self.made: dict[str, Builder] = {}
        self.failed: dict[str, str] = {}
        self.costs: dict[str, tuple[int, float]] = {}  # at the size before: seconds per container
        for name, make in contestants(setting.floor).items():
            if name == "floor" or setting.wanted(name):
                try:
                    self.made[name] = make(judge)
                except Unavailable as reason:
                    self.failed[name] = str(reason)

    def play(self, size: int, rounds: int) -> tuple[dict[str, list[Sample]], dict[str, str]]:
        """One size."""
        tired = {name: why for name in self.made if (why := self._too_slow(name, size))}
        measures = {name: _bind(made, size) for name, made in self.made.items() if name not in tired}
        exempt = [name for name in self.made if name == "floor" or name.startswith("netkit")]
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
        before, cost = self.costs.get(name, (0, 0.0))
        if name == "floor" or name.startswith("netkit") or cost * size <= BUDGET:
            return None
        return f"would take about {cost * size:.0f} s ({cost * 1e3:.0f} ms a container at {before})"

    def close(self) -> None:
        """End the contestants' processes."""
        for builder in self.made.values():
            builder.end()


def _bind(builder: Builder, size: int) -> Callable[[], Sample]:
    builder.checked = False
    return lambda: builder.measure(size)


def _times(samples: Mapping[str, Sequence[Sample]], what: str) -> dict[str, list[float]]:
    return {name: [getattr(sample, what) for sample in played] for name, played in samples.items()}


def _tables(size: int, samples: Mapping[str, Sequence[Sample]], failed: dict[str, str]) -> Iterator[Result]:
    build, cpu, down = (_times(samples, what) for what in ("build", "build_cpu", "teardown"))
    claimed = size in (100, 1000)
    phases = (
        ("build", build, _claims(build, BUILD, "builds it") if claimed else []),
        (
            "build, processor time",
            cpu,
            _claims(cpu, BUILD, "builds it, in processor time,") if claimed else [],
        ),
        ("teardown until the names are free", down, _teardown_claims(size, down) if claimed else []),
    )
    for phase, times, claims in phases:
        each = ", ".join(f"{name} {median(values) / size * 1e3:.2f}" for name, values in times.items())
        yield Result(
            f"star of {size}: {phase}",
            times,
            failed,
            base="floor",
            claims=claims,
            notes=[f"per container, median ms: {each}", *_few(times)],
            extra={"claim": "star", "size": size, "phase": phase},
        )


def _few(times: Mapping[str, Sequence[float]]) -> list[str]:
    most = max(map(len, times.values()), default=0)
    short = [f"{name} {len(values)}" for name, values in times.items() if len(values) < most]
    return [f"rounds: {most}; of the slow: {', '.join(short)}"] if short else []


def _claims(times: Mapping[str, Sequence[float]], bound: float, does: str) -> list[Claim]:
    return [
        Claim(f"{name} {does} in at most {bound} times the floor", ratio(times, name, "floor"), bound)
        for name in times
        if name.startswith("netkit")
    ]


def _teardown_claims(size: int, times: Mapping[str, Sequence[float]]) -> list[Claim]:
    claims = _claims(times, TEARDOWN, "removes it")
    peers = [name for name in times if name != "floor" and not name.startswith("netkit")]
    if size == 1000 and peers and "netkit" in times:
        least = min((ratio(times, name, "netkit") or 0, name) for name in peers)
        text = f"netkit removes it at least {FASTER} times faster than any peer ({least[1]})"
        claims.append(Claim(text, least[0], FASTER, at_most=False))
    return claims


def _growth(played: Mapping[int, Mapping[str, Sequence[Sample]]]) -> Iterator[Result]:
    """Not rounds but sizes: what a container costs at each, and how that grows."""
    sizes = sorted(played)
    if len(sizes) < 2:
        return
    first, last = sizes[0], sizes[-1]
    both = [name for name in played[first] if name in played[last]]
    grown = {name: _cost(played[last][name], last) / _cost(played[first][name], first) for name in both}
    costs = {name: [_cost(played[size][name], size) for size in sizes] for name in both}
    yield Result(
        f"star, build per container from {first} to {last}: the rounds are the sizes {sizes}",
        costs,
        {},
        base="floor",
        claims=[
            Claim(
                f"the cost of a container grows less than {GROWTH:.0f} times with netkit"
                f" (the floor's, which is the kernel's own: {grown['floor']:.2f})",
                grown["netkit"],
                GROWTH,
            )
        ]
        if "netkit" in grown and "floor" in grown
        else [],
        extra={"claim": "star", "phase": "growth", "sizes": sizes, "growth": grown},
    )


def _cost(samples: Sequence[Sample], size: int) -> float:
    return median(sample.build for sample in samples) / size


def run(setting: Setting) -> Iterator[Result]:
    """Each size, then how the cost of a container grows with it."""
    judge = Child([str(setting.floor)])
    field = Field(setting, judge)
    played: dict[int, dict[str, list[Sample]]] = {}
    try:
        for size in setting.sizes or SIZES:
            rounds = min(setting.rounds, FEW_ROUNDS.get(size, setting.rounds))
            played[size], failed = field.play(size, rounds)
            yield from _tables(size, played[size], failed)
        yield from _growth(played)
    finally:
        field.close()
        judge.close()
