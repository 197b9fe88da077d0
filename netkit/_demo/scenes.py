"""The five networks of the demo, through netkit's public API alone.

The demo prints the bodies of these functions, without docstring and `return`: what is read is what
ran. Tests and benchmarks call them too. Each makes what it needs in the Scope it is given; scenes 4
and 5 go on with the network of scene 3. The "host" is a namespace like the others.
"""

from __future__ import annotations

from netkit import Bridge, Namespace, NatRule, Scope, VethPair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    BackendName = Literal["nftables", "iptables"]


def veth(lab: Scope) -> tuple[Namespace, Namespace]:
    """Scene 1: two namespaces joined by a veth; returns ns1 and ns2."""
    ns1, ns2 = lab.own(Namespace()), lab.own(Namespace())
    lab.own(VethPair(ns1, ns2, name="veth0", peer_name="veth1",
                     address="172.18.0.2/24", peer_address="172.18.0.3/24"))  # fmt: skip
    ns1.routes.add("default", dev="veth0")
    ns2.routes.add("default", dev="veth1")
    return ns1, ns2


def bridge(lab: Scope) -> tuple[Namespace, Namespace, Namespace, Bridge]:
    """Scene 2: a bridge with an uplink and a container; returns host, outside, ns1 and the bridge."""
    host, outside, ns1 = lab.own(Namespace()), lab.own(Namespace()), lab.own(Namespace())
    lab.own(VethPair(host, outside, name="enp1s0", peer_name="eth0"))  # the uplink
    lab.own(VethPair(host, ns1, name="veth0", peer_name="veth1"))
    br0 = lab.own(Bridge(host, "br0"))
    br0.add_port(host.links["enp1s0"])
    br0.add_port(host.links["veth0"])
    return host, outside, ns1, br0


def route_table(lab: Scope) -> tuple[Namespace, Namespace, Namespace]:
    """Scene 3: routes by device on both sides of a bridge; returns host, outside and ns1."""
    host, outside, ns1 = lab.own(Namespace()), lab.own(Namespace()), lab.own(Namespace())
    lab.own(VethPair(host, outside, name="enp1s0", peer_name="eth0",
                     address="192.168.122.220/24", peer_address="192.168.122.1/24"))  # fmt: skip
    br0 = lab.own(Bridge(host, "br0"))
    br0.connect(ns1, name="veth0", peer_name="veth1", peer_address="172.18.0.2/24")
    ns1.routes.add("default", dev="veth1")
    host.routes.add("172.18.0.0/24", dev="br0")
    return host, outside, ns1


def masquerade(lab: Scope, host: Namespace, backend: BackendName) -> NatRule:
    """Scene 4: what leaves the host has the host's address."""
    lab.own(host.sysctl.override("net.ipv4.ip_forward", 1))
    # ns1's default route is by device: it asks for every address by ARP, and the host answers
    lab.own(host.sysctl.override("net.ipv4.conf.br0.proxy_arp", 1))
    lab.own(host.sysctl.override("net.ipv4.neigh.br0.proxy_delay", 0))
    rule = lab.own(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="enp1s0", backend=backend))
    return rule  # noqa: RET504


def dnat(lab: Scope, host: Namespace, backend: BackendName) -> NatRule:
    """Scene 5: the host's port 80 is the container's."""
    rule = lab.own(NatRule.dnat(host, proto="tcp", dport=80, to="172.18.0.2:80", backend=backend))
    return rule  # noqa: RET504
