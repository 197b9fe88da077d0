"""netkit's objects in a Scope, each created when it is asked for: container by container."""

from __future__ import annotations

from netkit import Namespace, Scope

from .. import plan
from . import netkit_star


class Star(netkit_star.Star):
    """See contestants.Star."""

    def build(self, size: int) -> None:
        self.scope = Scope()
        self.scope.__enter__()
        first, *further = bridges = [self.scope.own(bridge) for bridge in self.bridges(size)]
        for number, bridge in enumerate(further, 1):
            joint = first.connect(self.center, name=f"down{number}", peer_name=f"up{number}")
            bridge.add_port(joint.peer)
        self.boxes: list[Namespace] = []
        for number in range(size):
            self.boxes.append(self.scope.own(Namespace()))
            self.scope.own(self.pair(bridges, number))
            if number >= plan.PORTS:
                self.boxes[number].routes.add("default", via=plan.gateway())
