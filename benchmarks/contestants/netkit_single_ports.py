"""netkit, each port by a publish() of its own."""

from __future__ import annotations

from . import netkit_ports


class Publisher(netkit_ports.Publisher):
    """See contestants.Publisher."""

    def publish(self, mappings: dict[int, str]) -> None:
        self.published = range(len(mappings))
        for number in self.published:
            self.add(number)

    def list(self) -> int:
        assert all(each.exists for each in self.more.values())
        return len(self.more)

    def unpublish(self) -> None:
        for number in self.published:
            self.remove(number)
