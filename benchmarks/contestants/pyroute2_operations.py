"""pyroute2's IPRoute, single operations on a socket that is open."""

from __future__ import annotations

from typing import Any

from pyroute2 import IPRoute


class Operator:
    """See contestants.Operator."""

    def open(self, name: str, index: int) -> None:
        self.ipr: Any = IPRoute(netns=name, flags=0)
        self.index = index

    def add_address(self, address: str) -> None:
        value, prefix = address.split("/")
        self.ipr.addr("add", index=self.index, address=value, prefixlen=int(prefix))

    def remove_address(self, address: str) -> None:
        value, prefix = address.split("/")
        self.ipr.addr("del", index=self.index, address=value, prefixlen=int(prefix))

    def route(self, network: str) -> None:
        self.ipr.route("add", dst=network, oif=self.index, scope="link")
        self.ipr.route("del", dst=network, oif=self.index, scope="link")
