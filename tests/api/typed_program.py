"""A user's program with every public name and the types that checkers are to see; `make lint` checks it.

It is not run: `test_exports.py` sees that no name is missing, and what it does is tested elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket
import subprocess
from pathlib import Path
from typing import assert_type

import netkit
from netkit import (
    AccessError,
    Address,
    BackendError,
    Bridge,
    BridgeInfo,
    BusyError,
    Capture,
    CommandError,
    ExistsError,
    FdbEntry,
    KernelError,
    Leftover,
    Link,
    LinkInfo,
    LinkStats,
    Namespace,
    NatRule,
    NatSpec,
    Neighbour,
    NetkitError,
    Network,
    NextHop,
    NotFoundError,
    Outside,
    Packet,
    Picture,
    PingResult,
    PortInfo,
    PortMapping,
    Process,
    ProtocolError,
    PublishedPort,
    Resource,
    Route,
    RouteTable,
    Rule,
    Scope,
    Snapshot,
    SpecError,
    StateError,
    TeardownError,
    Topology,
    UnsupportedError,
    VethPair,
    WaitTimeout,
    errors,
    gc,
    shutdown,
    wait_for,
    wait_for_async,
)
from netkit.testing import FakeKernel

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def namespaces(pid: int) -> None:
    with Namespace("red") as red, Namespace() as blue, Namespace.current() as here:
        assert_type(red, Namespace)
        assert_type((red.name, red.path, red.fileno(), here.exists), tuple[str | None, str, int, bool])
        assert_type((red.links["lo"], red.link("lo"), red.links.get("x")), tuple[Link, Link, Link | None])
        assert_type([link.name for link in red.links], list[str])
        assert_type(red.links.read(), tuple[LinkInfo, ...])
        done: subprocess.CompletedProcess[str] = red.run(["ip"], text=True, capture_output=True)
        running: Process = red.popen(["cat"])
        assert_type((done.stdout, running.wait(), running.pid), tuple[str, int, int])
        assert_type((red.call(max, 1, 2), red.call(socket.gethostname)), tuple[int, str])
        assert_type(red.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket)
        with red.entered():
            ping = red.ping("127.0.0.1", count=2, interval=0.1, timeout=1, size=10)
        assert_type(ping, PingResult)
        assert_type((ping.sent, ping.loss, ping.avg), tuple[int, float, float | None])
        assert_type(wait_for(lambda: red.links.get("eth0")), Link | None)
        assert_type(red.sysctl["net.ipv4.ip_forward"], str)
        red.sysctl["net.ipv4.ip_forward"] = 1
        with red.sysctl.override("net.ipv4.ip_forward", 1) as override:
            assert_type(override.exists, bool)
        assert_type(red.snapshot(), Snapshot)
        assert_type(red.snapshot().diff(blue.snapshot()), list[str])
        assert_type(red.picture(), Picture)
        assert_type(Picture.of(red, blue).to_svg(), str)
        assert_type(red.connect(blue, name="a", peer_name="b", address="10.0.0.1/24"), VethPair)
        outside = red.connect_outside(publish=["80"])
        assert_type((outside, outside.published), tuple[Outside, tuple[PublishedPort, ...]])
    with Namespace.from_pid(pid), Namespace.open(Path("/run/netns/x")), Namespace.from_fd(3) as box:
        assert_type(box, Namespace)


def links(red: Namespace, blue: Namespace) -> None:
    addresses = ["10.0.0.1/24", ipaddress.ip_interface("fd00::1/64")]
    with VethPair(red, blue, name="a", peer_name="b", address=addresses) as veth:
        near, far = veth
        assert_type((near, veth.peer), tuple[Link, Link])
        assert_type(near.set(mtu=1400, alias="x").up().down(), Link)
        assert_type((near.mtu, near.mac, near.state, near.master), tuple[int, str | None, str, Link | None])
        assert_type(near.addresses.add("10.0.0.2/24"), Address)
        assert_type([str(each) for each in far.addresses], list[str])
        assert_type((far.stats, far.stats.rx_packets), tuple[LinkStats, int])
        assert_type(veth.detach().adopt(), VethPair)
    with Bridge(red, "br0", stp=True, forward_delay=4) as bridge:
        assert_type((bridge.read(), bridge.read().priority), tuple[BridgeInfo, int])
        assert_type((bridge.stp, bridge.forward_delay, bridge.mac), tuple[bool, float, str | None])
        port = bridge.connect(blue, name="p0", hairpin=True).link.port
        assert_type(port, PortInfo | None)
        assert_type((list(bridge.fdb), bridge.ports), tuple[list[FdbEntry], list[Link]])
        assert_type(bridge.add_port(near, cost=5), Link)
        assert_type(Bridge.open(red, "br0"), Bridge)


def routes(red: Namespace, blue: Namespace, near: Link) -> None:
    with RouteTable(red, 100) as table:
        route = table.add("default", via="10.0.0.1")
        table.add("10.0.0.0/8", nexthops=[NextHop(via="10.0.0.1", weight=2)])
        assert_type(
            (blue.routes.add(route), table.get("10.0.0.1"), list(table)), tuple[Route, Route, list[Route]]
        )
        assert_type((route.via, route.dev, route.metric), tuple[IPAddress | None, str | None, int | None])
        if not isinstance(route.dst, str):
            assert_type(route.dst, IPNetwork)
    with red.rules as rules, red.neighbours as neighbours:
        assert_type(rules.add(src="10.0.0.0/8", table=100), Rule)
        assert_type(neighbours.add("10.0.0.9", mac="02:00:00:00:00:01", dev=near), Neighbour)


def nat(red: Namespace) -> None:
    rule = NatRule.dnat(red, proto="tcp", dport=80, to="10.0.0.2:80")
    assert_type((rule, rule.spec), tuple[NatRule, NatSpec])
    with rule:
        assert_type((rule.counters.packets, rule.backend), tuple[int, str | None])
    with red.publish(8080, to="10.0.0.2:80") as mapping:
        assert_type(mapping, PortMapping)
    with red.publish(8080, to="10.0.0.2:80", open_forward=True), Bridge(red, "br0", internal=True):
        assert_type(
            [(entry.rule, entry.ours, entry.by) for entry in red.nat], list[tuple[str, bool, str | None]]
        )
    with red.nat.watch() as watch:
        assert_type((len(red.nat.verify()), len(red.nat.ensure()), watch.restored), tuple[int, int, int])
    spread = NatRule.dnat(red, to=["10.0.0.2", "10.0.0.3"], spread="inc", persistent=True)
    prefix = NatRule.snat(red, saddr="10.0.0.0/24", to="192.0.2.0/24", prefix=True)
    left_out = NatRule.masquerade(red, daddr=["!= 10.0.0.0/8", "!= 224.0.0.0/4"], fully_random=True)
    proxied = NatRule.tproxy(red, iif="lan", proto="udp", dport=53, to="127.0.0.1:5353", mark=1, family=4)
    assert_type([spread, prefix, left_out, proxied], list[NatRule])


def many() -> None:
    with Scope() as lab:
        red, blue = lab.own(Namespace(), Namespace())
        assert_type(lab.own(VethPair(red, blue, name="a", peer_name="b")), VethPair)
        one, two, three = lab.own(Bridge(red, "br0"), RouteTable(red, 7), NatRule.masquerade(red, oif="a"))
        assert_type((one, two, three), tuple[Bridge, RouteTable, NatRule])
        resource: Resource = one
        assert resource.exists
    with Topology.star(3) as net:
        assert_type((net, net["box1"]), tuple[Network, Namespace])
    assert_type(gc(), list[Leftover])
    shutdown()


async def later() -> None:
    async with Scope() as lab, Namespace() as ns, Bridge(ns, "br0") as bridge:
        assert_type((lab, ns, bridge), tuple[Scope, Namespace, Bridge])
        assert_type(await ns.call_async(max, 1, 2), int)
        assert_type(await ns.ping_async("127.0.0.1"), PingResult)
        done: subprocess.CompletedProcess[bytes] = await ns.run_async(["true"])
        assert_type((done.returncode, await wait_for_async(lambda: ns.name)), tuple[int, str | None])
        with ns.links["lo"].capture("icmp") as caught, ns.capture(snaplen=96) as everything:
            assert_type((caught, everything), tuple[Capture, Capture])
            packet: Packet = caught.wait_for(lambda each: each.icmp and each.icmp.type == 8)
        assert_type((packet.time, packet.raw, caught.dropped), tuple[float, bytes, int])
        assert_type([each.payload async for each in everything], list[bytes])


def refused(ns: Namespace) -> list[str]:
    try:
        ns.links["x"]
    except (AccessError, BusyError, ExistsError, NotFoundError, UnsupportedError) as problem:
        assert_type((problem.operation, problem.errno, problem.extack), tuple[str, int | None, str | None])
        assert_type((problem.attribute, problem.netns), tuple[str | None, str | None])
        kernel: KernelError = problem
        return [kernel.operation]
    except (BackendError, ProtocolError, SpecError, StateError, WaitTimeout) as problem:
        base: NetkitError = problem
        return [str(base)]
    except CommandError as problem:
        return [str(problem.returncode)]
    except TeardownError as group:
        return [note for each in group.exceptions for note in each.__notes__]
    return [netkit.__version__, errors.NetkitError.__name__]


def simulated() -> None:
    with FakeKernel() as kernel:
        assert_type(kernel.namespace("red"), Namespace)
