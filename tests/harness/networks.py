"""What the fault tests build: the demo's network, and things in a host namespace that the kernel keeps."""

from __future__ import annotations

import os
import subprocess

import netkit
from netkit import Bridge, Namespace, NatRule, RouteTable, Scope, Topology, VethPair
from netkit._demo import scenes
from tests.harness.packets import reached


def prepare() -> None:
    """A device of somebody else; and what stays of the first `ip netns add`: /run/netns is a mount."""
    for words in ("netns add first", "netns delete first", "link add their0 type veth peer name their1"):
        subprocess.run(["ip", *words.split()], check=True)


def demo(lab: Scope) -> None:
    """The demo's network, whole, in namespaces of its own."""
    host, _, _ = scenes.route_table(lab)
    scenes.masquerade(lab, host, "nftables")
    scenes.dnat(lab, host, "nftables")


def by_the_kernel() -> None:
    """What the kernel cleans up by itself: the demo, a named namespace, a veth to it, an nft rule."""
    host = Namespace.current()
    with Scope() as lab:
        demo(lab)
        box = lab.own(Namespace())
        lab.own(VethPair(host, box, name="v0", peer_name="eth0", address="10.1.0.1/24"))
        lab.own(NatRule.masquerade(host, saddr="10.1.0.0/24", oif="v9"))
    netkit.shutdown()


def bridged(lab: Scope) -> None:
    """A bridge with a named namespace behind it."""
    bridge = lab.own(Bridge(Namespace.current(), "br0", address="172.19.0.1/24"))
    box = lab.own(Namespace("box"))
    bridge.connect(box, name="v0", peer_name="eth0", peer_address="172.19.0.2/24", default_route=True)


def both_ends(lab: Scope) -> None:
    """A pair that no namespace of ours takes along."""
    host = Namespace.current()
    lab.own(VethPair(host, host, name="both0", peer_name="both1", address="10.2.0.1/24"))


def routed(lab: Scope) -> None:
    """Routes that hang on no device of ours."""
    table = lab.own(RouteTable(Namespace.current(), 100))
    table.add("10.9.0.0/16", dev="lo")
    table.add("10.8.0.0/16", type="blackhole")


def chosen_by_rules(lab: Scope) -> None:
    """A policy rule, and a neighbour and an address of a device that is not ours."""
    host = Namespace.current()
    lab.own(host.rules).add(src="10.9.0.0/16", table=100, priority=1000)
    lab.own(host.links["their0"].addresses).add("192.0.2.7/32")
    lab.own(host.neighbours).add("192.0.2.8", mac="02:00:00:00:00:0a", dev="their0")


def kept(lab: Scope) -> None:
    """A mount in the namespace directory."""
    lab.own(Namespace("kept", persistent=True))


def forwarding(lab: Scope) -> None:
    """A sysctl, and those that the kernel resets along with it."""
    lab.own(Namespace.current().sysctl.override("net.ipv4.ip_forward", 1))


def nftables(lab: Scope) -> None:
    """A rule in our own table."""
    lab.own(NatRule.masquerade(Namespace.current(), saddr="172.19.0.0/24", oif="v9"))


def iptables(lab: Scope) -> None:
    """A rule in a table that all share."""
    lab.own(NatRule.masquerade(Namespace.current(), saddr="172.19.0.0/24", oif="v8", backend="iptables"))


def published() -> None:
    """A port of the host that leads to a box behind a bridge."""
    with Scope() as lab:
        forwarding(lab)
        bridged(lab)
        lab.own(Namespace.current().publish(8080, to="172.19.0.2:80"))
        lab.own(Namespace.current().publish(8081, to="172.19.0.2:80", relay="helper"))
    netkit.shutdown()


def proxied() -> None:
    """What passes through is led to proxies: rules that nobody else can change, policy rules, routes."""
    with Scope() as lab:
        host = Namespace.current()
        lab.own(NatRule.tproxy(host, dport=80, to=3128))
        lab.own(NatRule.tproxy(host, proto="udp", dport=53, to=5353, family=4, backend="iptables"))
    netkit.shutdown()


def published_by_iptables() -> None:
    """The same in tables that the kernel does not clean up."""
    with Scope() as lab:
        forwarding(lab)
        bridged(lab)
        lab.own(Namespace.current().publish(8080, to="172.19.0.2:80", backend="iptables"))
    netkit.shutdown()


_FIREWALL = """table inet theirs { chain forward { type filter hook forward priority 0; policy drop; }; }
table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }"""


def firewall() -> None:
    """Somebody's chains that drop what is forwarded, of all kinds, in which `opened` inserts accepts."""
    subprocess.run(["nft", "-f", "-"], input=_FIREWALL, text=True, check=True)
    subprocess.run(["iptables-legacy", "-w", "-P", "FORWARD", "DROP"], check=True)


def opened() -> None:
    """A published port behind a firewall that drops, and a bridge that may go out."""
    host = Namespace.current()
    with Scope() as lab:
        forwarding(lab)
        lab.own(Bridge(host, "b8", address="172.18.9.1/24", open_forward=True))
        bridged(lab)
        lab.own(host.publish(8080, to="172.19.0.2:80", open_forward=True))
    netkit.shutdown()


IN_THE_HOST = [bridged, both_ends, routed, chosen_by_rules, kept, forwarding, nftables]


def whole() -> None:
    """The demo's network and a bit of everything in the host, built and torn down."""
    with Scope() as lab:
        demo(lab)
        for part in (*IN_THE_HOST, iptables):
            part(lab)
    netkit.shutdown()


def in_the_host() -> None:
    """Things in a borrowed host, one after the other, a program and a packet."""
    with Scope() as lab:
        for part in IN_THE_HOST:
            part(lab)
        box = lab.own(Namespace("pinged"))
        lab.own(VethPair(Namespace.current(), box, name="v1", peer_name="eth0", address="10.3.0.1/24",
                         peer_address="10.3.0.2/24"))  # fmt: skip
        assert reached(box, "10.3.0.1")
        assert box.run(["true"]).returncode == 0


def together() -> None:
    """Several created by one call."""
    host = Namespace.current()
    boxes = [Namespace("one"), Namespace(), Namespace()]
    bridge = Bridge(host, "br0", address=["10.0.0.1/24", "fd00::1/64"])
    pairs = [
        bridge.pair(box, name=f"v{n}", peer_address=[f"10.0.0.{n}/24", f"fd00::{n}/64"], default_route=True)
        for n, box in enumerate(boxes, 2)
    ]
    with Scope() as lab:
        lab.own(*boxes, bridge, *pairs, RouteTable(host, 100), host.sysctl.override("net.ipv4.ip_forward", 1),
                NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"))  # fmt: skip


def star() -> None:
    """A topology."""
    with Topology.star(3, named=True, forwarding=True, subnet=["10.1.0.0/24", "fd00:1::/64"]) as net:
        assert reached(net["box1"], net.address("box3"))


def the_demo() -> None:
    """The demo's network in namespaces of its own."""
    with Scope() as lab:
        demo(lab)


WORKS = {"in the host": in_the_host, "together": together, "star": star, "demo": the_demo}


def without_root() -> None:
    """The demo's network by the broker, and a program inside: everything is to end with the process."""
    os.environ["NETKIT_ROOTLESS"] = "1"
    with Scope() as lab:
        demo(lab)
        box = lab.own(Namespace("box"))
        assert box.run(["true"]).returncode == 0
        box.popen(["sleep", "1000"])
    netkit.shutdown()
