"""What a mapping publishes as a whole."""

from __future__ import annotations

from netkit._nat.publish_rules import FAMILIES, data_of, key_of, set_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netkit._nat.publish_part import Place
    from netkit._spec.port_mapping import Entry, PublishSpec

    Content = dict[bytes, bytes]

_SHOWN = 3


class Specs:
    """Several PublishSpec as one."""

    def __init__(self, specs: Iterable[PublishSpec]) -> None:
        self._specs = tuple(specs)

    def all(self) -> tuple[PublishSpec, ...]:
        """Each of them."""
        return self._specs

    def first(self, count: int) -> Sequence[PublishSpec]:
        """So many of them."""
        return self._specs[:count]

    def __len__(self) -> int:
        return len(self._specs)

    def targets(self) -> set[bytes]:
        """Where they lead, as bytes."""
        return {target.packed for spec in self.all() for target in spec.targets}

    def translated_targets(self) -> set[bytes]:
        """Where NAT leads: to all but those of which ::1 alone is published."""
        return {target.packed for spec in self.all() if not spec.only_relayed for target in spec.targets}

    def forwarded_targets(self) -> set[bytes]:
        """The targets that others than the host itself may ask for."""
        return {target.packed for spec in self.all() if not only_loopback(spec) for target in spec.targets}

    def from_loopback(self) -> bool:
        """Whether 127.0.0.1 is published."""
        return any(from_loopback(spec) for spec in self.all())

    def entries(self) -> list[Entry]:
        """What NAT is to translate."""
        return [entry for spec in self.all() if not spec.only_relayed for entry in spec.entries()]

    def maps(self) -> tuple[dict[Place, Content], Entry | None]:
        """What goes into each map of nf_tables; and an entry that is there twice."""
        found: dict[Place, Content] = {}
        twice: Entry | None = None
        for entry in self.entries():
            content = found.setdefault((FAMILIES[entry.version], set_of(entry)), {})
            key = key_of(entry)
            if key in content:
                twice = entry
            content[key] = data_of(entry)
        return found, twice

    def versions(self) -> list[int]:
        """The families that they lead to, in order."""
        return sorted({target.version for spec in self.all() for target in spec.targets})

    def has_udp(self) -> bool:
        """Whether datagrams are among it."""
        return any("udp" in spec.protos for spec in self.all())

    def __str__(self) -> str:
        shown = ", ".join([str(spec) for spec in self.first(_SHOWN)])
        return shown if len(self) <= _SHOWN else f"{shown} and {len(self) - _SHOWN} more"


def only_loopback(spec: PublishSpec) -> bool:
    """Whether nobody but the host itself may ask."""
    return spec.host_ip is not None and spec.host_ip.is_loopback


def from_loopback(spec: PublishSpec) -> bool:
    """Whether it is published at 127.0.0.1, or at ::1."""
    return spec.binds_all or (spec.host_ip is not None and spec.host_ip.is_loopback)
