"""python-iptables as its README shows it: each rule a commit."""

from __future__ import annotations

import iptc

from . import iptc_ports


class Publisher(iptc_ports.Publisher):
    """See contestants.Publisher."""

    def publish(self, mappings: range) -> None:
        self.table.refresh()
        self.table.autocommit = True
        self.chain = iptc.Chain(self.table, "PEER")
        for number in mappings:
            self.add(number)

    def add(self, number: int) -> None:
        self.chain.append_rule(self._rule(number))
