"""Claims: all links with addresses of a namespace with 1000 links in at most 6 times the floor; those, and
one link by name, 10 times faster than pyroute2."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from .children import Task, Times
from .harness import Child, Setting, Unavailable, ratio
from .report import Claim, Result

NAMESPACE, PAIRS = "many", 500
EXPECTED = {"links": 2 * PAIRS + 1, "addresses": 4 * PAIRS + 2}  # `lo` has its two
TARGET = f"b{PAIRS // 2}"
LOOKUPS = 50  # per round: one alone is too short to time
BOUND, FACTOR = 6, 10

ALL = {
    "floor": "floor",
    "netkit": "netkit",
    "netkit snapshot": "netkit_snapshot",
    "Go netlink": "go",
    "pyroute2": "pyroute2",
    "ip -j address": "ip",
}
ONE = {
    "floor": "floor",
    "netkit": "netkit",
    "Go netlink": "go",
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


def _claim(what: str, times: Times) -> Claim:
    text = f"netkit reads {what} at least {FACTOR} times faster than pyroute2"
    return Claim(text, ratio(times, "pyroute2", "netkit"), FACTOR, at_most=False)


def _target_index(task: Task) -> int:
    child = task.start("floor")
    try:
        return int(str(child.ask("one", TARGET, 1)["index"]))
    finally:
        child.close()


def run(setting: Setting) -> list[Result]:
    """Reads only: the namespace is made once, untimed."""
    task = Task(setting, "read", NAMESPACE, "open")
    create_links()
    try:
        index = _target_index(task)
        everything, failed = task.play(ALL, "floor", _all)
        single, not_single = task.play(ONE, "floor", lambda child: _one(child, index))
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)
        settler = Child([str(setting.floor)])
        settler.ask("settle")
        settler.close()
    floor_claim = Claim(
        f"netkit reads all links with addresses in at most {BOUND} times the floor",
        ratio(everything, "netkit", "floor"),
        BOUND,
    )
    return [
        Result(
            f"read_links, all: {EXPECTED['links']} links with their {EXPECTED['addresses']} addresses",
            everything,
            failed,
            base="floor",
            claims=[floor_claim, _claim("all links with addresses", everything)],
            extra={"claim": "read_links", "phase": "all"},
        ),
        Result(
            f"read_links, one: one of {EXPECTED['links']} links, by name",
            single,
            not_single,
            base="floor",
            unit="us",
            claims=[_claim("one link by name", single)],
            extra={"claim": "read_links", "phase": "one"},
        ),
    ]
