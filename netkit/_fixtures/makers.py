"""What the fixtures give: factories of namespaces, LANs and routed networks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from netkit._fixtures.shaping import Shape
from netkit._spec import numbers
from netkit._spec.value import shown, type_of
from netkit._topology import Network, Topology
from netkit.errors import NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from netkit._bridge import Bridge
    from netkit._fixtures.lab import Lab
    from netkit._link import Link
    from netkit._namespace import Namespace

    Family = Literal[4, 6] | None

_SUBNETS = ("auto", "auto6")


class NamespaceFactory:
    """The fixture ``netns_factory``: each call makes a fresh namespace."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def __call__(self, label: str = "netns") -> Namespace:
        """A fresh namespace. It has no name in /run/netns, so that tests in parallel do not clash.

        The label stands in reports and error messages; one that is used again gets a number.
        """
        if not isinstance(label, str) or not label:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SpecError(f"the label {shown(label)} of a namespace is no text")
        return self._lab.namespace(label)

    def __repr__(self) -> str:
        return f"<netns_factory of {self._lab.owner}>"


class LanFactory:
    """The fixture ``lan``: each call makes hosts on a bridge."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def __call__(self, hosts: int) -> Lan:
        """So many hosts, each with an IPv4 and an IPv6 address; networks of two calls are not connected."""
        number = numbers.integer(hosts, "the number of hosts", 1, 1000)
        plan = Topology(subnet=_SUBNETS)
        plan.add_bridge("lan")
        names = [f"host{each}" for each in range(1, number + 1)]
        for name in names:
            plan.add_namespace(name)
            plan.add_link(name, "lan", name="eth0", peer_name=name)
        return Lan(self._lab.network(plan), names)

    def __repr__(self) -> str:
        return f"<lan of {self._lab.owner}>"


class Lan(Sequence["Namespace"]):
    """Hosts on a bridge: a sequence of their namespaces. ``ann, bob = lan(2)`` unpacks them."""

    def __init__(self, network: Network, names: list[str]) -> None:
        self.network = network
        self._names = names
        self.hosts: tuple[Namespace, ...] = tuple(network[name] for name in names)

    def __len__(self) -> int:
        return len(self.hosts)

    def __iter__(self) -> Iterator[Namespace]:
        return iter(self.hosts)

    def __getitem__(self, index: int) -> Namespace:  # type: ignore[override]
        return self.hosts[index]

    @property
    def bridge(self) -> Bridge:
        """The bridge; ``bridge.link.netns`` is the namespace it is in."""
        return self.network.bridges["lan"]

    def address(self, host: Namespace | int, family: Family = None) -> str:
        """The address of a host, IPv4 unless ``family`` is 6: what `ping` and `connect` take."""
        return self.network.address(self._name(host), family)

    def link(self, host: Namespace | int) -> Link:
        """The link of a host: ``net.link(ann).down()`` unplugs it."""
        return self.network.link(self._name(host), "lan")

    def _name(self, host: Namespace | int) -> str:
        if isinstance(host, int):
            return self._names[host]
        if host not in self.hosts:
            raise SpecError(f"{host!r} is no host of this LAN")
        return self._names[self.hosts.index(host)]

    def __repr__(self) -> str:
        return f"<lan of {len(self)} hosts>"


class Routed:
    """The fixture ``router``, and what ``wan()`` gives: two networks with a router between.

    ``client``, ``server`` and ``router`` are namespaces; the router's links are ``near`` (to the client) and
    ``far`` (to the server).
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.client: Namespace = network["client"]
        self.router: Namespace = network["router"]
        self.server: Namespace = network["server"]

    @property
    def client_address(self) -> str:
        """The client's IPv4 address."""
        return self.network.address("client")

    @property
    def server_address(self) -> str:
        """The server's IPv4 address."""
        return self.network.address("server")

    def address(self, name: Literal["client", "server"], family: Family = None) -> str:
        """The address of one of the two, IPv4 unless ``family`` is 6."""
        return self.network.address(name, family)

    def __repr__(self) -> str:
        return f"<{self.client_address} - router - {self.server_address}>"


def routed(lab: Lab) -> Routed:
    """A client, a router and a server."""
    plan = Topology(subnet=_SUBNETS)
    plan.add_namespace("client")
    plan.add_router("router")
    plan.add_namespace("server")
    plan.add_link("client", "router", name="eth0", peer_name="near")
    plan.add_link("router", "server", name="far", peer_name="eth0")
    return Routed(lab.network(plan))


class WanFactory:
    """The fixture ``wan``: each call makes a client and a server with a slow, lossy way between them."""

    def __init__(self, lab: Lab, strict: bool = False) -> None:
        self._lab = lab
        self._strict = strict

    def __call__(
        self,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        rate: int | str | None = None,
    ) -> Routed:
        """A client, a router and a server; what is given holds on both links, in both directions together.

        Args:
            delay: of a packet from client to server, in seconds; back it is the same again.
            jitter: how much the delay varies, in seconds.
            loss: the share of packets that is lost on the way from client to server, 0.0 to 1.0.
            rate: bits per second, or text such as ``"10mbit"``.

        The test is skipped where the kernel has no netem (delay, jitter, loss) or no tbf (rate alone).
        Twin: ``tc qdisc add dev far root netem delay 20ms rate 10mbit``. Source: tc-netem(8), tc-tbf(8).
        """
        shape = Shape(delay, jitter, loss, rate)
        shape.check(self._strict)
        made = routed(self._lab)
        shape.apply(made.router.links["far"])
        shape.apply(made.router.links["near"])
        return made

    def __repr__(self) -> str:
        return f"<wan of {self._lab.owner}>"


class TopologyFactory:
    """The fixture ``topology``: each call builds one."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        self._directory = directory

    def __call__(self, plan: Topology | str | os.PathLike[str]) -> Network:
        """Build a Topology, or a file with one; a relative path is one from the test file's directory."""
        if isinstance(plan, Topology):
            return self._lab.network(plan)
        if not isinstance(plan, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SpecError(f"topology() takes a Topology or a file's path, not {type_of(plan)}")
        path = self._directory / plan
        if not path.exists():
            raise NotFoundError(f"open the topology file {path}", 2)
        return self._lab.network(Topology.load(path))

    def __repr__(self) -> str:
        return f"<topology of {self._lab.owner}>"
