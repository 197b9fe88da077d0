"""pyroute2's IPRoute reading links: two dumps put together, and one link by name."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from pyroute2 import IPRoute


class Reader:
    """See contestants.Reader."""

    def open(self, name: str) -> None:
        self.ipr: Any = IPRoute(netns=name, flags=0)

    def all(self) -> tuple[int, int]:
        addresses = defaultdict(list)
        for address in self.ipr.get_addr():
            addresses[address["index"]].append(f"{address.get('address')}/{address['prefixlen']}")
        links = [(link.get("ifname"), addresses[link["index"]]) for link in self.ipr.get_links()]
        return len(links), sum(len(found) for _, found in links)

    def one(self, name: str) -> int:
        index: int = self.ipr.link("get", ifname=name)[0]["index"]
        return index
