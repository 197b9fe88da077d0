"""Claim: the demo's scenes 1, 3, 4 and 5 as one build cost at most 1.4 times the C floor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Protocol

from . import check_demo, check_packets, peers
from .contestants import NAMES, commands
from .harness import Child, Setting, Unavailable, interleave, ratio
from .report import Claim, Result

BOUND, EARLIER = 1.4, 1.5  # the earlier one was the first release's


class Builder(Protocol):
    """A contestant, seen from the harness."""

    def build(self) -> float: ...
    def teardown(self) -> float: ...
    def namespaces(self) -> dict[str, str]: ...
    def close(self) -> None: ...


class ChildBuilder:
    """A contestant that runs in a process of its own."""

    def __init__(self, *argv: str) -> None:
        self.child = Child(argv)

    def build(self) -> float:
        return self.child.seconds("build")

    def teardown(self) -> float:
        return self.child.seconds("teardown")

    def namespaces(self) -> dict[str, str]:
        reply = self.child.ask("namespaces")
        return {name: str(reply[name]) for name in NAMES}

    def close(self) -> None:
        self.child.close()


def _python(name: str) -> Callable[[], Builder]:
    return lambda: ChildBuilder(sys.executable, "-m", "benchmarks.contestants", name, "demo")


def contestants(floor: Path) -> dict[str, Callable[[], Builder]]:
    """In the order of a round."""
    return {
        "floor": lambda: ChildBuilder(str(floor)),
        "netkit": _python("netkit"),
        "netkit, one by one": _python("netkit_single"),
        "netkit, named": _python("netkit_named"),
        "Go netlink, nftables": lambda: ChildBuilder(str(peers.go_program())),
        "ip -batch, nft -f": lambda: commands.Script(commands.with_batches()),
        "pyroute2 IPRoute": _python("pyroute2"),
        "ip, iptables": lambda: commands.Script(commands.with_iptables()),
        "ip, nft": lambda: commands.Script(commands.with_nft()),
        "pyroute2 NDB": _python("ndb"),
    }


def _measure(builder: Builder, down: list[float], checked: list[bool]) -> float:
    """One build; the first is compared with what it should be, the teardown is timed apart."""
    try:
        seconds = builder.build()
    except Unavailable:
        commands.sweep()
        raise
    try:
        if not checked:
            check_demo.check(builder.namespaces())
            check_packets.check(builder.namespaces())
            checked.append(True)
    except check_demo.Wrong as difference:
        raise Unavailable(f"built something else: {difference}") from None
    finally:
        down.append(builder.teardown())
    return seconds


def run(setting: Setting) -> list[Result]:
    """Builds, and the teardowns that go with them."""
    makers = {
        name: make
        for name, make in contestants(setting.floor).items()
        if name == "floor" or setting.wanted(name)
    }
    return _results(*play(makers, setting))


def play(
    makers: Mapping[str, Callable[[], Builder]], setting: Setting
) -> tuple[dict[str, list[float]], dict[str, str], dict[str, list[float]]]:
    """Seconds per build, why some did not run, and seconds per teardown."""
    builders: dict[str, Builder] = {}
    failed: dict[str, str] = {}
    for name, make in makers.items():
        try:
            builders[name] = make()
        except Unavailable as reason:
            failed[name] = str(reason)
    down: dict[str, list[float]] = {name: [] for name in builders}
    settler = Child([str(setting.floor)])
    try:
        measures = {name: _bind(builder, down[name]) for name, builder in builders.items()}
        times, dropped = interleave(measures, setting.rounds, between=lambda: settler.ask("settle"))
    finally:
        settler.close()
        for builder in builders.values():
            builder.close()
    return times, {**failed, **dropped}, down


def _bind(builder: Builder, down: list[float]) -> Callable[[], float]:
    checked: list[bool] = []
    return lambda: _measure(builder, down, checked)


def _results(
    times: dict[str, list[float]], failed: dict[str, str], down: dict[str, list[float]]
) -> list[Result]:
    claims = [
        Claim(
            f"netkit builds the demo's network in at most {bound} times the floor",
            ratio(times, "netkit", "floor"),
            bound,
        )
        for bound in (BOUND, EARLIER)
    ]
    teardown = ", ".join(f"{name} {median(down[name]) * 1e3:.1f}" for name in times)
    return [
        Result(
            "demo_build: 5 namespaces, 3 veth pairs, a bridge, addresses, routes, forwarding, 2 NAT rules",
            times,
            failed,
            base="floor",
            claims=claims,
            notes=[f"until teardown returns, median ms: {teardown}"],
            extra={"claim": "demo_build", "teardown_seconds": {name: down[name] for name in times}},
        )
    ]
