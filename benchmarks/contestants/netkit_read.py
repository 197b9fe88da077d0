"""netkit reading links, through its public API only."""

from __future__ import annotations

from netkit import Namespace


class Reader:
    """See contestants.Reader."""

    def open(self, name: str) -> None:
        self.namespace = Namespace.open(name)

    def all(self) -> tuple[int, int]:
        links = [
            (link.name, [str(address) for address in link.addresses]) for link in self.namespace.links.read()
        ]
        return len(links), sum(len(found) for _, found in links)

    def one(self, name: str) -> int:
        return self.namespace.links[name].ifindex
