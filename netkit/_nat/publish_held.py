"""What a process holds of published ports: reservations, and the relay of ::1 by a thread or a helper."""

from __future__ import annotations

from netkit._nat.publish_reserve import close_reservations, make_room_for, reserve
from netkit._system.relay import relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._nat.publish_helper import RelayHelper
    from netkit._nat.publish_reserve import Reservation
    from netkit._nat.publish_specs import Specs
    from netkit._runtime import Runtime
    from netkit._spec.port_mapping import PublishSpec


class HeldPorts:
    """The ports of one mapping. ``by_helper``: a process holds them, which can outlive this one."""

    def __init__(self, reserves: bool, relays: bool, by_helper: bool) -> None:
        self._reserves = reserves
        self._relays = relays
        self._by_helper = by_helper
        self._reservations: list[Reservation] = []
        self._relayed: list[Reservation] = []
        self._helper: RelayHelper | None = None
        self._given: tuple[tuple[str, int], ...] = ()

    @property
    def reserved(self) -> tuple[tuple[str, int], ...]:
        """Protocol and port of each."""
        return self._given or tuple(dict.fromkeys([(each.proto, each.port) for each in self._reservations]))

    def bind(self, runtime: Runtime, specs: Specs) -> None:
        """Reserve them, before anything leads there."""
        if not self._reserves:
            return
        make_room_for(runtime, specs.all(), self._relays)
        done: set[tuple[str, int]] = set()
        for spec in specs.all():
            reserve(runtime, spec, self._reservations, self._relays and _is_relayed(spec), done)

    def relay(self, netns: Namespace, specs: Specs) -> None:
        """Pass on what is sent to ::1 from now on."""
        runtime = netns._live_runtime()
        targets = _targets(specs) if self._relays else {}
        relayed = [
            (each, targets[each.proto, each.port])
            for each in self._reservations
            if each.relayed and (each.proto, each.port) in targets
        ]
        if self._by_helper:
            self._give_away(netns, specs, {each.socket.fileno(): target for each, target in relayed})
            return
        for each, target in relayed:
            self._relayed.append(each)
            relay.add(each.socket, target, runtime.open_socket)

    def _give_away(self, netns: Namespace, specs: Specs, targets: dict[int, tuple[str, int]]) -> None:
        from netkit._nat.publish_helper import RelayHelper

        given = self.reserved
        self._helper = RelayHelper(netns, specs)
        self._helper.take([each.socket for each in self._reservations], targets)
        self._given = given
        close_reservations(self._reservations)

    def adopt(self, runtime: Runtime, specs: Specs) -> None:
        """Let a helper that somebody has left here go, so that they can be bound."""
        from netkit._nat.publish_helper import dismiss

        dismiss(runtime, specs)

    def leave(self) -> None:
        """A helper goes on by itself; what this process holds itself ends."""
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.stay()
        self.let_go()

    def let_go(self) -> None:
        """All of them are free when this returns."""
        helper, self._helper = self._helper, None
        self._given = ()
        if helper is not None:
            helper.end()
        while self._relayed:
            relay.remove(self._relayed.pop().socket)
        close_reservations(self._reservations)


def _is_relayed(spec: PublishSpec) -> bool:
    """Whether ::1 is published by it."""
    return spec.host_ip is None or (
        spec.host_ip.version == 6 and (spec.binds_all or spec.host_ip.is_loopback)
    )


def _targets(specs: Specs) -> dict[tuple[str, int], tuple[str, int]]:
    """Where the relay leads, by protocol and port: to IPv4, where a port leads to both families."""
    return {
        (proto, port): (str(spec.targets[0]), spec.to_ports[0] + port - spec.ports[0])
        for spec in sorted(specs.all(), key=lambda spec: -spec.targets[0].version)
        if _is_relayed(spec)
        for proto in spec.protos
        for port in range(spec.ports[0], spec.ports[1] + 1)
    }
