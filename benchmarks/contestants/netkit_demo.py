"""netkit, through its public API only, as a user writes it."""

from __future__ import annotations

from netkit import Bridge, Namespace, NatRule, Scope, VethPair

from . import NAMES


def _scene_veth(scope: Scope, ns1: Namespace, ns2: Namespace) -> None:
    scope.own(
        VethPair(
            ns1, ns2, name="veth0", peer_name="veth1", address="172.18.0.2/24", peer_address="172.18.0.3/24"
        )
    )
    ns1.routes.add("default", dev="veth0")
    ns2.routes.add("default", dev="veth1")


def _scene_route(scope: Scope, host: Namespace, box: Namespace, outside: Namespace) -> None:
    scope.own(
        VethPair(
            host,
            outside,
            name="enp1s0",
            peer_name="eth0",
            address="192.168.122.220/24",
            peer_address="192.168.122.1/24",
        )
    )
    bridge = scope.own(Bridge(host, "br0"))
    bridge.connect(box, name="veth0", peer_name="veth1", peer_address="172.18.0.2/24")
    host.routes.add("172.18.0.0/24", dev="br0")
    box.routes.add("default", dev="veth1")


def _scene_nat(scope: Scope, host: Namespace) -> None:
    scope.own(host.sysctl.override("net.ipv4.ip_forward", 1))
    scope.own(host.sysctl.override("net.ipv4.conf.br0.proxy_arp", 1))  # for br0's see commands.py
    scope.own(host.sysctl.override("net.ipv4.neigh.br0.proxy_delay", 0))
    scope.own(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="enp1s0"))
    scope.own(NatRule.dnat(host, proto="tcp", dport=80, to="172.18.0.2:80"))


class Demo:
    """See contestants.Demo."""

    named = False

    def build(self) -> None:
        self.scope = Scope()
        self.scope.__enter__()
        self.made = {name: self.scope.own(Namespace(name if self.named else None)) for name in NAMES}
        ns1, ns2, host, box, outside = self.made.values()
        _scene_veth(self.scope, ns1, ns2)
        _scene_route(self.scope, host, box, outside)
        _scene_nat(self.scope, host)

    def teardown(self) -> None:
        self.scope.__exit__(None, None, None)

    def namespaces(self) -> dict[str, str]:
        return {name: str(made.path) for name, made in self.made.items()}
