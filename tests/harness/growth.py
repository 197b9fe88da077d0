"""A program: one object made and deleted many times; what the process and the kernel hold before and after.

    python -m tests.harness.growth OBJECT CYCLES

Prints one JSON object: what grew. The first cycles are not counted, for they load modules and fill caches.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import netkit
from netkit import Bridge, Namespace, NatRule, RouteTable, Scope, Topology, VethPair
from tests.harness import processes
from tests.harness.patience import LONG
from tests.harness.storm import held, held_in_time

ALLOWED_GARBAGE = {"star": 30}  # of a plan, whose interfaces know their segment, and it knows them
MEMORY = 400  # kB: an arena of Python's is 256 (1024 from 3.13 on, which are taken when they are needed)
BLOCKS = 200  # of Python's objects: caches
_libc = ctypes.CDLL(None)


def namespace() -> None:
    with Namespace():
        pass


def named_namespace() -> None:
    with Namespace("named"):
        pass


def persistent_namespace() -> None:
    with Namespace("kept", persistent=True):
        pass


def veth() -> None:
    host = Namespace.current()
    with VethPair(host, host, name="v0", peer_name="v1", address=["10.1.0.1/24", "fd00::1/64"]):
        pass


def bridge() -> None:
    with Bridge(Namespace.current(), "br0", address="10.1.0.1/24"):
        pass


def connected() -> None:
    with Scope() as lab:
        box = lab.own(Namespace())
        bridge = lab.own(Bridge(Namespace.current(), "br0", address="10.1.0.1/24"))
        bridge.connect(box, name="v0", peer_name="eth0", peer_address="10.1.0.2/24", default_route=True)
        assert box.ping("10.1.0.1", timeout=5).loss == 0


def routes() -> None:
    with RouteTable(Namespace.current(), 100) as table:
        table.add("10.9.0.0/16", type="blackhole")
        table.replace("10.9.0.0/16", dev="lo")


def rule() -> None:
    host = Namespace.current()
    host.rules.delete(host.rules.add(src="10.0.0.0/8", table=100))


def neighbour() -> None:
    host = Namespace.current()
    with VethPair(host, host, name="v0", peer_name="v1"):
        host.neighbours.add("10.1.0.9", mac="02:00:00:00:00:09", dev="v0")


def nat() -> None:
    host = Namespace.current()
    with (
        NatRule.masquerade(host, saddr="10.0.0.0/8", oif="v9"),
        NatRule.dnat(host, proto="tcp", dport=80, to="10.0.0.2:80"),
    ):
        pass


def iptables() -> None:
    with NatRule.masquerade(Namespace.current(), saddr="10.0.0.0/8", oif="v9", backend="iptables"):
        pass


def sysctl() -> None:
    with Namespace.current().sysctl.override("net.ipv4.ip_forward", 1):
        pass


def inside() -> None:
    """What runs in a namespace: a program, a function, a socket, a snapshot."""
    with Namespace() as box:
        assert box.run(["true"]).returncode == 0
        assert box.call(os.getpid) == os.getpid()
        box.socket().close()
        assert box.snapshot() == box.snapshot()


def star() -> None:
    with Topology.star(3, forwarding=True):
        pass


def translated() -> None:
    """A packet through masquerade, so that connection tracking has an entry."""
    with Scope() as lab:
        host, box, outside = Namespace.current(), lab.own(Namespace()), lab.own(Namespace())
        lab.own(VethPair(host, box, name="v0", peer_name="eth0", address="10.1.0.1/24",
                         peer_address="10.1.0.2/24"))  # fmt: skip
        lab.own(VethPair(host, outside, name="v1", peer_name="eth0", address="10.2.0.1/24",
                         peer_address="10.2.0.2/24"))  # fmt: skip
        box.routes.add("default", via="10.1.0.1")
        lab.own(host.sysctl.override("net.ipv4.ip_forward", 1))
        lab.own(NatRule.masquerade(host, saddr="10.1.0.0/24", oif="v1"))
        assert box.ping("10.2.0.2", timeout=5).loss == 0


OBJECTS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        namespace, named_namespace, persistent_namespace, veth, bridge, connected, routes, rule, neighbour,
        nat, iptables, sysctl, inside, star, translated,
    )
}  # fmt: skip


def kernel() -> dict[str, int]:
    """How many there are of each kind in the host, its namespaces' names, mounts and tracked connections."""
    looks = {
        "links": "ip -o link", "addresses": "ip -o address", "routes": "ip route show table all",
        "routes of IPv6": "ip -6 route show table all", "rules": "ip rule", "neighbours": "ip neighbour",
        "nft": "nft list ruleset", "iptables": "iptables-legacy -w -t nat -S", "connections": "conntrack -L",
        "names": "ls /run/netns", "mounts": "cat /proc/self/mountinfo", "files": "find /run -type f",
    }  # fmt: skip
    return {what: _lines(look) for what, look in looks.items()}


def _lines(command: str) -> int:
    told = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    return len(told.stdout.splitlines())


def kernel_in_time(wanted: dict[str, int]) -> dict[str, int]:
    """The same when what the kernel does later is done."""
    until = time.monotonic() + LONG
    while (found := kernel()) != wanted and time.monotonic() < until:
        pass
    return found


def memory() -> int:
    """kB that are this process's own and its helpers', after all that can be freed is."""
    gc.collect()
    _libc.malloc_trim(0)
    return sum(_private(process) for process in ("self", *processes.children()))


def _private(process: int | str) -> int:
    with open(f"/proc/{process}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private"))


def repeat(work: Callable[[], None], cycles: int) -> None:
    """As often; Python's free lists, which take 2000 tuples of each length, are emptied now and then."""
    for n in range(cycles):
        work()
        if n % 100 == 99:
            gc.collect()
    gc.collect()


def garbage(work: Callable[[], None]) -> float:
    """Objects a cycle that only the collector frees: until it comes they add up, and leave gaps behind."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            work()
        return gc.collect() / 10
    finally:
        gc.enable()


def main() -> None:
    from tests.harness.isolation import isolate

    reason = isolate()
    if reason:
        sys.exit(reason)
    name, cycles = sys.argv[1], int(sys.argv[2])
    work = OBJECTS[name]
    repeat(work, max(20, cycles // 10))
    before, there, size, blocks = held_in_time(held()), kernel(), memory(), sys.getallocatedblocks()
    begun = time.monotonic()
    repeat(work, cycles)
    seconds = time.monotonic() - begun
    grown = {what: f"{n} was {before[what]}" for what, n in held_in_time(before).items() if n > before[what]}
    grown |= {what: f"{n} was {there[what]}" for what, n in kernel_in_time(there).items() if n != there[what]}
    left = garbage(work)
    if left > ALLOWED_GARBAGE.get(name, 0):
        grown["garbage"] = f"{left} objects a cycle that wait for the collector"
    growth, more = memory() - size, sys.getallocatedblocks() - blocks
    if growth > MEMORY or more > max(BLOCKS, cycles // 10):  # caches fill once; what leaks does so again
        size, blocks = memory(), sys.getallocatedblocks()
        repeat(work, cycles)
        growth, more = memory() - size, sys.getallocatedblocks() - blocks
    if growth > MEMORY:
        grown["memory"] = f"{growth} kB more than {size}"
    if more > max(BLOCKS, cycles // 10):
        grown["blocks"] = f"{more} more than {blocks}"
    netkit.shutdown()
    print(json.dumps({"cycles": cycles, "seconds": round(seconds, 1), "grown": grown, "memory": growth}))


if __name__ == "__main__":
    main()
