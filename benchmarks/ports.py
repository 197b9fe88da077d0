"""Claims: thousands of ports published at once cost at most 3 times the floor, one more among them 1 ms."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from statistics import median

from .children import Task, Times
from .harness import Budget, Child, Setting, Unavailable, interleave, ratio
from .report import Claim, Result

HOST = "publisher"
SIZES = (1000, 10_000)
BOUND, ONE_MORE = 3, 1e-3
FEW = 10  # one more, so often in a round
SECONDS = 20.0  # a slower contestant plays fewer rounds
SLICE = 100  # one by one, so many between two looks at the clock
LIMIT = 600.0  # seconds: what was added until then counts, and is no time

AT_ONCE = {
    "floor": "floor",
    "netkit": "netkit",
    "netkit, iptables": "netkit_iptables",
    "Go nftables": "go",
    "nft -f": "nft",
    "iptables-legacy-restore": "iptables",
    "iptc, one commit": "iptc",
    "pyroute2, rules": "pyroute2",
}
ONE_BY_ONE = {
    "floor": "floor",
    "netkit": "netkit",
    "netkit, iptables": "netkit_iptables",
    "Go nftables": "go",
    "nft, a command each": "nft",
    "iptables-legacy, a command each": "iptables",
    "iptc, autocommit": "iptc_autocommit",
    "pyroute2, rules": "pyroute2",
}
EXEMPT = ("floor", "netkit")  # they play all rounds


@contextmanager
def host() -> Generator[None]:
    """A router with a bridge, and a network behind it."""
    lines = ("link add br0 up type bridge", "address add 172.18.0.1/16 dev br0", "link set lo up")
    subprocess.run(["ip", "netns", "add", HOST], check=True)
    try:
        subprocess.run(["ip", "-n", HOST, "-batch", "-"], input="\n".join(lines), text=True, check=True)
        forwarding = ["sysctl", "-qw", "net.ipv4.ip_forward=1"]
        subprocess.run(["ip", "netns", "exec", HOST, *forwarding], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", HOST], check=True)


class Round:
    """All that one contestant is asked for in a round; the phases are kept by name."""

    def __init__(self, child: Child, size: int) -> None:
        self.child, self.size = child, size
        self.phases: dict[str, list[float]] = {}

    def at_once(self) -> float:
        """Seconds for publishing at once."""
        seconds = self.child.seconds("publish", self.size)
        try:
            reply = self._listed(self.size)
            self._keep("listed", float(str(reply["seconds"])))
            self._keep("one more", self.child.seconds("more", self.size, FEW))
        finally:
            self._keep("removed", self.child.seconds("unpublish"))
        return seconds

    def one_by_one(self) -> float:
        """Seconds for as many, each by itself; Unfinished when the limit comes first."""
        seconds, count = self.child.seconds("publish", 1), 1
        try:
            while count < self.size and seconds < LIMIT:
                some = min(SLICE, self.size - count)
                seconds += self.child.seconds("single", count, some)
                count += some
            self._listed(count)
        finally:
            self.child.seconds("unpublish")
        if count < self.size:
            raise Unfinished(f"{count} of {self.size} within {seconds:.0f} s")
        return seconds

    def _listed(self, count: int) -> dict[str, object]:
        reply = self.child.ask("list")
        if reply["count"] != count:
            raise Unavailable(f"lists {reply['count']} of {count}")
        return reply

    def _keep(self, phase: str, seconds: float) -> None:
        self.phases.setdefault(phase, []).append(seconds)


class Unfinished(Unavailable):
    """It did what it is asked for, but not all of it in time."""


class Played:
    """What came of the rounds of one table."""

    def __init__(self, setting: Setting, table: Mapping[str, str], work: Callable[[Round], float], size: int):
        self.unfinished: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.children: dict[str, Round] = {}
        task = Task(setting, "ports", HOST, "ports")
        try:
            for name, module in table.items():
                self._start(task, name, module, size)
            measures = {name: self._measure(name, work) for name in self.children}
            budget = Budget(SECONDS, _twice, exempt=EXEMPT)
            self.times, dropped = interleave(measures, setting.rounds, budget=budget)
        finally:
            for each in self.children.values():
                each.child.close()
        self.failed |= {name: why for name, why in dropped.items() if name not in self.unfinished}

    def _start(self, task: Task, name: str, module: str, size: int) -> None:
        if name == "floor" or task.setting.wanted(name):
            try:
                self.children[name] = Round(task.start(module), size)
            except Unavailable as reason:
                self.failed[name] = str(reason)

    def _measure(self, name: str, work: Callable[[Round], float]) -> Callable[[], float]:
        def measure() -> float:
            try:
                return work(self.children[name])
            except Unfinished as reason:
                self.unfinished[name] = str(reason)
                raise

        return measure

    def phase(self, name: str) -> Times:
        """Of those that played it; the first round is the warm-up."""
        return {
            each: kept[1:] or kept for each in self.times if (kept := self.children[each].phases.get(name))
        }


def _twice(warm_up: float) -> float:
    return 2 * warm_up


def _claims(size: int, phase: str, times: Times) -> list[Claim]:
    if phase == "at once":
        words = f"netkit: publish_many of {size} at most {BOUND} times the floor"
        return [Claim(words, ratio(times, "netkit", "floor"), BOUND)]
    if phase == "one more" and size == max(SIZES):
        one = median(times["netkit"]) * 1e3 if "netkit" in times else None
        return [
            Claim(f"netkit: one more among {size} in at most {ONE_MORE * 1e3:.0f} ms", one, ONE_MORE * 1e3)
        ]
    return []


def _result(size: int, phase: str, played: Played, times: Times) -> Result:
    return Result(
        f"published ports: {size}, {phase}",
        times,
        played.failed,
        base="floor",
        unit="us" if phase == "one more" else "ms",
        claims=_claims(size, phase, times),
        extra={"claim": "ports", "size": size, "phase": phase},
        unfinished=played.unfinished,
    )


def run(setting: Setting) -> list[Result]:
    """Each size with all its phases."""
    results: list[Result] = []
    for size in setting.sizes or SIZES:
        if setting.has_phase("at once"):
            with host():
                played = Played(setting, AT_ONCE, Round.at_once, size)
            phases = {"at once": played.times}
            phases |= {phase: played.phase(phase) for phase in ("one more", "listed", "removed")}
            results += [_result(size, phase, played, times) for phase, times in phases.items()]
        if setting.has_phase("one by one"):
            with host():
                played = Played(setting, ONE_BY_ONE, Round.one_by_one, size)
            results.append(_result(size, "one by one", played, played.times))
    return results
