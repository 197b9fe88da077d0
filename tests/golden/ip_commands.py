"""Commands of iproute2, and the requests of ours that are to be the same messages.

ip_messages.json holds what iproute2 6.1 sent for each (see capture_ip.py). In the namespace where it
was captured eth0 is link 2 (its peer eth1 is 3), br0 is link 4, and eth0 is a port of br0 where the
command is about ports.
"""

from __future__ import annotations

import ipaddress

from netkit._netlink.address import add_address, delete_address, list_addresses
from netkit._netlink.bridge import set_bridge, set_port
from netkit._netlink.fdb import add_fdb, delete_fdb
from netkit._netlink.link import (
    add_alternative_name,
    bridge,
    delete_alternative_name,
    delete_group,
    delete_link,
    new_link,
    set_link,
    veth,
)
from netkit._netlink.link_kinds import kind_data
from netkit._netlink.neighbour import add_neighbour, delete_neighbour
from netkit._netlink.route import add_route, delete_route, get_route
from netkit._netlink.rule import add_rule, delete_rule
from netkit._netlink.wire import Request
from netkit._spec.address import Address
from netkit._spec.routes import NextHop, Route
from netkit._spec.rules import Rule

ETH0, ETH1, BR0 = 2, 3, 4
MAC, PEER_MAC = "02:00:00:00:00:20", "02:00:00:00:00:21"

_address = Address.parse
_ip = ipaddress.ip_address


def _route(dst: str, **keywords: object) -> Route:
    # ip-route(8) says that "boot" made a route; ours say so of netkit.
    return Route.build(dst, proto="boot", **keywords)  # type: ignore[arg-type]


def _rule(**keywords: object) -> Rule:
    built = Rule.build(**keywords)  # type: ignore[arg-type]
    fields = {name: getattr(built, name) for name in Rule._fields}
    return Rule(**{**fields, "proto": "boot"})


_onlink = _route("10.9.0.0/16", via="9.9.9.9", dev="eth0", onlink=True)
_hops = [
    NextHop(via="10.0.0.8", weight=3),
    NextHop(dev="eth1"),
    NextHop(via="10.0.0.9", dev="eth0", weight=256),
]
_marked = _rule(src="10.0.0.0/8", iif="eth0", oif="eth1", fwmark="0x1/0xff", priority=50, table=1000)
_via_ipv6 = Route(ipaddress.ip_network("10.9.0.0/16"), 4, via=_ip("fe80::1"), dev="eth0", proto="boot")
_point_to_point = Address(_ip("10.0.0.1").packed, 32, peer=_ip("10.0.0.2").packed)

LINKS: dict[str, Request] = {
    f"ip link add name v0 index 20 address {MAC} mtu 1400 txqueuelen 5 numtxqueues 1 numrxqueues 1 group 7 "
    f"type veth peer index 21 address {PEER_MAC} mtu 1300 txqueuelen 6 numtxqueues 1 numrxqueues 1 group 8 "
    "name v1": veth(
        "v0", "v1", index=20, peer_index=21, mac=MAC, peer_mac=PEER_MAC, mtu=1400, peer_mtu=1300,
        txqlen=5, peer_txqlen=6, queues=1, group=7, peer_group=8,
    ),
    "ip link add name v0 type veth peer name v1": veth("v0", "v1"),
    "ip link add name v0 up master br0 type veth peer name v1": veth("v0", "v1", up=True, master=BR0),
    f"ip link add name br1 index 30 address {MAC} up type bridge forward_delay 200 hello_time 150 "
    "max_age 700 ageing_time 3300 stp_state 1 mcast_snooping 0 priority 7": bridge(
        "br1", index=30, mac=MAC, up=True, forward_delay=2, hello_time=1.5, max_age=7,
        ageing_time=33, stp=True, mcast_snooping=False, priority=7,
    ),
    "ip link add name br1 type bridge vlan_filtering 1": bridge("br1", vlan_filtering=True),
    "ip link add name m0 link eth1 type macvlan mode bridge": new_link(
        "m0", "macvlan", kind_data("macvlan", {"mode": "bridge"}), link=ETH1
    ),
    "ip link add name d0 type dummy": new_link("d0", "dummy"),
    "ip link add name l0 link eth1 type vlan id 7 protocol 802.1ad": new_link(
        "l0", "vlan", kind_data("vlan", {"id": 7, "protocol": "802.1ad"}), link=ETH1
    ),
    "ip link set dev eth0 up": set_link(ETH0, up=True),
    "ip link set dev eth0 down": set_link(ETH0, up=False),
    f"ip link set dev eth0 address {MAC} mtu 1400 txqueuelen 9 group 7 alias near": set_link(
        ETH0, mac=MAC, mtu=1400, txqlen=9, group=7, alias="near"
    ),
    "ip link set dev eth0 name new": set_link(ETH0, name="new"),
    "ip link set dev eth0 master br0": set_link(ETH0, master=BR0),
    "ip link set dev eth0 nomaster": set_link(ETH0, master=0),
    "ip link set dev br0 type bridge forward_delay 300 vlan_filtering 0": set_bridge(
        BR0, forward_delay=3, vlan_filtering=False
    ),
    "ip link set dev eth0 type bridge_slave hairpin on isolated on learning off flood off mcast_flood on "
    "bcast_flood off guard on root_block on fastleave on cost 5 priority 6": set_port(
        ETH0, hairpin=True, isolated=True, learning=False, flood=False, mcast_flood=True, bcast_flood=False,
        guard=True, root_block=True, fastleave=True, cost=5, priority=6,
    ),
    "ip link property add dev eth0 altname another-name-of-eth0": add_alternative_name(
        ETH0, "another-name-of-eth0"
    ),
    "ip link property del dev eth0 altname another-name-of-eth0": delete_alternative_name(
        ETH0, "another-name-of-eth0"
    ),
    "ip link delete dev eth0": delete_link(ETH0),
    "ip link delete group 7": delete_group(7),
}  # fmt: skip

ADDRESSES: dict[str, Request] = {
    "ip address add 10.0.0.1/24 dev eth0": add_address(ETH0, _address("10.0.0.1/24")),
    "ip address add 10.0.0.1/24 broadcast + label eth0:x scope link metric 7 dev eth0": add_address(
        ETH0, _address("10.0.0.1/24"), broadcast="+", label="eth0:x", scope="link", metric=7
    ),
    "ip address add 127.0.0.2/8 dev eth0": add_address(ETH0, _address("127.0.0.2/8")),
    "ip address replace 10.0.0.1/24 dev eth0 valid_lft 100 preferred_lft 50": add_address(
        ETH0, _address("10.0.0.1/24"), replace=True, valid_lifetime=100, preferred_lifetime=50
    ),
    "ip address add 10.0.0.1 peer 10.0.0.2/32 dev eth0": add_address(
        ETH0, _point_to_point, peer=_ip("10.0.0.2").packed
    ),
    "ip address add fd00::1/64 nodad dev eth0": add_address(ETH0, _address("fd00::1/64")),
    "ip address add fd00::1/64 noprefixroute dev eth0": add_address(
        ETH0, _address("fd00::1/64"), nodad=False, noprefixroute=True
    ),
    "ip address delete 10.0.0.1/24 dev eth0": delete_address(ETH0, _address("10.0.0.1/24")),
    "ip address delete 10.0.0.1 peer 10.0.0.2/32 dev eth0": delete_address(ETH0, _point_to_point),
    "ip address delete fd00::1/64 dev eth0": delete_address(ETH0, _address("fd00::1/64")),
    "ip -4 address show dev eth0": list_addresses(4, ETH0),
}

ROUTES: dict[str, Request] = {
    "ip route add default via 10.0.0.254": add_route(_route("default", via="10.0.0.254")),
    "ip route add default dev eth0": add_route(_route("default", dev="eth0"), ETH0),
    "ip route add 10.9.0.0/16 via 10.0.0.254 dev eth0 metric 50 mtu 1300 src 10.0.0.1": add_route(
        _route("10.9.0.0/16", via="10.0.0.254", dev="eth0", metric=50, mtu=1300, src="10.0.0.1"), ETH0
    ),
    "ip route add 10.9.0.0/16 via 9.9.9.9 dev eth0 onlink": add_route(_onlink, ETH0),
    "ip route add 10.9.0.0/16 dev eth0 scope host proto static": add_route(
        Route.build("10.9.0.0/16", dev="eth0", scope="host", proto="static"), ETH0
    ),
    "ip route add blackhole 10.9.0.0/16 metric 5": add_route(
        _route("10.9.0.0/16", type="blackhole", metric=5)
    ),
    "ip route add unreachable 10.9.0.0/16": add_route(_route("10.9.0.0/16", type="unreachable")),
    "ip route add prohibit 10.9.0.0/16": add_route(_route("10.9.0.0/16", type="prohibit")),
    "ip route add 10.9.0.0/16 nexthop via 10.0.0.8 weight 3 nexthop dev eth1 "
    "nexthop via 10.0.0.9 dev eth0 weight 256": add_route(
        _route("10.9.0.0/16", nexthops=_hops), None, [None, ETH1, ETH0]
    ),
    "ip route add 10.9.0.0/16 via inet6 fe80::1 dev eth0": add_route(_via_ipv6, ETH0),
    "ip route add 10.9.0.0/16 via 10.0.0.254 table 100": add_route(
        _route("10.9.0.0/16", via="10.0.0.254", table=100)
    ),
    "ip route add 10.9.0.0/16 via 10.0.0.254 table 1000": add_route(
        _route("10.9.0.0/16", via="10.0.0.254", table=1000)
    ),
    "ip -6 route add default via fd00::254": add_route(_route("default", via="fd00::254")),
    "ip -6 route add fd09::/16 dev eth0 metric 5 table 1000": add_route(
        _route("fd09::/16", dev="eth0", metric=5, table=1000), ETH0
    ),
    "ip -6 route add blackhole fd09::/16": add_route(_route("fd09::/16", type="blackhole")),
    "ip route replace 10.9.0.0/16 via 10.0.0.254": add_route(
        _route("10.9.0.0/16", via="10.0.0.254"), replace=True
    ),
    "ip route append 10.9.0.0/16 via 10.0.0.254": add_route(
        _route("10.9.0.0/16", via="10.0.0.254"), append=True
    ),
    "ip route delete default via 10.0.0.254": delete_route(
        _route("default", via="10.0.0.254"), any_type=True
    ),
    "ip route delete 10.9.0.0/16 dev eth0 metric 50 table 1000": delete_route(
        _route("10.9.0.0/16", dev="eth0", metric=50, table=1000), ETH0, any_type=True
    ),
    "ip route delete blackhole 10.9.0.0/16": delete_route(_route("10.9.0.0/16", type="blackhole")),
    "ip -6 route delete default via fd00::254": delete_route(
        _route("default", via="fd00::254"), any_type=True
    ),
    "ip route get 10.9.1.1": get_route(_ip("10.9.1.1")),
    "ip route get fibmatch 10.9.1.1": get_route(_ip("10.9.1.1"), fib_match=True),
    "ip route get 10.9.1.1 from 10.0.0.1 iif eth0 mark 5": get_route(
        _ip("10.9.1.1"), src=_ip("10.0.0.1"), iif=ETH0, mark=5
    ),
    "ip -6 route get fd00::9 oif eth0": get_route(_ip("fd00::9"), oif=ETH0),
}

RULES: dict[str, Request] = {
    "ip rule add from 10.0.0.0/8 iif eth0 oif eth1 fwmark 0x1/0xff priority 50 lookup 1000": add_rule(
        _marked
    ),
    "ip rule add not to 10.1.0.0/16 lookup 100": add_rule(_rule(dst="10.1.0.0/16", invert=True, table=100)),
    "ip rule add blackhole from 10.0.0.1 priority 5": add_rule(
        _rule(src="10.0.0.1", action="blackhole", priority=5)
    ),
    "ip -6 rule add from fd00::/8 lookup main priority 9": add_rule(_rule(src="fd00::/8", priority=9)),
    "ip rule delete from 10.0.0.0/8 iif eth0 oif eth1 fwmark 0x1/0xff priority 50 lookup 1000": delete_rule(
        _marked
    ),
    "ip -6 rule delete to fd00::/8 lookup 100": delete_rule(_rule(dst="fd00::/8", table=100)),
}

NEIGHBOURS: dict[str, Request] = {
    f"ip neighbour add 10.0.0.7 lladdr {MAC} dev eth0": add_neighbour(ETH0, _ip("10.0.0.7"), MAC),
    f"ip neighbour add 10.0.0.7 lladdr {MAC} dev eth0 nud stale": add_neighbour(
        ETH0, _ip("10.0.0.7"), MAC, state="stale"
    ),
    f"ip neighbour replace fd00::7 lladdr {MAC} dev eth0": add_neighbour(
        ETH0, _ip("fd00::7"), MAC, replace=True
    ),
    "ip neighbour add proxy 10.0.0.7 dev eth0": add_neighbour(ETH0, _ip("10.0.0.7"), None, proxy=True),
    "ip neighbour delete 10.0.0.7 dev eth0": delete_neighbour(ETH0, _ip("10.0.0.7")),
    f"bridge fdb add {MAC} dev eth0 master static": add_fdb(ETH0, MAC),
    f"bridge fdb add {MAC} dev eth0 master permanent vlan 5": add_fdb(ETH0, MAC, vlan=5, state="permanent"),
    f"bridge fdb replace {MAC} dev eth0 master static": add_fdb(ETH0, MAC, replace=True),
    f"bridge fdb add {MAC} dev br0 self": add_fdb(BR0, MAC, state="permanent", on_bridge=True),
    f"bridge fdb delete {MAC} dev eth0 master": delete_fdb(ETH0, MAC),
}

COMMANDS: dict[str, Request] = {**LINKS, **ADDRESSES, **ROUTES, **RULES, **NEIGHBOURS}
