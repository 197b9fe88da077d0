"""netkit with plain objects in a Scope, as a user writes it."""

from __future__ import annotations

from netkit import Bridge, Namespace, Scope

from .. import plan


class Star:
    """See contestants.Star."""

    survives = True

    def __init__(self) -> None:
        self.center = Namespace().create()

    def hub(self) -> str:
        return str(self.center.path)

    def _bridge(self, number: int) -> Bridge:
        """A further bridge is joined to the first by a veth within the hub."""
        if number == 0:
            return self.scope.own(Bridge(self.center, "br0", address=f"{plan.gateway()}/{plan.PREFIX}"))
        bridge = self.scope.own(Bridge(self.center, f"br{number}"))
        pair = self.bridges[0].connect(self.center, name=f"down{number}", peer_name=f"up{number}")
        bridge.add_port(pair.peer)
        return bridge

    def _container(self, number: int) -> Namespace:
        box = self.scope.own(Namespace())
        bridge = self.bridges[number // plan.PORTS]
        address = f"{plan.address(number)}/{plan.PREFIX}"
        first = bridge is self.bridges[0]
        bridge.connect(box, name=f"port{number}", peer_address=address, default_route=first)
        if not first:
            box.routes.add("default", via=plan.gateway())
        return box

    def build(self, size: int) -> None:
        self.scope = Scope()
        self.scope.__enter__()
        self.bridges: list[Bridge] = []
        for number in range(plan.bridges(size)):
            self.bridges.append(self._bridge(number))
        self.boxes = [self._container(number) for number in range(size)]

    def teardown(self) -> None:
        self.scope.__exit__(None, None, None)

    def place(self, container: int) -> str:
        return str(self.boxes[container].path)
