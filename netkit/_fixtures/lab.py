"""Lab: what the fixtures of one scope (a test, a module, ...) have made. It ends with that scope."""

from __future__ import annotations

import pytest

from netkit._lifecycle import Scope
from netkit._namespace import Namespace
from netkit._veth import VethPair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from netkit._capture import Capture
    from netkit._topology import Network, Topology

_RING = 4 << 20  # bytes: a test has several namespaces
FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
ADDRESSES = (("192.0.2.1/24", "2001:db8::1/64"), ("192.0.2.2/24", "2001:db8::2/64"))  # RFC 5737, RFC 3849


class Lab:
    """The namespaces of a scope, with the labels by which reports and errors call them."""

    def __init__(self, owner: str, scope: str = "function", captures: bool = False) -> None:
        self.owner = owner
        self.scope = scope
        self.captures: dict[str, Capture] = {}
        self._does_capture = captures
        self.namespaces: list[tuple[str, Namespace]] = []
        self.networks: list[Network] = []
        self._scope = Scope()

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.captures:
            from netkit._capture.capture import stop_all

            stop_all(self.captures.values())
            for capture in self.captures.values():
                capture.close()
        self._scope.__exit__(kind, problem, traceback)

    def namespace(self, label: str) -> Namespace:
        """A fresh one; its label, with a number if it is taken, says whose it is after the end, too."""
        return self.several([label])[0]

    def several(self, labels: list[str]) -> list[Namespace]:
        """Several fresh ones, made together."""
        made: list[Namespace] = []
        for label in labels:
            namespace, label = Namespace(), self._free(label)
            namespace._label = f"namespace '{label}' of {self.owner}"
            self.namespaces.append((label, namespace))
            made.append(namespace)
        try:
            self._scope.own(*made)
        except BaseException:
            del self.namespaces[-len(made) :]
            raise
        for label, namespace in self.namespaces[-len(made) :]:
            self._capture(label, namespace)
        return made

    def _capture(self, label: str, namespace: Namespace) -> None:
        """All that passes any of its links, from now on (``--netkit-capture``)."""
        if self._does_capture:
            self.captures[label] = namespace.capture(buffer=_RING).__enter__()

    def host(self) -> Namespace:
        """One that forwards."""
        host = self.namespace("host")
        for key in FORWARDING:
            host.sysctl[key] = 1
        return host

    def veth(self) -> VethPair:
        """Two that are joined."""
        near, far = self.several(["near", "far"])
        return self._scope.own(
            VethPair(
                near, far, name="eth0", peer_name="eth0", address=ADDRESSES[0], peer_address=ADDRESSES[1]
            )
        )

    def network(self, plan: Topology) -> Network:
        """A topology, built."""
        network = self._scope.own(plan.create())
        self.networks.append(network)
        switches = {name: bridge.link.netns for name, bridge in network.bridges.items()}
        there = list(network.values())
        for name, namespace in (*network.items(), *switches.items()):
            if name in switches and any(namespace is each for each in there):
                continue  # a bridge in a namespace of the plan's
            label = self._free(name)
            namespace._label = f"namespace '{label}' of {self.owner}"
            self.namespaces.append((label, namespace))
            self._capture(label, namespace)
        return network

    def _free(self, label: str) -> str:
        taken = {known for known, _ in self.namespaces}
        if label not in taken:
            return label
        return next(text for number in range(2, len(taken) + 3) if (text := f"{label}{number}") not in taken)


LABS: pytest.StashKey[list[Lab]] = pytest.StashKey()  # of a node: a module may be a class's and its own


def labs_of(item: pytest.Item) -> list[Lab]:
    """The labs that a test uses, those of the widest scope first."""
    there = [lab for node in item.listchain() if LABS in node.stash for lab in node.stash[LABS]]
    return [lab for lab in there if lab.scope == "function" or _uses(item, lab.scope)]


def _uses(item: pytest.Item, scope: str) -> bool:
    names: list[str] = getattr(item, "fixturenames", [])
    return any(name.startswith(f"{scope}_") for name in names)
