"""netkit: publish_many, and one publish() more."""

from __future__ import annotations

from typing import Literal

from netkit import Namespace, PortMapping

from .published import mapping


class Publisher:
    """See contestants.Publisher."""

    backend: Literal["nftables", "iptables"] = "nftables"

    def open(self, name: str) -> None:
        self.host = Namespace.open(name)
        self.more: dict[int, PortMapping] = {}

    def prepare(self, count: int) -> dict[int, str]:
        return {port: f"{target}:{to}" for port, target, to in map(mapping, range(count))}

    def publish(self, mappings: dict[int, str]) -> None:
        many = self.host.publish_many(mappings, reserve=False, backend=self.backend)
        self.mapping = many.create()

    def list(self) -> int:
        assert self.mapping.counters.packets >= 0  # reads them all
        return len(self.mapping.specs) + self.more_there()

    def more_there(self) -> int:
        """How many of those that were added are in the kernel."""
        return sum(each.exists for each in self.more.values())

    def add(self, number: int) -> None:
        port, target, to = mapping(number)
        more = self.host.publish(port, to=f"{target}:{to}", reserve=False, backend=self.backend)
        self.more[number] = more.create()

    def remove(self, number: int) -> None:
        self.more.pop(number).delete()

    def unpublish(self) -> None:
        while self.more:
            self.more.popitem()[1].delete()
        self.mapping.delete()
