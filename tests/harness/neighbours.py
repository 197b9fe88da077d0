"""A program: processes that build with the same names, among others that meddle.

    python -m tests.harness.neighbours SECONDS SEED        everything, and prints one JSON object
    python -m tests.harness.neighbours build SECONDS SEED  one of the builders
    python -m tests.harness.neighbours meddle|reload SECONDS SEED

The neighbours' own things are made with ip, nft and iptables, and are to be all there at the end.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import traceback
from collections import Counter
from typing import Any

from tests.harness.patience import LONG

BUILDERS = 8

NFT = """
flush ruleset
table inet theirs {
    chain forward { type filter hook forward priority filter; policy accept; iif "their0" counter accept; }
}
"""
IPTABLES = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:THEIRS - [0:0]
-A POSTROUTING -s 192.0.2.0/24 -j THEIRS
-A THEIRS -m comment --comment "netkit:1:2:3" -j RETURN
COMMIT
"""
THEIRS = """
ip netns add theirs
ip link add their0 type veth peer name their1
ip link add theirbr type bridge
ip link set their0 master theirbr up
ip link set theirbr up
ip address add 192.0.2.1/24 dev theirbr
ip route add 198.51.100.0/24 via 192.0.2.2 proto 110
ip route add blackhole 203.0.113.0/24 table 77
ip rule add from 192.0.2.0/24 table 77 priority 77
ip neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev theirbr nud permanent
sysctl -qw net.ipv4.conf.their0.rp_filter=2
"""


def main() -> None:
    from tests.harness.isolation import isolate

    reason = isolate()
    if reason:
        sys.exit(reason)
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    subprocess.run(["sh", "-ec", THEIRS], check=True)
    _reload()
    before = _kept()
    start = [_start("build", seconds, seed + n) for n in range(BUILDERS)]
    others = [_start("meddle", seconds, seed), _start("reload", seconds, seed)]
    told = [json.loads(each.communicate(timeout=seconds + 300)[0] or "null") for each in start]
    meddled = [json.loads(each.communicate(timeout=5 * LONG)[0]) for each in others]
    statuses = [each.returncode for each in (*start, *others)]
    _reload()
    print(json.dumps({"told": told, "meddled": meddled, "statuses": statuses, "left": _differences(before)}))


def _start(role: str, seconds: float, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.harness.neighbours", role, str(seconds), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _kept() -> dict[str, dict[str, str]]:
    from tests.harness.machine import read

    return {kind: lines for kind, lines in read().items() if kind != "journal"}


def _differences(before: dict[str, dict[str, str]]) -> list[str]:
    from tests.harness.killing import LONGEST, settle_by

    return settle_by(_kept, before, time.monotonic() + LONGEST)[1]


def _reload() -> None:
    """As firewalld's reload and iptables' service do: everything goes, and their own comes back."""
    subprocess.run(["nft", "-f", "-"], input=NFT, text=True, check=True)
    subprocess.run(["iptables-legacy-restore", "-w"], input=IPTABLES, text=True, check=True)


# -- the builders -------------------------------------------------------------------


def build(seconds: float, seed: int) -> None:
    """Until the time is up and something was built: what came of each try, by class, and what was unclear."""
    from netkit import NetkitError, Scope
    from tests.harness import networks

    chance, until = random.Random(seed), time.monotonic() + seconds
    came: Counter[str] = Counter()
    unclear: list[str] = []
    while time.monotonic() < until or not came["built"]:
        try:
            parts = chance.sample(networks.IN_THE_HOST, chance.randint(1, 4))
            parts += (
                [networks.iptables] if chance.random() < 0.05 else []
            )  # its worker takes a third of a second
            with Scope() as lab:
                for part in parts:
                    part(lab)
            came["built"] += 1
        except NetkitError as problem:
            came[type(problem).__name__] += 1
            unclear += [repr(each) for each in _leaves(problem) if not _is_clear(each)]
        except Exception as problem:
            unclear.append("".join(traceback.format_exception(problem)))
    import netkit

    netkit.shutdown()
    print(json.dumps({"came": came, "unclear": unclear}))


def _leaves(problem: BaseException) -> list[BaseException]:
    if isinstance(problem, BaseExceptionGroup):
        return [leaf for each in problem.exceptions for leaf in _leaves(each)]
    return [problem]


def _is_clear(problem: BaseException) -> bool:
    """One of netkit's own, which says what was asked."""
    from netkit import NetkitError

    return isinstance(problem, NetkitError) and len(str(problem)) > 20


# -- the others ---------------------------------------------------------------------


def meddle(seconds: float, seed: int) -> None:
    """Delete, rename, move and set down links that are not ours."""
    chance, until = random.Random(seed), time.monotonic() + seconds
    done: Counter[str] = Counter()
    number = 0
    while time.monotonic() < until:
        names = [name for name in _links() if not name.startswith(("lo", "their"))]
        if not names:
            os.sched_yield()
            continue
        number += 1
        name, verb = chance.choice(names), chance.choice(["delete", "rename", "move", "down", "regroup"])
        what = {
            "delete": ["delete", name],
            "rename": ["set", name, "name", f"ren{number}"],
            "move": ["set", name, "netns", "theirs"],
            "down": ["set", name, "down"],
            "regroup": ["set", name, "group", "5"],
        }[verb]
        done[verb] += not subprocess.run(["ip", "link", *what], stderr=subprocess.DEVNULL).returncode
    print(json.dumps(done))


def _links() -> list[str]:
    told = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    return [line.split(": ")[1].partition("@")[0] for line in told.splitlines()]


def reload(seconds: float, seed: int) -> None:
    """Flush and reload both firewalls over and over."""
    until, done = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        _reload()
        done += 1
    print(json.dumps({"reloads": done}))


ROLES: dict[str, Any] = {"build": build, "meddle": meddle, "reload": reload}

if __name__ == "__main__":
    if sys.argv[1] in ROLES:
        ROLES[sys.argv[1]](float(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
