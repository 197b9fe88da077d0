"""A program: for each n, the n-th netlink request of the real kernel is refused, cut or lost.

    python -m tests.harness.refusals WORK

Prints one JSON object: how many requests, how many raised, and what was wrong or left.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable

from netkit import (
    Bridge,
    BusyError,
    ExistsError,
    KernelError,
    Namespace,
    NatRule,
    NetkitError,
    ProtocolError,
    RouteTable,
    Scope,
    TeardownError,
    VethPair,
)
from netkit._demo import scenes
from netkit._lifecycle import ROOT, Resource, undo
from tests.harness.calls import outcome
from tests.harness.oracle import whole_state
from tests.harness.refusing import Refusing

FAULTS: list[int | str] = [
    errno.ENOMEM, errno.EPERM, errno.EBUSY, errno.ENOBUFS, errno.EEXIST, errno.EINTR, "truncated", "lost",
]  # fmt: skip
CLASSES = {errno.EBUSY: BusyError, errno.EEXIST: ExistsError}
MOST = 300  # requests of one piece of work; more is a bug of the harness


class Lab:
    """A host that netkit did not make, and another one for the far ends."""

    def __init__(self) -> None:
        self.kernel = Refusing().__enter__()
        self.host, self.far = self.kernel.namespace(), self.kernel.namespace()

    def state(self) -> object:
        return whole_state(self.host), whole_state(self.far)

    def close(self) -> None:
        self.host.close()
        self.far.close()
        self.kernel.__exit__()


MAKERS: dict[str, Callable[[Lab], Resource]] = {
    "veth": lambda lab: VethPair(
        lab.host, lab.far, name="v0", peer_name="eth0",
        address=["10.1.0.1/24", "fd00:1::1/64"], peer_address=["10.1.0.2/24", "fd00:1::2/64"],
    ),
    "bridge": lambda lab: Bridge(lab.host, "br0", address=["172.18.0.1/24", "fd01::1/64"]),
    "masquerade": lambda lab: NatRule.masquerade(lab.host, saddr="172.18.0.0/24", oif="v9"),
    "dnat": lambda lab: NatRule.dnat(lab.host, proto="tcp", dport=80, to="172.18.0.2:80", local=True),
    "namespace": lambda lab: Namespace("box"),
}  # fmt: skip


def bridge_with_ports(lab: Lab) -> None:
    with Scope() as scope:
        bridge = scope.own(Bridge(lab.host, "br0", address="172.18.0.1/24"))
        box = scope.own(Namespace())
        bridge.connect(
            box, name="p0", peer_name="eth0", peer_address="172.18.0.2/24", default_route=True, hairpin=True
        )
        bridge.connect(lab.far, name="p1", peer_name="eth0", peer_address="172.18.0.3/24")


def routes(lab: Lab) -> None:
    with Scope() as scope:
        scope.own(VethPair(lab.host, lab.far, name="v0", peer_name="eth0", address="10.1.0.1/24"))
        table = scope.own(RouteTable(lab.host, 100))
        table.add("10.9.0.0/16", via="10.1.0.2")
        table.replace("10.9.0.0/16", type="blackhole")
        table.add("fd09::/64", dev="v0")


def together(lab: Lab) -> None:
    boxes = [Namespace(), Namespace()]
    bridge = Bridge(lab.host, "br0", address="172.18.0.1/24")
    ports = [
        VethPair(
            lab.host, box, name=f"p{n}", peer_name="eth0", peer_address=f"172.18.0.{n}/24", master=bridge
        )
        for n, box in enumerate(boxes, 2)
    ]
    with Scope() as scope:
        scope.own(*boxes, bridge, *ports, NatRule.masquerade(lab.host, saddr="172.18.0.0/24", oif="v9"))


def demo(lab: Lab) -> None:
    with Scope() as scope:
        host, _, _ = scenes.route_table(scope)
        scenes.masquerade(scope, host, "nftables")
        scenes.dnat(scope, host, "nftables")


BLOCKS: dict[str, Callable[[Lab], None]] = {
    "bridge with ports": bridge_with_ports,
    "routes": routes,
    "together": together,
    "demo": demo,
}


class Findings:
    """What was seen of one piece of work."""

    def __init__(self) -> None:
        self.requests = 0
        self.raised = 0
        self.wrong: list[str] = []

    def check(self, where: str, fine: bool, problem: object) -> None:
        if not fine:
            self.wrong.append(f"{where}: {problem!r}")


def is_of_its_class(problem: BaseException, fault: int | str) -> bool:
    """Whether each leaf is what the fault is called in netkit's errors."""
    if isinstance(problem, TeardownError):
        return all(is_of_its_class(each, fault) for each in problem.exceptions)
    if isinstance(fault, str):
        return isinstance(problem, ProtocolError | KernelError)
    right = isinstance(problem, KernelError) and isinstance(problem, CLASSES.get(fault, KernelError))
    return right and problem.errno == fault


def refuse_create(lab: Lab, make: Callable[[Lab], Resource], fault: int | str, found: Findings) -> None:
    """Of `create()`: undone, of the right class, and the same object can be created."""
    with make(lab):
        pass
    before = lab.state()
    for n in range(1, MOST):
        where, resource = f"{fault} at request {n}", make(lab)
        lab.kernel.refuse(n, fault)
        problem = outcome(resource.create)
        lab.kernel.heal()
        if not lab.kernel.happened:
            resource.delete()
            return
        found.requests += 1
        if problem is None:  # done in another way, or asked again
            found.check(where, resource.exists, "created, but it does not exist")
            resource.delete()
        else:
            found.raised += 1
            found.check(where, is_of_its_class(problem, fault), problem)
            found.check(where, lab.state() == before, "left something")
            with resource:
                found.check(where, resource.exists, "cannot be created again")
        found.check(where, lab.state() == before, "left something in the end")
    found.check("requests", False, MOST)


def refuse_block(lab: Lab, work: Callable[[Lab], None], fault: int | str, found: Findings) -> None:
    """Of a block and its end: what its undo could not remove is still owned, and said."""
    work(lab)
    before = lab.state()
    for n in range(1, MOST):
        where = f"{fault} at request {n}"
        lab.kernel.refuse(n, fault)
        problem = outcome(lambda: work(lab))
        lab.kernel.heal()
        if problem is not None:
            found.raised += 1
            right = isinstance(problem, NetkitError) and is_of_its_class(problem, fault)
            found.check(where, right, problem)
            left = undo(ROOT._held_members())
            found.check(where, left == [], left)
        found.check(where, lab.state() == before, f"left something after {problem!r}")
        if not lab.kernel.happened:
            return
        found.requests += 1
    found.check("requests", False, MOST)


def main() -> None:
    from tests.harness.isolation import isolate

    reason = isolate()
    if reason:
        sys.exit(reason)
    name, found, lab = sys.argv[1], Findings(), Lab()
    for fault in FAULTS:
        if name in MAKERS:
            refuse_create(lab, MAKERS[name], fault, found)
        else:
            refuse_block(lab, BLOCKS[name], fault, found)
    lab.close()
    print(json.dumps({"requests": found.requests, "raised": found.raised, "wrong": found.wrong}))


if __name__ == "__main__":
    main()
