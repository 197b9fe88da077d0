"""netkit's single operations, on objects that are there."""

from __future__ import annotations

from netkit import Namespace


class Operator:
    """See contestants.Operator."""

    def open(self, name: str, index: int) -> None:
        self.namespace = Namespace.open(name)
        self.link = next(link for link in self.namespace.links if link.ifindex == index)
        self.addresses, self.routes = self.link.addresses, self.namespace.routes

    def add_address(self, address: str) -> None:
        self.addresses.add(address)

    def remove_address(self, address: str) -> None:
        self.addresses.remove(address)

    def route(self, network: str) -> None:
        self.routes.add(network, dev=self.link)
        self.routes.delete(network, dev=self.link)
