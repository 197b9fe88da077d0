"""`nft -f`: the same map, in the words of nft."""

from __future__ import annotations

from .published import inside, mapping

TABLE = """
table ip peer {{
  map ports {{ type inet_proto . inet_service : ipv4_addr . inet_service; counter
    elements = {{ {elements} }}
  }}
  chain prerouting {{ type nat hook prerouting priority dstnat;
    fib daddr type local dnat ip to meta l4proto . th dport map @ports
  }}
  chain output {{ type nat hook output priority -100;
    fib daddr type local dnat ip to meta l4proto . th dport map @ports
  }}
  chain postrouting {{ type nat hook postrouting priority srcnat;
    ip saddr 172.18.0.0/16 ip daddr 172.18.0.0/16 masquerade
  }}
}}
"""


def element(number: int) -> str:
    """As in the map."""
    port, target, to = mapping(number)
    return f"tcp . {port} : {target} . {to}"


class Publisher:
    """See contestants.Publisher."""

    def open(self, name: str) -> None:
        self.name = name

    def prepare(self, count: int) -> str:
        return TABLE.format(elements=", ".join(map(element, range(count))))

    def publish(self, mappings: str) -> None:
        inside(self.name, "nft", "-f", "-", given=mappings)

    def list(self) -> int:
        return inside(self.name, "nft", "list", "map", "ip", "peer", "ports").count("tcp . ")

    def add(self, number: int) -> None:
        inside(self.name, "nft", "add element ip peer ports { " + element(number) + " }")

    def remove(self, number: int) -> None:
        port, _, _ = mapping(number)
        inside(self.name, "nft", f"delete element ip peer ports {{ tcp . {port} }}")

    def unpublish(self) -> None:
        inside(self.name, "nft", "delete table ip peer")
