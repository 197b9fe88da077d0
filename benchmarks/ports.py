"""Claims: thousands of ports published at once cost at most 3 times the floor, one more among them 1 ms."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from statistics import median

from .children import Task, Times
from .harness import Budget, Child, Setting, Unavailable, interleave, ratio
from .report import Claim, Result

HOST = "publisher"
SIZES = (1000, 10_000)
BOUND, ONE_MORE = 3, 1e-3
FEW = 10  # one more, so often in a round
SECONDS = 20.0  # a slower contestant plays fewer rounds, and none of the largest size

CONTESTANTS = {
    "floor": "floor",
    "netkit": "netkit",
    "netkit, one by one": "netkit_single",
    "netkit, iptables": "netkit_iptables",
    "Go nftables": "go",
    "nft -f": "nft",
    "iptables-legacy-restore": "iptables",
    "iptc, one commit": "iptc",
    "iptc, autocommit": "iptc_autocommit",
    "pyroute2, rules": "pyroute2",
}
# What takes minutes for the largest size.
SMALL = ("iptc, autocommit", "iptc, one commit", "pyroute2, rules")
EXEMPT = ("floor", "netkit")  # they play all rounds
ALONE = ("netkit, one by one", "pyroute2, rules")  # for these there is no "one more"


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

    def __init__(self, child: Child, name: str, size: int) -> None:
        self.child, self.name, self.size = child, name, size
        self.phases: dict[str, list[float]] = {}

    def play(self) -> float:
        """Seconds for publishing at once."""
        seconds = self.child.seconds("publish", self.size)
        try:
            reply = self.child.ask("list")
            if reply["count"] != self.size:
                raise Unavailable(f"lists {reply['count']} of {self.size}")
            self._keep("listed", float(str(reply["seconds"])))
            if self.name not in ALONE:
                self._keep("one more", self.child.seconds("more", self.size, FEW))
        finally:
            self._keep("removed", self.child.seconds("unpublish"))
        return seconds

    def _keep(self, phase: str, seconds: float) -> None:
        self.phases.setdefault(phase, []).append(seconds)


def _play(setting: Setting, size: int) -> tuple[dict[str, Times], dict[str, str]]:
    task = Task(setting, "ports", HOST, "ports")
    children: dict[str, Round] = {}
    failed: dict[str, str] = {}
    try:
        for name, module in CONTESTANTS.items():
            if size == max(SIZES) and name in SMALL:
                failed[name] = "takes minutes"
            elif name == "floor" or setting.wanted(name):
                try:
                    children[name] = Round(task.start(module), name, size)
                except Unavailable as reason:
                    failed[name] = str(reason)
        budget = Budget(SECONDS, _seconds, exempt=EXEMPT)
        measures: dict[str, Callable[[], float]] = {name: each.play for name, each in children.items()}
        times, dropped = interleave(measures, setting.rounds, budget=budget)
    finally:
        for each in children.values():
            each.child.close()
    phases = {"at once": times}
    for phase in ("one more", "listed", "removed"):
        # The first round is the warm-up; who dropped out is in none.
        phases[phase] = {
            name: kept[1:] or kept for name in times if (kept := children[name].phases.get(phase))
        }
    return phases, {**failed, **dropped}


def _seconds(warm_up: float) -> float:
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


def run(setting: Setting) -> list[Result]:
    """Each size with all its phases."""
    results: list[Result] = []
    for size in setting.sizes or SIZES:
        with host():
            phases, failed = _play(setting, size)
        for phase, times in phases.items():
            results.append(
                Result(
                    f"published ports: {size}, {phase}",
                    times,
                    failed,
                    base="floor",
                    unit="us" if phase == "one more" else "ms",
                    claims=_claims(size, phase, times),
                    extra={"claim": "ports", "size": size, "phase": phase},
                )
            )
    return results
