"""Claims: one link by name, one address added, one route added and removed: per operation, at most 10 us
over the floor."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from statistics import median

from .children import Task, Times
from .harness import Child, Setting, Unavailable
from .report import Claim, Result

# One each: who listens for events (pyroute2 does) would read about what others do while those are timed.
NAMESPACE, DEVICE, INDEX = "single-{module}", "veth0", 4242
NETWORK = "10.200.0.0"
COUNT = 200  # per round: one alone is too short to time
WARM = 50  # before, untimed: after the turns of others caches are cold, and processors asleep
FEW = 5  # where one is a process
BOUND = 10e-6
WORDS = (("address",), ("route", NETWORK))

CONTESTANTS = {"floor": "floor", "netkit": "netkit", "Go netlink": "go", "pyroute2": "pyroute2"}


def create(namespace: str) -> None:
    """A namespace with one veth that is up and has an address, its far end in the same."""
    lines = (
        f"link add {DEVICE} index {INDEX} up type veth peer name veth1",
        "link set veth1 up",
        f"address add 10.1.0.1/16 dev {DEVICE}",
    )
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines), text=True, check=True)


def _one(child: Child) -> float:
    child.ask("one", DEVICE, WARM)
    reply = child.ask("one", DEVICE, COUNT)
    if reply["index"] != INDEX:
        raise Unavailable(f"read index {reply['index']} where {DEVICE} has {INDEX}")
    return float(str(reply["seconds"]))


def _each(*words: object) -> Callable[[Child], float]:
    return lambda child: child.seconds(*words)


def _warm(*words: object) -> Callable[[Child], float]:
    def measure(child: Child) -> float:
        child.ask(*words, WARM)
        return child.seconds(*words, COUNT)

    return measure


def above_floor(times: Times, name: str) -> float | None:
    """The median over the rounds of what it took beyond the floor."""
    if name not in times or "floor" not in times:
        return None
    return median(own - floor for own, floor in zip(times[name], times["floor"], strict=False))


def _result(what: str, times: Times, failed: dict[str, str], operations: int = 1) -> Result:
    above = above_floor(times, "netkit")
    beyond = {name: above_floor(times, name) for name in times if name != "floor"}
    listed = ", ".join(f"{name} {extra * 1e6:.1f}" for name, extra in beyond.items() if extra is not None)
    each = "" if operations == 1 else f", per operation (of {operations}),"
    together = "" if operations == 1 else f", {operations} operations together"
    return Result(
        f"operations: {what}",
        times,
        failed,
        base="floor",
        unit="us",
        claims=[
            Claim(
                f"netkit: {what}{each} at most {BOUND * 1e6:.0f} us over the floor",
                None if above is None else above * 1e6 / operations,
                BOUND * 1e6,
            )
        ],
        notes=[f"over the floor, median us{together}: {listed}"],
        extra={"claim": "operations", "phase": what, "above_floor_seconds": beyond},
    )


def run(setting: Setting) -> list[Result]:
    """Each on objects and sockets that are there already."""
    namespaces = [NAMESPACE.format(module=module) for module in (*CONTESTANTS.values(), "ip")]
    for namespace in namespaces:
        create(namespace)
    reading = Task(setting, "read", NAMESPACE, "open")
    writing = Task(setting, "operations", NAMESPACE, "operate", INDEX)
    try:
        links = reading.play(CONTESTANTS, "floor", _one)
        addresses = writing.play(CONTESTANTS, "floor", _warm(*WORDS[0]))
        routes = writing.play(CONTESTANTS, "floor", _warm(*WORDS[1]))
        commands = [writing.play({"ip": "ip"}, "", _each(*words, FEW)) for words in WORDS]
    finally:
        for namespace in namespaces:
            subprocess.run(["ip", "netns", "del", namespace], check=True)
    for (times, failed), (more, missing) in zip((addresses, routes), commands, strict=True):
        times.update(more)
        failed.update(missing)
    return [
        _result("one link by name", *links),
        _result("one address added", *addresses),
        _result("one route added and removed", *routes, operations=2),
    ]
