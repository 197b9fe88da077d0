"""netkit's objects in a Scope, all created together by one own()."""

from __future__ import annotations

from netkit import Bridge, Namespace, Scope, VethPair

from .. import plan


class Star:
    """See contestants.Star."""

    survives = True

    def __init__(self) -> None:
        self.center = Namespace().create()

    def hub(self) -> str:
        return str(self.center.path)

    def build(self, size: int) -> None:
        self.scope = Scope()
        self.scope.__enter__()
        first, *further = self.bridges(size)
        self.boxes = [Namespace() for _ in range(size)]
        joints = [
            first.pair(self.center, name=f"down{number}", peer_name=f"up{number}")
            for number in range(1, 1 + len(further))
        ]
        pairs = [self.pair([first, *further], number) for number in range(size)]
        self.scope.own(first, *further, *joints, *self.boxes, *pairs)
        for bridge, joint in zip(further, joints, strict=True):
            bridge.add_port(joint.peer)
        for box in self.boxes[plan.PORTS :]:  # whose bridge has no address to go by
            box.routes.add("default", via=plan.gateway())

    def bridges(self, size: int) -> list[Bridge]:
        """The first has the gateway's address."""
        addresses = [f"{plan.gateway()}/{plan.PREFIX}", *[None] * plan.bridges(size)]
        return [
            Bridge(self.center, f"br{number}", address=addresses[number])
            for number in range(plan.bridges(size))
        ]

    def pair(self, bridges: list[Bridge], number: int) -> VethPair:
        """From a container to its bridge."""
        bridge = bridges[number // plan.PORTS]
        return bridge.pair(
            self.boxes[number],
            name=f"port{number}",
            peer_address=f"{plan.address(number)}/{plan.PREFIX}",
            default_route=bridge is bridges[0],
        )

    def teardown(self) -> None:
        self.scope.__exit__(None, None, None)

    def place(self, container: int) -> str:
        return str(self.boxes[container].path)
