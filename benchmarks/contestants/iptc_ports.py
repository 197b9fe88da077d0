"""python-iptables, all rules in one commit."""

from __future__ import annotations

from typing import Any

import iptc
from pyroute2 import netns

from . import iptables_ports
from .published import inside, mapping


class Publisher:
    """See contestants.Publisher."""

    def open(self, name: str) -> None:
        self.name = name
        netns.setns(name)  # its table objects keep the namespace they were made in
        self.table: Any = iptc.Table("nat")

    def prepare(self, count: int) -> range:
        inside(
            self.name, "iptables-legacy-restore", "-w", "--noflush", given=f"{iptables_ports.HEAD}COMMIT\n"
        )
        return range(count)

    def publish(self, mappings: range) -> None:
        self.table.autocommit = False
        self.table.refresh()
        chain = iptc.Chain(self.table, "PEER")
        for number in mappings:
            chain.append_rule(self._rule(number))
        self.table.commit()
        self.table.refresh()

    def _rule(self, number: int) -> Any:
        port, target, to = mapping(number)
        rule = iptc.Rule()
        rule.protocol = "tcp"
        rule.create_match("tcp").dport = str(port)
        rule.create_target("DNAT").to_destination = f"{target}:{to}"
        return rule

    def list(self) -> int:
        self.table.refresh()
        return len(iptc.Chain(self.table, "PEER").rules)

    def add(self, number: int) -> None:
        self.publish(range(number, number + 1))

    def remove(self, number: int) -> None:
        self.table.refresh()
        iptc.Chain(self.table, "PEER").delete_rule(self._rule(number))
        self.table.commit()
        self.table.refresh()

    def unpublish(self) -> None:
        self.table.autocommit = False
        self.table.refresh()
        for name in ("PREROUTING", "OUTPUT", "POSTROUTING", "PEER"):
            iptc.Chain(self.table, name).flush()
        self.table.delete_chain("PEER")
        self.table.commit()
        self.table.refresh()
