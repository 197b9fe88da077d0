"""Subnets, addresses and device names of a plan that is worked out."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netkit import SpecError, Topology
from netkit._spec.names import interface_name, shortened
from netkit._topology.building import Parts
from netkit._topology.devices import fitting
from netkit._topology.layout import Layout
from netkit._topology.subnets import Pool, Subnet, prefixlen_for, private_block
from tests.unit.topology_plans import connected_plans, devices, interfaces


def given_to(layout: Layout, name: str) -> list[str]:
    return [str(address) for address in layout.addresses[name]]


def lan(**options: object) -> Topology:
    plan = Topology()
    plan.add_bridge("lan", **options)  # type: ignore[arg-type]
    return plan


# -- subnets --------------------------------------------------------------------------


@settings(max_examples=200)
@given(plan=connected_plans())
def test_addresses_are_unique_and_in_their_subnet_and_names_unique_and_valid(plan: Topology) -> None:
    layout = Layout(plan)
    numbers = Counter(address.packed for each in interfaces(layout) for address in each.addresses)
    assert all(count == 1 for count in numbers.values())
    subnets = [ip_network(str(subnet)) for segment in layout.wiring.segments for subnet in segment.subnets]
    assert not [
        (one, other)
        for one in subnets
        for other in subnets
        if one is not other and one.version == other.version and one.overlaps(other)
    ]  # type: ignore[arg-type]
    for each in interfaces(layout):
        within = [Subnet.of(address) for address in each.addresses]
        assert within == (each.segment.subnets if each.addresses else [])
        for address in each.addresses:
            assert address.version == 6 or address.ip not in (address.network[0], address.network[-1])
    names = Counter((each.netns, each.device) for each in devices(layout))
    assert all(count == 1 for count in names.values())
    assert all(interface_name(device) == device != "lo" for _, device in names)
    Parts(layout)  # and netkit's own checks take all of it


def test_bridges_have_the_first_address_then_routers_then_the_others_in_order() -> None:
    plan = lan(address="auto", subnet="10.1.0.0/24")
    for name in ("a", "b"):
        plan.add_link(plan.add_namespace(name), "lan")
    plan.add_link("lan", plan.add_router("r"))
    layout = Layout(plan)
    found = {name: given_to(layout, name) for name in ("lan", "r", "a", "b")}
    assert found == {"lan": ["10.1.0.1/24"], "r": ["10.1.0.2/24"], "a": ["10.1.0.3/24"], "b": ["10.1.0.4/24"]}


def test_what_is_given_is_left_out() -> None:
    plan = lan(subnet=["10.1.0.0/29", "fd00::/64"])
    plan.add_link(plan.add_namespace("a"), "lan", address=["10.1.0.1/29", "fd00::2/64"])
    for name in ("b", "c"):
        plan.add_link(plan.add_namespace(name), "lan")
    plan.add_link(plan.add_namespace("none"), "lan", address=None)
    layout = Layout(plan)
    assert given_to(layout, "a") == ["10.1.0.1/29", "fd00::2/64"]
    assert given_to(layout, "b") == ["10.1.0.2/29", "fd00::1/64"]
    assert given_to(layout, "c") == ["10.1.0.3/29", "fd00::3/64"]
    assert given_to(layout, "none") == []


def test_beside_a_given_address_others_come_from_its_network() -> None:
    plan = lan(address=["172.18.0.1/24", "172.19.0.1/24", "fd00:7::1/64"])
    plan.add_link(plan.add_namespace("a"), "lan")
    plan.add_link("a", plan.add_namespace("b"), peer_address="10.7.0.1/30")
    layout = Layout(plan)
    assert given_to(layout, "a") == ["172.18.0.2/24", "fd00:7::2/64", "10.7.0.2/30"]


def test_a_narrower_prefix_may_be_given_inside_a_subnet() -> None:
    plan = lan(subnet="10.1.0.0/24")
    plan.add_link(plan.add_namespace("a"), "lan", address="10.1.0.9/32")
    assert given_to(Layout(plan), "a") == ["10.1.0.9/32"]


def test_equal_networks_may_be_given_twice_but_not_handed_out_twice() -> None:
    plan = Topology()
    for site in ("east", "west"):
        plan.add_namespace(site)
        plan.add_link(
            site, plan.add_namespace(f"{site}-gate"), address="192.168.1.2/24", peer_address="192.168.1.1/24"
        )
    plan.check()
    plan.add_bridge("lan", subnet="192.168.1.128/25")
    with pytest.raises(SpecError, match=r"overlaps"):
        plan.check()


def test_without_a_pool_only_what_is_given_has_addresses() -> None:
    plan = Topology(subnet=None)
    plan.add_link(plan.add_namespace("a"), plan.add_namespace("b"))
    plan.add_link("a", "b", subnet="auto")
    layout = Layout(plan)
    assert given_to(layout, "a") == ["10.64.0.1/30"]


def test_a_pool_is_cut_around_what_is_given_in_it() -> None:
    plan = Topology(subnet="10.0.0.0/24")
    plan.add_namespace("a")
    plan.add_namespace("b")
    plan.add_link("a", "b", subnet="10.0.0.4/30")
    plan.add_link("a", "b")
    plan.add_link("a", "b", address="10.0.0.9/30")
    plan.add_link("a", "b")
    assert given_to(Layout(plan), "b") == ["10.0.0.6/30", "10.0.0.2/30", "10.0.0.10/30", "10.0.0.14/30"]


def test_bridges_have_a_24_or_what_they_need_or_what_there_is() -> None:
    for boxes, pool, expected in ((3, "10.0.0.0/8", 24), (300, "10.0.0.0/8", 23), (3, "10.0.0.0/28", 29)):
        plan = Topology(subnet=pool)
        plan.add_bridge("lan", address="auto")
        for number in range(boxes):
            plan.add_link(plan.add_namespace(f"box{number}"), "lan")
        assert Layout(plan).subnets["lan"] == (Subnet.parse(f"10.0.0.0/{expected}"),)


def test_ipv6_subnets_are_64_unless_the_pool_is_smaller() -> None:
    for pool, expected in (("fd00:1::/48", 64), ("fd00:1::/64", 64), ("fd00:1::/120", 126)):
        plan = Topology(subnet=pool)
        plan.add_link(plan.add_namespace("a"), plan.add_namespace("b"))
        assert given_to(Layout(plan), "a") == [f"fd00:1::1/{expected}"]


def test_the_smallest_subnets_are_used_to_the_last_address() -> None:
    for subnet, expected in (
        ("10.0.0.0/31", ["10.0.0.0/31", "10.0.0.1/31"]),
        ("fd00::/127", ["fd00::/127", "fd00::1/127"]),
    ):
        plan = Topology()
        plan.add_link(plan.add_namespace("a"), plan.add_namespace("b"), subnet=subnet)
        layout = Layout(plan)
        assert [*given_to(layout, "a"), *given_to(layout, "b")] == expected


def test_joined_bridges_are_one_network() -> None:
    plan = lan(subnet="10.1.0.0/24", address="auto")
    for name in ("lan2", "lan3"):
        plan.add_bridge(name)
    plan.add_link("lan2", "lan3")
    plan.add_link("lan", "lan3")
    for name, bridge in (("a", "lan2"), ("b", "lan3"), ("c", "lan")):
        plan.add_link(plan.add_namespace(name), bridge, default_route=True)
    layout = Layout(plan)
    assert [given_to(layout, name)[0] for name in ("lan", "a", "b", "c")] == [
        "10.1.0.1/24", "10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24",
    ]  # fmt: skip
    defaults = [str(route) for each in interfaces(layout) for route in each.routes]
    assert defaults == ["default via 10.1.0.1 proto netkit"] * 3


# -- automatic ones -------------------------------------------------------------------


@given(
    occupied=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(6, 32)), max_size=8),
    prefixlen=st.integers(14, 30),
)
def test_an_automatic_block_is_private_and_clear_of_what_is_occupied(
    occupied: list[tuple[int, int]], prefixlen: int
) -> None:
    taken = [Subnet(4, start >> 32 - length << 32 - length, length) for start, length in occupied]
    found = private_block(4, prefixlen, taken)
    if found is None:
        return
    network = ip_network(str(found))
    assert network.is_private
    assert not [each for each in taken if network.overlaps(ip_network(str(each)))]  # type: ignore[arg-type]


def test_the_first_free_block_is_taken() -> None:
    assert str(private_block(4, 24, [])) == "10.64.0.0/24"
    assert str(private_block(4, 24, [Subnet.parse("10.64.0.0/16")])) == "10.65.0.0/24"
    assert str(private_block(4, 24, [Subnet.parse("10.64.0.9/32")])) == "10.64.1.0/24"
    assert str(private_block(4, 24, [Subnet.parse("10.0.0.0/8")])) == "172.16.0.0/24"
    assert str(private_block(6, 64, [])) == "fd6e:6574:6b69::/64"
    assert str(private_block(6, 64, [Subnet.parse("fd6e:6574:6b69::/48")])) == "fd00::/64"
    assert private_block(4, 24, [Subnet.parse("0.0.0.0/0")]) is None


def test_nothing_free_is_said() -> None:
    with pytest.raises(SpecError, match="no private IPv4 range has 1024 addresses in a row"):
        Layout(Topology.star(1000), [Subnet.parse("0.0.0.0/0")])


@given(
    start=st.integers(0, 255),
    wanted=st.lists(st.integers(24, 30), max_size=12),
    taken=st.lists(st.integers(24, 30), max_size=6),
)
def test_what_a_pool_gives_is_apart(start: int, wanted: list[int], taken: list[int]) -> None:
    whole = Subnet(4, start << 16, 16)
    around = [Subnet(4, (start << 16) + (number << 10), length) for number, length in enumerate(taken)]
    pool = Pool(whole, around)
    found = [pool.take(prefixlen) for prefixlen in sorted(wanted)]
    cut = [each for each in found if each is not None]
    assert len(cut) == len(wanted)  # 16 bits hold far more
    everything = [ip_network(str(each)) for each in (*cut, *around)]
    assert not [1 for i, one in enumerate(everything) for other in everything[:i] if one.overlaps(other)]  # type: ignore[arg-type]
    assert all(each in whole for each in cut)


@given(version=st.sampled_from([4, 6]), count=st.integers(1, 2**20))
def test_the_longest_prefix_that_holds_so_many(version: int, count: int) -> None:
    prefixlen = prefixlen_for(version, count)
    assert Subnet(version, 0, prefixlen).capacity >= count
    longest = 30 if version == 4 else 126
    assert prefixlen == longest or Subnet(version, 0, prefixlen + 1).capacity < count


# -- device names ---------------------------------------------------------------------


def names(layout: Layout, netns: str) -> list[str]:
    return [each.device for each in devices(layout) if each.netns == netns]


def test_devices_are_numbered_in_namespaces_and_called_after_the_other_end_at_bridges() -> None:
    plan = lan()
    plan.add_bridge("wan")
    for name in ("web", "a-name-that-is-long", "é"):
        plan.add_link(plan.add_namespace(name), "lan")
    plan.add_link("web", "lan")
    plan.add_link("web", "é")
    plan.add_link("lan", "wan")
    layout = Layout(plan)
    assert names(layout, "web") == ["eth0", "eth1", "eth2"]
    assert names(layout, "/lan") == ["lan", "web", shortened("a-name-that-is-long"), "é", "web-2", "to-wan"]
    assert names(layout, "/wan") == ["wan", "to-lan"]


def test_given_names_go_first() -> None:
    plan = lan()
    plan.add_namespace("lan0")
    plan.add_namespace("a")
    plan.add_link("a", "lan0")
    plan.add_link("a", "lan", name="eth1", peer_name="lan-2")
    plan.add_link("a", "lan0", name="eth0")
    plan.add_link("a", "lan0")
    layout = Layout(plan)
    assert names(layout, "a") == ["eth2", "eth1", "eth0", "eth3"]


def test_a_namespace_called_as_a_bridge_or_lo_has_another_port() -> None:
    plan = Topology()
    plan.add_namespace("switch")
    plan.add_bridge("lan", "switch", device="web")
    for name in ("web", "lo", "all"):
        plan.add_link(plan.add_namespace(name), "lan")
    assert names(Layout(plan), "switch") == ["web", "web-2", "lo-2", shortened("all")]


@given(st.text(min_size=1, max_size=40))
def test_every_name_becomes_a_device_name(name: str) -> None:
    try:
        Topology().add_namespace(name)
    except SpecError:
        return
    assert interface_name(fitting(name)) == fitting(name)


# -- names that stand for addresses ---------------------------------------------------


def gateway() -> Topology:
    plan = lan(subnet=["10.1.0.0/24", "fd00:1::/64"])
    plan.add_router("gate")
    plan.add_link("gate", "lan")
    plan.add_link(plan.add_namespace("web"), "lan", default_route="gate")
    plan.add_link("gate", plan.add_namespace("outside"), subnet=["198.51.100.0/30", "fd00:2::/64"])
    return plan


def test_names_stand_for_addresses_in_nat_rules() -> None:
    plan = gateway()
    plan.masquerade("gate", saddr="lan", oif="eth1")
    plan.masquerade("gate", saddr="!= lan", daddr="web", family=6)
    plan.dnat("gate", proto="tcp", dport=80, to="web:8080")
    plan.dnat("gate", proto="tcp", dport=81, to="web:8080", family=6)
    plan.dnat("gate", to="web", backend="iptables")
    plan.snat("gate", to="gate", saddr="web")
    plan.redirect("gate", proto="udp", dport="53-54", to=5353, local=True)
    assert [(netns, str(spec), backend) for netns, spec, backend in Layout(plan).nat] == [
        ("gate", 'oifname "eth1" ip saddr 10.1.0.0/24 masquerade', None),
        ("gate", "ip6 saddr != fd00:1::/64 ip6 daddr fd00:1::2/128 masquerade", None),
        ("gate", "tcp dport 80 dnat to 10.1.0.2:8080", None),
        ("gate", "tcp dport 81 dnat to [fd00:1::2]:8080", None),
        ("gate", "dnat to 10.1.0.2", "iptables"),
        ("gate", "ip saddr 10.1.0.2/32 snat to 10.1.0.1", None),
        ("gate", "udp dport 53-54 redirect to :5353", None),
    ]


def test_names_stand_for_addresses_in_routes() -> None:
    plan = gateway()
    plan.add_route("outside", "lan", via="gate")
    plan.add_route("outside", "web", via="gate", metric=7)
    plan.add_route("outside", "10.7.0.0/16", type="blackhole")
    plan.add_route("gate", "10.8.0.0/16", dev="eth0")
    layout = Layout(plan)
    found = {
        each.device: [str(r) for r in each.routes] for each in interfaces(layout) if each.netns == "outside"
    }
    assert found["eth0"][:2] == [
        "10.1.0.0/24 via 198.51.100.1 proto netkit",
        "10.1.0.2/32 via 198.51.100.1 proto netkit metric 7",
    ]
    assert [str(route) for route in layout.routes["outside"]] == ["blackhole 10.7.0.0/16 proto netkit"]
    gate = [str(route) for each in interfaces(layout) if each.netns == "gate" for route in each.routes]
    assert gate == ["10.8.0.0/16 dev eth0 proto netkit scope link"]


def test_a_named_gateway_gives_one_route_per_family() -> None:
    layout = Layout(gateway())
    web = [str(route) for each in interfaces(layout) if each.netns == "web" for route in each.routes]
    assert web == ["default via 10.1.0.1 proto netkit", "default via fd00:1::1 proto netkit"]


def test_sysctls_of_devices_are_written_last_and_a_users_after_ours() -> None:
    plan = gateway()
    plan.set_sysctl("gate", "net.ipv4.conf.all.rp_filter", 2)
    plan.set_sysctl("gate", "net.ipv4.conf.eth0.proxy_arp", 1)
    plan.set_sysctl("gate", "net/ipv6/neigh/eth0/retrans_time_ms", 500)
    layout = Layout(plan)
    assert [pair for pair in layout.early["gate"] if "all/rp_filter" in pair[0]] == [
        ("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/all/rp_filter", "2"),
    ]  # fmt: skip
    assert layout.late == {
        "gate": [("net/ipv4/conf/eth0/proxy_arp", "1"), ("net/ipv6/neigh/eth0/retrans_time_ms", "500")]
    }
