"""netkit, through its public API only, as a user writes it."""

from __future__ import annotations

from netkit import Bridge, Namespace, NatRule, Resource, Scope, VethPair

from . import NAMES


def _veth(ns1: Namespace, ns2: Namespace) -> VethPair:
    return VethPair(
        ns1, ns2, name="veth0", peer_name="veth1", address="172.18.0.2/24", peer_address="172.18.0.3/24"
    )


def _uplink(host: Namespace, outside: Namespace) -> VethPair:
    return VethPair(
        host,
        outside,
        name="enp1s0",
        peer_name="eth0",
        address="192.168.122.220/24",
        peer_address="192.168.122.1/24",
    )


def _nat(host: Namespace) -> list[Resource]:
    override = host.sysctl.override
    return [
        override("net.ipv4.ip_forward", 1),
        override("net.ipv4.conf.br0.proxy_arp", 1),  # for br0's see commands.py
        override("net.ipv4.neigh.br0.proxy_delay", 0),
        NatRule.masquerade(host, saddr="172.18.0.0/24", oif="enp1s0"),
        NatRule.dnat(host, proto="tcp", dport=80, to="172.18.0.2:80"),
    ]


class Demo:
    """See contestants.Demo. What is independent is created together."""

    named = False

    def build(self) -> None:
        self.scope = Scope()
        self.scope.__enter__()
        self.made = {name: Namespace(name if self.named else None) for name in NAMES}
        ns1, ns2, host, box, outside = self.made.values()
        bridge = Bridge(host, "br0")
        port = bridge.pair(box, name="veth0", peer_name="veth1", peer_address="172.18.0.2/24")
        pairs = (_veth(ns1, ns2), _uplink(host, outside), bridge, port)
        self.scope.own(*self.made.values(), *pairs, *_nat(host))
        ns1.routes.add("default", dev="veth0")
        ns2.routes.add("default", dev="veth1")
        host.routes.add("172.18.0.0/24", dev="br0")
        box.routes.add("default", dev="veth1")

    def teardown(self) -> None:
        self.scope.__exit__(None, None, None)

    def namespaces(self) -> dict[str, str]:
        return {name: str(made.path) for name, made in self.made.items()}


class OneByOne(Demo):
    """Each thing by a call of its own, in the order of the scenes."""

    def build(self) -> None:
        self.scope = Scope()
        self.scope.__enter__()
        own = self.scope.own
        self.made = {name: own(Namespace(name if self.named else None)) for name in NAMES}
        ns1, ns2, host, box, outside = self.made.values()
        own(_veth(ns1, ns2))
        ns1.routes.add("default", dev="veth0")
        ns2.routes.add("default", dev="veth1")
        own(_uplink(host, outside))
        bridge = own(Bridge(host, "br0"))
        bridge.connect(box, name="veth0", peer_name="veth1", peer_address="172.18.0.2/24")
        host.routes.add("172.18.0.0/24", dev="br0")
        box.routes.add("default", dev="veth1")
        for each in _nat(host):
            own(each)
