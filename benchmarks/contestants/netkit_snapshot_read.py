"""netkit's snapshot: links and addresses, and routes, rules, neighbours and NAT besides."""

from __future__ import annotations

from . import netkit_read


class Reader(netkit_read.Reader):
    """See contestants.Reader."""

    def all(self) -> tuple[int, int]:
        state = self.namespace.snapshot()
        return len(state.links), len(state.addresses)
