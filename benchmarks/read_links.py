"""Claims: all links with addresses of a namespace with 1000 links, and one link by name, 10 times faster
than pyroute2."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from .harness import Child, Setting, Unavailable, interleave, ratio
from .report import Claim, Result

NAMESPACE, PAIRS = "many", 500
EXPECTED = {"links": 2 * PAIRS + 1, "addresses": 4 * PAIRS + 2}  # `lo` has its two
TARGET = f"b{PAIRS // 2}"
LOOKUPS = 50  # per round: one alone is too short to time
FACTOR = 10

ALL = {
    "floor": "floor",
    "netkit": "netkit",
    "netkit snapshot": "netkit_snapshot",
    "pyroute2": "pyroute2",
    "ip -j address": "ip",
}
ONE = {
    "floor": "floor",
    "netkit": "netkit",
    "pyroute2": "pyroute2",
    "pyroute2 link_lookup": "pyroute2_lookup",
    "ip -j link": "ip",
}


def _lines() -> Iterator[str]:
    yield "link set lo up"
    for pair in range(PAIRS):
        yield f"link add a{pair} type veth peer name b{pair}"
    for pair in range(PAIRS):
        for side, end in enumerate("ab"):
            yield f"link set {end}{pair} up"
            yield f"address add 10.{side}.{pair // 256}.{pair % 256}/32 dev {end}{pair}"
            yield f"address add fd00:{side}::{pair + 1:x}/128 dev {end}{pair} nodad"


def create_links() -> None:
    """500 veth pairs, up, an IPv4 and an IPv6 address on each end; no link-local ones, which come late."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    key = "net.ipv6.conf.default.addr_gen_mode=1"
    subprocess.run(["ip", "netns", "exec", NAMESPACE, "sysctl", "-qw", key], check=True)
    text = "\n".join(_lines())
    subprocess.run(["ip", "-n", NAMESPACE, "-batch", "-"], input=text, text=True, check=True)


def _start(name: str, floor: Path) -> Child:
    if name == "floor":
        child, where = Child([str(floor)]), f"/run/netns/{NAMESPACE}"
    else:
        child, where = Child([sys.executable, "-m", "benchmarks.contestants", name, "read"]), NAMESPACE
    try:
        child.ask("open", where)
    except Unavailable:
        child.close()
        raise
    return child


def _all(child: Child) -> float:
    reply = child.ask("all")
    found = {what: reply[what] for what in EXPECTED}
    if found != EXPECTED:
        raise Unavailable(f"read {found} where there are {EXPECTED}")
    return float(str(reply["seconds"]))


def _one(child: Child, index: int) -> float:
    reply = child.ask("one", TARGET, LOOKUPS)
    if reply["index"] != index:
        raise Unavailable(f"read index {reply['index']} where {TARGET} has {index}")
    return float(str(reply["seconds"]))


def _run(
    table: dict[str, str], floor: Path, rounds: int, measure: Callable[[Child], float]
) -> tuple[dict[str, list[float]], dict[str, str]]:
    children: dict[str, Child] = {}
    failed: dict[str, str] = {}
    try:
        for name, module in table.items():
            try:
                children[name] = _start(module, floor)
            except Unavailable as reason:
                failed[name] = str(reason)
        measures = {name: _bind(measure, child) for name, child in children.items()}
        times, dropped = interleave(measures, rounds)
    finally:
        for child in children.values():
            child.close()
    return times, {**failed, **dropped}


def _bind(measure: Callable[[Child], float], child: Child) -> Callable[[], float]:
    return lambda: measure(child)


def _chosen(table: dict[str, str], wanted: Callable[[str], bool]) -> dict[str, str]:
    return {name: module for name, module in table.items() if name == "floor" or wanted(name)}


def _claim(what: str, times: dict[str, list[float]]) -> Claim:
    text = f"netkit reads {what} at least {FACTOR} times faster than pyroute2"
    return Claim(text, ratio(times, "pyroute2", "netkit"), FACTOR, at_most=False)


def _target_index(floor: Path) -> int:
    child = _start("floor", floor)
    try:
        return int(str(child.ask("one", TARGET, 1)["index"]))
    finally:
        child.close()


def run(setting: Setting) -> list[Result]:
    """Reads only: the namespace is made once, untimed."""
    floor, rounds, wanted = setting.floor, setting.rounds, setting.wanted
    create_links()
    try:
        index = _target_index(floor)
        everything, failed = _run(_chosen(ALL, wanted), floor, rounds, _all)
        single, not_single = _run(_chosen(ONE, wanted), floor, rounds, lambda child: _one(child, index))
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)
        settler = Child([str(floor)])
        settler.ask("settle")
        settler.close()
    title = f"read_links, all: {EXPECTED['links']} links with their {EXPECTED['addresses']} addresses"
    return [
        Result(
            title, everything, failed, base="floor", claims=[_claim("all links with addresses", everything)]
        ),
        Result(
            f"read_links, one: one of {EXPECTED['links']} links, by name",
            single,
            not_single,
            base="floor",
            unit="us",
            claims=[_claim("one link by name", single)],
        ),
    ]
