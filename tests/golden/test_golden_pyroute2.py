"""pyroute2 as the second opinion: it reads our messages as they were meant, and we read its.

It is also asked about the corpus of real replies, attribute by attribute, so that a wrong number, name
or type in one of our tables is found.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netkit._netlink.address import ADDRESS_POLICY, add_address, parse_address
from netkit._netlink.bridge_record import bridge_info, port_info
from netkit._netlink.link import LINK_POLICY, bridge, parse_link, set_link, veth
from netkit._netlink.neighbour import NEIGHBOUR_POLICY, add_neighbour, parse_neighbour
from netkit._netlink.policy import Policy, decode
from netkit._netlink.route import ROUTE_POLICY, add_route, parse_route
from netkit._netlink.rule import RULE_POLICY, add_rule, parse_rule
from netkit._netlink.wire import HEADER_SIZE, Request, messages
from netkit._spec.address import Address
from netkit._spec.bridges import BridgeInfo, PortInfo
from netkit._spec.names import route_type_number, scope_number
from netkit._spec.neighbours import STATES, Neighbour
from netkit._spec.routes import Route
from netkit._spec.rules import ACTIONS, Rule
from tests.golden.ip_commands import COMMANDS
from tests.unit.codec_values import INDEXES, NAMES, U32, addresses, macs, names, neighbours, routes, rules

CORPUS = Path(__file__).parents[1] / "unit" / "corpus"
CLASSES: dict[int, tuple[type, Policy, int]] = {
    4: (ifinfmsg, LINK_POLICY, 16),
    5: (ifaddrmsg, ADDRESS_POLICY, 8),
    6: (rtmsg, ROUTE_POLICY, 12),
    7: (ndmsg, NEIGHBOUR_POLICY, 12),
    8: (fibmsg, RULE_POLICY, 12),
    27: (ifinfmsg, LINK_POLICY, 16),
}
AF = {4: 2, 6: 10}


def theirs(kind: int, message: bytes) -> Any:
    """A whole message as pyroute2 reads it."""
    decoded = CLASSES[kind >> 2][0](message)
    decoded.decode()
    return decoded


def tree(message: Any) -> dict[str, Any]:
    """Its attributes by name; a nest is a dict, the last of equal ones wins as with us."""
    found: dict[str, Any] = {}
    for item in message["attrs"]:
        name, value = item[0], item[1]
        is_nest = hasattr(value, "get") and "attrs" in value
        found[name] = tree(value) if is_nest else value
    return found


def encoded(
    kind: int, header: dict[str, int], attrs: list[tuple[str, object]]
) -> tuple[int, memoryview, int, int]:
    """A reply as pyroute2 would write it."""
    message = CLASSES[kind >> 2][0]()
    for name, value in header.items():
        message[name] = value
    message["attrs"] = [(name, value) for name, value in attrs if value is not None]
    message.encode()
    return kind, memoryview(bytes(message.data)), HEADER_SIZE, len(message.data)


# What pyroute2 0.9 has no name for yet, and what it says in words of its own.
UNKNOWN_TO_IT = {
    "IFLA_BRPORT_MAB",
    "IFLA_BRPORT_MCAST_MAX_GROUPS",
    "IFLA_BRPORT_MCAST_N_GROUPS",
    "IFLA_BRPORT_NEIGH_VLAN_SUPPRESS",
    "IFLA_BR_FDB_MAX_LEARNED",
    "IFLA_BR_FDB_N_LEARNED",
    "IFLA_GRO_IPV4_MAX_SIZE",
    "IFLA_GSO_IPV4_MAX_SIZE",
    "IFLA_HEADROOM",
    "IFLA_MACVLAN_BC_QUEUE_LEN",
    "IFLA_MACVLAN_BC_QUEUE_LEN_USED",
    "IFLA_MAX_PACING_OFFLOAD_HORIZON",
    "IFLA_NETNS_IMMUTABLE",
    "IFLA_TAILROOM",
    "RTA_NH_ID",
    "RTA_UID",
}
WORDS = {
    "IFLA_OPERSTATE": ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"),
    "IFLA_MACVLAN_MODE": ("", "private", "vepa", "", "bridge"),
    "IFLA_MACVLAN_FLAGS": ("none",),
}


def compare(ours: dict[str, Any], other: dict[str, Any], where: str) -> int:
    """Every attribute that both can read has the same name and value; returns how many."""
    count = 0
    for name, value in ours.items():
        if isinstance(value, bytes):
            continue  # not for us to read
        if name not in other and name in UNKNOWN_TO_IT and "UNKNOWN" in other:
            continue
        assert name in other, f"{where}: {name}={value!r} is called otherwise: {sorted(other)}"
        if isinstance(value, dict):
            count += compare(value, other[name], f"{where}.{name}")
        else:
            value = WORDS[name][value] if name in WORDS else value
            assert same(value, other[name]), f"{where}: {name} is {value!r} or {other[name]!r}"
            count += 1
    return count


def same(value: object, other: object) -> bool:
    if isinstance(value, str) and isinstance(other, str) and ":" in value and value != other:
        return ip_address(value) == ip_address(other)  # ::ffff:0.0.0.0 and ::ffff:0:0
    return value == other or (isinstance(other, bytes) and str(value).encode() == other.rstrip(b"\0"))


@pytest.mark.parametrize("command", COMMANDS)
def test_our_messages_as_pyroute2_reads_them(command: str) -> None:
    request = COMMANDS[command]
    assert request.policy is not None
    ours = decode(request.policy, request.body, request.header_size, len(request.body))
    compare(ours, tree(theirs(request.kind, request.pack(1, 0))), command)


@pytest.mark.parametrize(
    "name", ["links", "addresses", "routes", "found_routes", "rules", "neighbours", "fdb"]
)
def test_a_kernels_replies_as_pyroute2_reads_them(name: str) -> None:
    data = (CORPUS / f"{name}.bin").read_bytes()
    compared = 0
    for kind, _, _, start, end in messages(data):
        if kind >= 16:
            _, policy, header = CLASSES[kind >> 2]
            ours = decode(policy, data, start + header, end)
            compared += compare(ours, tree(theirs(kind, data[start - HEADER_SIZE : end])), name)
    assert compared > 5


# -- what we write -----------------------------------------------------------------------


def read_back(request: Request) -> Any:
    return theirs(request.kind, request.pack(1, 0))


@given(names, names, st.integers(68, U32), macs, st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_veth(name: str, peer: str, mtu: int, mac: str, index: int, peer_index: int) -> None:
    found = read_back(
        veth(name, peer, mtu=mtu, peer_mac=mac, index=index, peer_index=peer_index, peer_netns_fd=9, up=True)
    )
    assert (found["index"], found["flags"], found["change"]) == (index, 1, 1)
    assert (found.get_attr("IFLA_IFNAME"), found.get_attr("IFLA_MTU")) == (name, mtu)
    assert found.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "veth"
    far = found.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER")
    assert (far["index"], far["flags"]) == (peer_index, 0)
    assert (far.get_attr("IFLA_IFNAME"), far.get_attr("IFLA_ADDRESS")) == (peer, mac)
    assert far.get_attr("IFLA_NET_NS_FD") == 9


@given(st.integers(0, 2**31 - 1), st.integers(0, 30), st.booleans())
def test_bridge(index: int, delay: int, stp: bool) -> None:
    found = read_back(bridge("br0", index=index, forward_delay=delay, stp=stp))
    data = found.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
    assert (data.get_attr("IFLA_BR_FORWARD_DELAY"), data.get_attr("IFLA_BR_STP_STATE")) == (100 * delay, stp)


@given(st.integers(1, 2**31 - 1), st.booleans(), names)
def test_set(index: int, up: bool, alias: str) -> None:
    found = read_back(set_link(index, up=up, alias=alias, master=0))
    assert (found["index"], found["flags"], found["change"]) == (index, up, 1)
    assert (found.get_attr("IFLA_IFALIAS"), found.get_attr("IFLA_MASTER")) == (alias, 0)


@given(addresses(), st.integers(1, 2**31 - 1))
def test_address(address: Address, index: int) -> None:
    found = read_back(add_address(index, address))
    assert (found["family"], found["prefixlen"], found["index"]) == (
        AF[address.version],
        address.prefixlen,
        index,
    )
    assert ip_address(found.get_attr("IFA_LOCAL")) == address.ip
    assert ip_address(found.get_attr("IFA_ADDRESS")) == address.ip


@given(routes())
def test_route(route: Route) -> None:
    index = None if route.dev is None else INDEXES[route.dev]
    found = read_back(add_route(route, index, [INDEXES[hop.dev] for hop in route.nexthops if hop.dev]))
    target = None if route.dst == "default" else str(route.dst)
    dst = found.get_attr("RTA_DST")
    assert (None if dst is None else f"{ip_address(dst)}/{found['dst_len']}") == target
    assert (found["type"], found["scope"]) == (route_type_number(route.type), scope_number(route.scope))
    assert (found.get_attr("RTA_TABLE") or found["table"]) == route.table
    assert (found.get_attr("RTA_OIF"), found.get_attr("RTA_PRIORITY")) == (index, route.metric)
    assert found.get_nested("RTA_METRICS", "RTAX_MTU") == route.mtu
    if route.via is not None:
        same_family = route.via.version == route.family
        gateway = found.get_attr("RTA_GATEWAY") if same_family else found.get_attr("RTA_VIA")["addr"]
        assert ip_address(gateway) == route.via
    hops = found.get_attr("RTA_MULTIPATH") or []
    assert [hop["hops"] + 1 for hop in hops] == [hop.weight for hop in route.nexthops]
    assert [NAMES[hop["oif"]] for hop in hops] == [hop.dev for hop in route.nexthops]
    gateways = [hop.get_attr("RTA_GATEWAY") for hop in hops]
    assert [None if each is None else ip_address(each) for each in gateways] == [
        h.via for h in route.nexthops
    ]


@given(rules())
def test_rule(rule: Rule) -> None:
    found = read_back(add_rule(rule))
    assert (found["family"], found["action"], found["flags"]) == (
        AF[rule.family],
        ACTIONS[rule.action],
        2 if rule.invert else 0,
    )
    assert (found.get_attr("FRA_TABLE") or found["table"]) == rule.table
    assert found.get_attr("FRA_IIFNAME") == rule.iif
    assert found.get_attr("FRA_OIFNAME") == rule.oif
    assert (found.get_attr("FRA_FWMARK"), found.get_attr("FRA_FWMASK")) == (rule.fwmark, rule.fwmask)
    assert found.get_attr("FRA_PRIORITY") == rule.priority
    for name, length, network in (("FRA_SRC", "src_len", rule.src), ("FRA_DST", "dst_len", rule.dst)):
        address = found.get_attr(name)
        said = None if address is None else f"{ip_address(address)}/{found[length]}"
        assert said == (None if network is None else str(network))


@given(neighbours())
def test_neighbour(entry: Neighbour) -> None:
    found = read_back(add_neighbour(INDEXES[entry.dev], entry.address, entry.mac, state=entry.state))
    assert (found["ifindex"], found["state"]) == (INDEXES[entry.dev], STATES[entry.state])
    assert ip_address(found.get_attr("NDA_DST")) == entry.address
    assert found.get_attr("NDA_LLADDR") == entry.mac


# -- what we read ------------------------------------------------------------------------


@given(names, st.integers(1, 2**31 - 1), st.integers(0, U32), macs, st.none() | st.integers(1, 2**31 - 1))
def test_a_link_of_theirs(name: str, index: int, number: int, mac: str, master: int | None) -> None:
    info = {
        "attrs": [
            ("IFLA_INFO_KIND", "bridge"),
            ("IFLA_INFO_DATA", {"attrs": [("IFLA_BR_AGEING_TIME", 30000)]}),
        ]
    }
    reply = encoded(
        16,
        {"index": index, "flags": number, "family": 0},
        [
            ("IFLA_IFNAME", name),
            ("IFLA_MTU", number),
            ("IFLA_ADDRESS", mac),
            ("IFLA_MASTER", master),
            ("IFLA_GROUP", number),
            ("IFLA_TXQLEN", number),
            ("IFLA_OPERSTATE", "LOWERLAYERDOWN"),
            ("IFLA_CARRIER", 1),
            ("IFLA_QDISC", "noqueue"),
            ("IFLA_LINKINFO", info),
        ],
    )
    link = parse_link(reply)
    assert (link.name, link.index, link.flags, link.mtu, link.mac) == (name, index, number, number, mac)
    assert (link.master, link.group, link.txqlen, link.operstate) == (master, number, number, 3)
    assert (link.kind, link.qdisc, link.bridge) == ("bridge", "noqueue", {"IFLA_BR_AGEING_TIME": 30000})


@given(
    st.lists(st.integers(0, U32), min_size=4, max_size=4),
    st.integers(0, 65535),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_a_bridge_of_theirs(times: list[int], priority: int, switches: list[bool]) -> None:
    stp, snooping, filtering = switches
    names = ("IFLA_BR_FORWARD_DELAY", "IFLA_BR_HELLO_TIME", "IFLA_BR_MAX_AGE", "IFLA_BR_AGEING_TIME")
    data: list[tuple[str, int]] = [
        *zip(names, times, strict=True),
        ("IFLA_BR_STP_STATE", int(stp)),
        ("IFLA_BR_PRIORITY", priority),
        ("IFLA_BR_VLAN_FILTERING", int(filtering)),
        ("IFLA_BR_MCAST_SNOOPING", int(snooping)),
    ]
    info = {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]}
    reply = encoded(16, {}, [("IFLA_IFNAME", "br0"), ("IFLA_MTU", 1500), ("IFLA_LINKINFO", info)])
    forward_delay, hello_time, max_age, ageing_time = [ticks / 100 for ticks in times]
    assert bridge_info(parse_link(reply)) == BridgeInfo(
        stp=stp,
        forward_delay=forward_delay,
        hello_time=hello_time,
        max_age=max_age,
        ageing_time=ageing_time,
        priority=priority,
        mcast_snooping=snooping,
        vlan_filtering=filtering,
    )


# The words of a port's switches, and pyroute2's names for them.
SWITCHES = {
    "hairpin": "MODE", "isolated": "ISOLATED", "learning": "LEARNING", "flood": "UNICAST_FLOOD",
    "mcast_flood": "MCAST_FLOOD", "bcast_flood": "BCAST_FLOOD", "guard": "GUARD", "root_block": "PROTECT",
    "fastleave": "FAST_LEAVE",
}  # fmt: skip


@given(
    st.integers(0, 4),
    st.integers(1, 65535),
    st.integers(0, 63),
    st.fixed_dictionaries(dict.fromkeys(SWITCHES, st.booleans())),
)
def test_a_port_of_theirs(state: int, cost: int, priority: int, switches: dict[str, bool]) -> None:
    data: list[tuple[str, int]] = [
        ("IFLA_BRPORT_STATE", state),
        ("IFLA_BRPORT_COST", cost),
        ("IFLA_BRPORT_PRIORITY", priority),
        *[(f"IFLA_BRPORT_{SWITCHES[word]}", int(value)) for word, value in switches.items()],
    ]
    info = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": data})]}
    reply = encoded(16, {}, [("IFLA_IFNAME", "p"), ("IFLA_MTU", 1500), ("IFLA_LINKINFO", info)])
    found = port_info(parse_link(reply))
    word = ("disabled", "listening", "learning", "forwarding", "blocking")[state]
    assert found == PortInfo(state=word, cost=cost, priority=priority, **switches)
    assert found.state == word


@given(addresses(), st.integers(1, 2**31 - 1), st.integers(0, U32 - 1))
def test_an_address_of_theirs(address: Address, index: int, lifetime: int) -> None:
    text = str(address.ip)
    times = {"ifa_preferred": lifetime, "ifa_valid": lifetime, "cstamp": 1, "tstamp": 2}
    reply = encoded(
        20,
        {
            "family": AF[address.version],
            "prefixlen": address.prefixlen,
            "index": index,
            "scope": 253,
            "flags": 0x80,
        },
        [
            ("IFA_ADDRESS", text),
            ("IFA_LOCAL", text if address.version == 4 else None),
            ("IFA_LABEL", "eth0" if address.version == 4 else None),
            ("IFA_FLAGS", 0x280),
            ("IFA_CACHEINFO", times),
        ],
    )
    owner, found = parse_address(reply)
    assert (owner, found, found.scope) == (index, address, "link")
    assert found.flags == {"permanent", "noprefixroute"}
    assert (found.preferred_lifetime, found.valid_lifetime) == (lifetime, lifetime)


@given(routes().filter(lambda route: route.via is None or route.via.version == route.family))
def test_a_route_of_theirs(route: Route) -> None:
    hops = [
        {
            "hops": hop.weight - 1,
            "oif": INDEXES[hop.dev or ""],
            "attrs": [] if hop.via is None else [("RTA_GATEWAY", str(hop.via))],
        }
        for hop in route.nexthops
    ]
    is_default = isinstance(route.dst, str)
    reply = encoded(
        24,
        {
            "family": AF[route.family],
            "dst_len": 0 if isinstance(route.dst, str) else route.dst.prefixlen,
            "table": route.table if route.table < 256 else 252,
            "proto": 77,
            "scope": scope_number(route.scope),
            "type": route_type_number(route.type),
            "flags": 4 if route.onlink else 0,
        },
        [
            ("RTA_DST", None if is_default else str(route.dst).partition("/")[0]),
            ("RTA_TABLE", route.table),
            ("RTA_GATEWAY", None if route.via is None else str(route.via)),
            ("RTA_OIF", None if route.dev is None else INDEXES[route.dev]),
            ("RTA_PREFSRC", None if route.src is None else str(route.src)),
            ("RTA_PRIORITY", route.metric),
            ("RTA_METRICS", None if route.mtu is None else {"attrs": [("RTAX_MTU", route.mtu)]}),
            ("RTA_MULTIPATH", hops or None),
        ],
    )
    found = parse_route(reply, NAMES)
    assert found.proto == "77"
    fields = {name: getattr(route, name) for name in Route._fields}
    assert found == Route(**{**fields, "proto": "77"})


@given(rules())
def test_a_rule_of_theirs(rule: Rule) -> None:
    reply = encoded(
        32,
        {
            "family": AF[rule.family],
            "src_len": rule.src.prefixlen if rule.src else 0,
            "dst_len": rule.dst.prefixlen if rule.dst else 0,
            "action": ACTIONS[rule.action],
            "flags": 2 if rule.invert else 0,
        },
        [
            ("FRA_SRC", None if rule.src is None else str(rule.src.network_address)),
            ("FRA_DST", None if rule.dst is None else str(rule.dst.network_address)),
            ("FRA_IIFNAME", rule.iif),
            ("FRA_OIFNAME", rule.oif),
            ("FRA_PRIORITY", rule.priority),
            ("FRA_FWMARK", rule.fwmark),
            ("FRA_FWMASK", rule.fwmask),
            ("FRA_TABLE", rule.table),
        ],
    )
    assert parse_rule(reply) == rule


@given(neighbours())
def test_a_neighbour_of_theirs(entry: Neighbour) -> None:
    reply = encoded(
        28,
        {
            "family": AF[entry.family],
            "ifindex": INDEXES[entry.dev],
            "state": STATES[entry.state],
            "flags": 0x80,
        },
        [("NDA_DST", str(entry.address)), ("NDA_LLADDR", entry.mac)],
    )
    found = parse_neighbour(reply, NAMES)
    assert (found, found.flags) == (entry, {"router"})


def test_the_oracle_is_no_mirror() -> None:
    """A number out of place is seen: IFLA_MTU written where IFLA_LINK stands."""
    wrong = struct.pack("=BxHiII", 0, 0, 1, 0, 0) + struct.pack("=HHI", 8, 5, 1500)
    message = Request(16, 0, wrong, "").pack(1, 0)
    with pytest.raises(AssertionError, match="IFLA_MTU"):
        compare({"IFLA_MTU": 1500}, tree(theirs(16, message)), "wrong")
