"""Topologies against `ip -j`, `nft` and real packets: what is planned is what there is."""

from __future__ import annotations

import gc
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from netkit import (
    Bridge,
    ExistsError,
    KernelError,
    Namespace,
    NatRule,
    Network,
    NotFoundError,
    Scope,
    SpecError,
    StateError,
    Topology,
    UnsupportedError,
    VethPair,
)
from tests.harness import place
from tests.harness.oracle import addresses, ip, link, nft_text, run_in
from tests.harness.packets import bound, reached, tcp
from tests.harness.patience import PATIENCE

SHAPES: dict[str, Callable[[], Topology]] = {
    "star": lambda: Topology.star(4),
    "star of both families": lambda: Topology.star(3, subnet=["10.7.0.0/24", "fd00:7::/64"], mtu=1400),
    "line": lambda: Topology.line(5),
    "ring": lambda: Topology.ring(5, subnet=["auto", "auto6"]),
    "mesh": lambda: Topology.mesh(4, subnet="fd00:9::/48"),
    "tree": lambda: Topology.tree(2, 3),
}


def default_routes(ns: Namespace) -> list[str]:
    found = [*ip(ns, "route", "show", "default"), *ip(ns, "-6", "route", "show", "default")]
    return [route["gateway"] for route in found]


# -- shapes ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_reaches_every_address(shape: str) -> None:
    with SHAPES[shape]() as net:
        for source in net.values():
            for name in net:
                for address in net.addresses(name):
                    assert reached(source, address.ip), (source, name, address)


@pytest.mark.parametrize("shape", SHAPES)
def test_addresses_are_those_that_the_network_says(shape: str) -> None:
    with SHAPES[shape]() as net:
        for name, ns in net.items():
            shown = [
                f"{info['local']}/{info['prefixlen']}"
                for each in ip(ns, "address", "show")
                for info in each["addr_info"]
                if info["scope"] == "global"
            ]
            assert sorted(shown) == sorted(str(address) for address in net.addresses(name))


def test_a_star_is_a_bridge_with_an_address_and_boxes_with_default_routes_by_it() -> None:
    with Topology.star(3, subnet="10.7.0.0/24", mtu=1400) as net:
        assert list(net) == ["switch", "box1", "box2", "box3"]
        assert [each["ifname"] for each in ip(net["switch"], "link", "show")] == [
            "lo",
            "lan",
            "box1",
            "box2",
            "box3",
        ]
        assert addresses(net["switch"], "lan") == ["10.7.0.1/24"]
        for number in (1, 2, 3):
            box = net[f"box{number}"]
            assert addresses(box, "eth0") == [f"10.7.0.{number + 1}/24"]
            assert default_routes(box) == ["10.7.0.1"]
            assert link(box, "eth0")["mtu"] == link(net["switch"], f"box{number}")["mtu"] == 1400
            assert link(net["switch"], f"box{number}")["master"] == "lan"
        assert link(net["switch"], "lan")["mtu"] == 1400
        assert run_in(net["switch"], "cat", "/proc/sys/net/ipv4/ip_forward").strip() == "0"


@pytest.mark.slow
def test_a_star_that_is_too_large_for_a_bridge_is_at_several_and_a_broadcast_reaches_all() -> None:
    plan = Topology.star(1030)
    for box in plan.namespaces:  # what IPv6 says by itself goes to all, a million packets that others lose
        plan.set_sysctl(box, "net.ipv6.conf.default.disable_ipv6", 1)
    with plan as net:
        ports = {each["ifname"]: each.get("master") for each in ip(net["switch"], "link", "show")}
        per_bridge = {name: sum(master == name for master in ports.values()) for name in net.bridges}
        assert per_bridge == {"lan": 345, "lan2": 346, "lan3": 343}
        assert [ports[name] for name in ("to-lan2", "to-lan", "to-lan3")] == ["lan", "lan2", "lan2"]
        # The backlog is the processor's: others fill it, too. Then an answer comes with a later request.
        count = round(3 * PATIENCE)
        for one, other in (("box1", "box1030"), ("box1030", "box2"), ("box500", "box1"), ("box1030", "lan")):
            assert net[one].ping(net.address(other), count=count).received, (one, other)
        snapshots = net.snapshot()
        assert len(snapshots) == 1031
        assert snapshots["box1030"].link("eth0") is not None


def test_routers_forward_and_others_do_not() -> None:
    with Topology.line(3, subnet=["auto", "auto6"]) as net:
        for name, expected in (("box1", "0"), ("box2", "1"), ("box3", "0")):
            for path in ("ipv4/conf/all/forwarding", "ipv4/conf/eth0/forwarding", "ipv6/conf/all/forwarding"):
                assert run_in(net[name], "cat", f"/proc/sys/net/{path}").strip() == expected
        assert run_in(net["box2"], "cat", "/proc/sys/net/ipv4/conf/eth1/rp_filter").strip() == "0"


# -- what a plan can say --------------------------------------------------------------


def office() -> Topology:
    """Two bridges in a router, a server behind NAT, and an outside that knows no way in."""
    plan = Topology(subnet="10.0.0.0/16")
    plan.add_router("gate", sysctls={"net.ipv4.ip_default_ttl": 99})
    plan.add_bridge("lan", "gate", address="auto", subnet="192.168.7.0/24", ageing_time=60)
    plan.add_bridge("dmz", "gate", device="br-dmz", address="192.168.8.1/24")
    plan.add_namespace("desk")
    plan.add_namespace("web")
    plan.add_namespace("outside")
    plan.add_link("desk", "lan", default_route=True, mac="02:00:00:00:00:07", name="lan0", mtu=1400)
    plan.add_link("web", "dmz")
    plan.add_link("gate", "outside", name="wan", subnet="198.51.100.0/30", default_route=True)
    plan.masquerade("gate", saddr="lan", oif="wan")
    plan.dnat("gate", iif="wan", proto="tcp", dport=8080, to="web:80")
    return plan


def test_an_office_behind_nat() -> None:
    with office() as net:
        assert net.address("gate") == "192.168.7.1"
        assert addresses(net["gate"], "br-dmz") == ["192.168.8.1/24"]
        assert link(net["gate"], "lan")["linkinfo"]["info_data"]["ageing_time"] == 6000
        assert link(net["desk"], "lan0")["address"] == "02:00:00:00:00:07"
        assert link(net["desk"], "lan0")["mtu"] == 1400
        assert default_routes(net["gate"]) == ["198.51.100.2"]
        assert (default_routes(net["desk"]), default_routes(net["web"])) == (["192.168.7.1"], ["192.168.8.1"])
        assert run_in(net["gate"], "cat", "/proc/sys/net/ipv4/ip_default_ttl").strip() == "99"
        text = nft_text(net["gate"])
        assert (
            'oifname "wan" ip saddr 192.168.7.0/24' in text or 'ip saddr 192.168.7.0/24 oifname "wan"' in text
        )
        assert "dnat to 192.168.8.2:80" in text
        assert net["desk"].ping(net.address("outside")).received == 1
        with bound(net["outside"], net.address("outside"), 9) as server:
            assert tcp(net["desk"], net.address("outside"), 9, server) == "198.51.100.1"
        with bound(net["web"], net.address("web"), 80) as server:
            assert tcp(net["outside"], "198.51.100.1", 8080, server) == "198.51.100.2"
            assert tcp(net["desk"], net.address("web"), 80, server) == net.address("desk")
        # The web server's network is not masqueraded, and the outside has no way to it.
        assert net["web"].ping(net.address("outside"), timeout=0.2).received == 0


def test_bridges_in_different_namespaces_are_one_network() -> None:
    plan = Topology()
    plan.add_namespace("rack1")
    plan.add_namespace("rack2")
    plan.add_bridge("top1", "rack1", device="br0", address="auto", subnet="10.7.0.0/24")
    plan.add_bridge("top2", "rack2", device="br0")
    plan.add_bridge("spine")
    plan.add_link("top1", "spine", name="uplink", peer_name="down1")
    plan.add_link("spine", "top2")
    for name, bridge in (("a", "top1"), ("b", "top2")):
        plan.add_namespace(name)
        plan.add_link(bridge, name)
    with plan as net:
        assert net["a"].ping(net.address("b")).received == 1
        assert link(net["rack1"], "uplink")["master"] == "br0"
        assert link(net["rack2"], "to-spine")["master"] == "br0"
        spine = net.bridges["spine"]
        assert [port.name for port in spine.ports] == ["down1", "to-top2"]
        assert spine.link.netns not in net.values()
        assert net.link("top2", "b").name == "b"
        assert net.link("b", "top2").name == "eth0"
        assert net.link("spine", "top1") == net.link("top1", "spine").peer


@pytest.mark.parametrize(
    ("key", "value", "error", "words"),
    [
        ("net.ipv4.conf.eth7.proxy_arp", 1, NotFoundError, "No such file or directory"),
        ("net.ipv4.ip_default_ttl", 999, KernelError, "Invalid argument"),
    ],
)
def test_a_sysctl_that_is_refused_is_named_with_its_namespace(
    key: str, value: int, error: type[KernelError], words: str
) -> None:
    plan = Topology.star(3)
    plan.set_sysctl("box2", key, value)
    with pytest.raises(error) as caught:
        plan.create()
    assert f"cannot set sysctl {key} to '{value}' in namespace 'box2': {words}" in str(caught.value)
    assert caught.value.netns == "namespace 'box2'"


def test_given_routes_and_sysctls_of_devices() -> None:
    plan = Topology(routing=False)
    plan.add_namespace("a")
    plan.add_namespace("b", sysctls={"net.ipv4.conf.eth0.proxy_arp": 1})
    plan.add_bridge("br0", "b", address="10.8.0.1/24")
    plan.add_link("a", "b", address="10.7.0.1/24", peer_address=["10.7.0.2/24", "fd00:7::2/64"])
    plan.add_route("a", "10.9.0.0/16", via="b", metric=50, mtu=1300)
    plan.add_route("a", "10.8.0.0/24", dev="eth0")
    plan.add_route("a", "10.66.0.0/16", type="unreachable")
    plan.add_route("b", "10.9.0.0/16", via="10.8.0.9")
    plan.add_route("b", "fd00:9::/48", via="fd00:7::9")
    with plan as net:
        shown = {route["dst"]: route for route in ip(net["a"], "route", "show")}
        nine = shown["10.9.0.0/16"]
        assert (nine["gateway"], nine["dev"], nine["metric"]) == ("10.7.0.2", "eth0", 50)
        assert nine["metrics"] == [{"mtu": 1300}]
        assert (shown["10.8.0.0/24"]["dev"], shown["10.8.0.0/24"]["scope"]) == ("eth0", "link")
        assert shown["10.66.0.0/16"]["type"] == "unreachable"
        of_b = {
            route["dst"]: route
            for route in [*ip(net["b"], "route", "show"), *ip(net["b"], "-6", "route", "show")]
        }
        assert (of_b["10.9.0.0/16"]["dev"], of_b["fd00:9::/48"]["dev"]) == ("br0", "eth0")
        assert run_in(net["b"], "cat", "/proc/sys/net/ipv4/conf/eth0/proxy_arp").strip() == "1"


def test_namespaces_are_anonymous_unless_named() -> None:
    plan = Topology()
    plan.add_namespace("quiet")
    plan.add_namespace("loud", named=True)
    plan.add_namespace("other", named="lab-other")
    with plan as net:
        listed = sorted(
            json.loads(run_in(net["quiet"], "ip", "-j", "netns", "list")), key=lambda each: each["name"]
        )
        assert [each["name"] for each in listed] == ["lab-other", "loud"]
        assert net["quiet"].name is None
        assert run_in(net["loud"], "ip", "netns", "exec", "lab-other", "ip", "-br", "link").startswith("lo")
    assert place.names() == []


def test_automatic_subnets_are_clear_of_the_current_namespaces_routes(host: Namespace) -> None:
    """In a program of its own, whose namespace it is: without root nobody can change that of this process."""
    with VethPair(host, host, name="vpn0", peer_name="vpn1", address="10.64.0.1/12"):
        host.routes.add("172.16.0.0/13", via="10.64.0.2")
        host.routes.add("0.0.0.0/1", via="10.64.0.2")  # what VPNs have for a default route
        said = place.program(host, AUTOMATIC).split()
    assert said == ["10.80.0.0/24", "10.80.0.1", "fd6e:6574:6b69::1"]


AUTOMATIC = """
from netkit import Topology
with Topology.star(2) as net, Topology.line(3, subnet=["auto", "auto6"]) as line:
    print(net.subnet("lan"), line.address("box1"), line.address("box1", family=6))
"""


# -- the live network -----------------------------------------------------------------


def test_it_is_a_mapping_of_namespaces() -> None:
    with Topology.star(2, subnet="10.7.0.0/24") as net:
        assert isinstance(net, Network)
        assert repr(net) == "<Network of 3 namespaces, 1 bridge, 2 links>"
        assert (len(net), list(net), list(net.keys())) == (
            3,
            ["switch", "box1", "box2"],
            ["switch", "box1", "box2"],
        )
        assert net["box1"] is net.get("box1") is dict(net.items())["box1"]
        assert ("box1" in net, "lan" in net, net.get("lan")) == (True, False, None)
        assert repr(net["box1"]) == "<Namespace 'box1'>"
        with pytest.raises(NotFoundError, match=r"cannot find namespace 'box11'.*Did you mean 'box1'\?"):
            net["box11"]
        with pytest.raises(KeyError, match="There are lan"):
            net.bridges["br"]
        assert isinstance(net.bridges["lan"], Bridge)
        assert (net.address("lan"), net.address("switch"), net.address("box2")) == (
            "10.7.0.1",
            "10.7.0.1",
            "10.7.0.3",
        )
        assert [str(each) for each in net.addresses("box2")] == ["10.7.0.3/24"]
        assert net.subnet("lan") == "10.7.0.0/24"
        with pytest.raises(NotFoundError, match="address of IPv6 of 'box1'"):
            net.address("box1", family=6)
        with pytest.raises(NotFoundError, match=r"Did you mean 'lan'\?"):
            net.subnet("lam")
        assert net.exists
    assert not net.exists
    with pytest.raises(StateError):
        net["box1"]


def test_a_link_is_found_by_its_ends() -> None:
    plan = Topology.star(2)
    plan.add_link("box1", "box2")
    plan.add_link("box1", "switch")
    plan.add_link("box1", "switch")
    with plan as net:
        assert (net.link("box1", "lan").name, net.link("lan", "box1").name) == ("eth0", "box1")
        assert net.link("lan", "box1").netns is net["switch"]
        assert net.link("box2", "box1").peer == net.link("box1", "box2")
        net.link("box1", "lan").down()
        assert net["box2"].ping(net.address("box1"), timeout=0.1).received == 0
        with pytest.raises(NotFoundError, match="find a link of 'box2' with 'switch'"):
            net.link("box2", "switch")
        with pytest.raises(
            SpecError, match=r"have 2 links \(eth2, eth3\): name one, net\['box1'\].links\['eth2'\]"
        ):
            net.link("box1", "switch")


def test_a_plan_is_built_as_often_as_one_likes() -> None:
    plan = Topology.line(3)
    first = plan.create()
    with plan as second, plan.create() as third:
        assert first.snapshot().keys() == second.snapshot().keys()
        assert [each["box1"].ping(each.address("box3")).received for each in (first, second, third)] == [
            1,
            1,
            1,
        ]
        with pytest.raises(StateError, match="create\\(\\) builds another one"), plan:
            pass
    first.delete()
    with pytest.raises(StateError, match="deleted"):
        first.delete()
    assert first.create()["box1"].ping(first.address("box3")).received == 1
    first.delete()


def test_what_is_built_is_the_plan_as_it_was() -> None:
    plan = Topology.star(2)
    with plan as net:
        plan.add_namespace("late")
        assert "late" not in net
        assert net.topology == Topology.star(2)


def test_a_scope_takes_it(host: Namespace) -> None:
    with Scope() as lab:
        net = lab.own(Network(Topology.star(2)))
        assert net["box1"].ping(net.address("lan")).received == 1
        moved = lab.own(Topology.line(2).create())
        assert moved.exists
    assert not net.exists
    assert not moved.exists


def test_async_with() -> None:
    import asyncio

    async def build() -> int:
        async with Topology.line(2) as net:
            return net["box1"].ping(net.address("box2")).received

    assert asyncio.run(build()) == 1


def test_snapshots_show_what_changed_and_keep_nothing_open() -> None:
    with Topology.star(3, subnet="10.7.0.0/24") as net:
        files = len(list(Path("/proc/self/fd").iterdir()))
        before = net.snapshot()
        assert len(list(Path("/proc/self/fd").iterdir())) == files
        net["box1"].routes.add("10.66.0.0/16", type="blackhole")
        after = net.snapshot()
        assert list(before) == ["switch", "box1", "box2", "box3"]
        assert "+ route     blackhole 10.66.0.0/16 proto netkit" in before["box1"].diff(after["box1"])
        assert "10.7.0.1/24" in [str(each.address) for each in after["switch"].addresses]


# -- failure and end ------------------------------------------------------------------


def test_a_taken_name_undoes_everything() -> None:
    plan = Topology()
    plan.add_namespace("first", named=True)
    plan.add_namespace("taken", named=True)
    plan.add_link("first", "taken")
    with Namespace("taken"):
        with pytest.raises(ExistsError, match="taken"):
            plan.create()
        assert place.names() == ["taken"]
    with plan as net:
        assert net["first"].ping(net.address("taken")).received == 1


def test_a_refused_nat_rule_undoes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(NatRule, "_begin_many", refuse)
    net = Network(office())
    with pytest.raises(OSError, match="no"):
        net.create()
    assert not net.exists
    monkeypatch.undo()
    with net:
        assert net["desk"].ping(net.address("outside")).received == 1


def test_an_interrupt_while_building_undoes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VethPair, "_wait_usable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Topology.star(4).create()


def test_anonymous_namespaces_cannot_outlive_the_process() -> None:
    with Topology.star(2) as net:
        with pytest.raises(StateError, match="switch, box1, box2 have no name"):
            net.detach()
        assert net["box1"].ping(net.address("box2")).received == 1


def test_a_named_network_is_left_in_place() -> None:
    plan = Topology.line(2, named=True)
    if place.ROOTLESS:
        with plan as net, pytest.raises(UnsupportedError, match="ends with the process that made it"):
            net.detach()
        assert place.names() == []
        return
    net = plan.create().detach()
    assert place.names() == ["box1", "box2"]
    with Namespace.open("box1") as box:
        assert box.ping(net.address("box2")).received == 1
    for name in ("box1", "box2"):
        net[name].adopt().delete()


def test_nothing_is_kept_of_a_network_that_is_gone() -> None:
    import weakref

    from netkit._lifecycle import ROOT

    held = len(ROOT._held)
    with Topology.star(2) as net:
        kept = weakref.ref(net["box1"])
    del net
    gc.collect()
    assert kept() is None
    assert len(ROOT._held) == held


def test_a_server_and_a_client_as_in_the_documentation() -> None:
    plan = Topology()
    server, client = plan.add_namespace("server"), plan.add_namespace("client")
    plan.add_link(client, server)
    with plan as net, bound(net[server], net.address(server), 80) as listening:
        assert tcp(net[client], net.address(server), 80, listening) == net.address(client)
        with net[client].socket() as sock, pytest.raises(ConnectionRefusedError):
            sock.connect((net.address(server), 81))
        assert listening.family == socket.AF_INET
