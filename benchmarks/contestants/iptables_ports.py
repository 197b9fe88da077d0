"""`iptables-legacy-restore`, a rule for each port in a chain of their own."""

from __future__ import annotations

from .published import inside, mapping

HEAD = """*nat
:PEER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j PEER
-A OUTPUT -m addrtype --dst-type LOCAL -j PEER
-A POSTROUTING -s 172.18.0.0/16 -d 172.18.0.0/16 -j MASQUERADE
"""
GONE = """*nat
-D PREROUTING -m addrtype --dst-type LOCAL -j PEER
-D OUTPUT -m addrtype --dst-type LOCAL -j PEER
-D POSTROUTING -s 172.18.0.0/16 -d 172.18.0.0/16 -j MASQUERADE
-F PEER
-X PEER
COMMIT
"""


def rule(number: int) -> str:
    """As in the chain."""
    port, target, to = mapping(number)
    return f"PEER -p tcp -m tcp --dport {port} -j DNAT --to-destination {target}:{to}"


class Publisher:
    """See contestants.Publisher."""

    def open(self, name: str) -> None:
        self.name = name

    def _restore(self, text: str) -> None:
        inside(self.name, "iptables-legacy-restore", "-w", "--noflush", given=text)

    def prepare(self, count: int) -> str:
        return HEAD + "".join(f"-A {rule(number)}\n" for number in range(count)) + "COMMIT\n"

    def publish(self, mappings: str) -> None:
        self._restore(mappings)

    def list(self) -> int:
        return inside(self.name, "iptables-legacy", "-w", "-t", "nat", "-S", "PEER").count("--dport")

    def add(self, number: int) -> None:
        inside(self.name, "iptables-legacy", "-w", "-t", "nat", "-A", *rule(number).split())

    def remove(self, number: int) -> None:
        inside(self.name, "iptables-legacy", "-w", "-t", "nat", "-D", *rule(number).split())

    def unpublish(self) -> None:
        self._restore(GONE)
