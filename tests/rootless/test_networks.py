"""Live namespaces in an ordinary user's ordinary process, with packets: each test is a program of his."""

from __future__ import annotations

import os

from tests.harness.ordinary import BECOME, Ordinary
from tests.rootless.programs import program

PAIR = """
pair = VethPair(a, b, name="e", peer_name="e", address=["10.0.0.1/24", "fd00::1/64"],
                peer_address=["10.0.0.2/24", "fd00::2/64"])
"""


def test_F28_two_namespaces_and_a_cable(nobody: Ordinary) -> None:
    text = f"""
with open("/proc/self/status") as file:
    print(os.geteuid(), file.read().split("CapEff:")[1].split()[0])
with Namespace() as a, Namespace() as b:
    {PAIR.replace(chr(10), chr(10) + "    ")}
    with pair:
        print(a.ping("10.0.0.2").loss, b.ping("fd00::1").loss)
        a.routes.add("10.9.0.0/16", via="10.0.0.2")
        print([str(route.dst) for route in a.routes if route.via])
        print(len(a.snapshot().links), pair.peer.netns is b)
        done = a.run(["ip", "-br", "link", "show", "e"], capture_output=True, text=True, check=True)
        print(done.stdout.split()[:2])
"""
    lines = program(nobody, text)
    uid = BECOME.get("user", os.geteuid())
    assert lines == [f"{uid} 0000000000000000", "0.0 0.0", "['10.9.0.0/16']", "2 True", "['e@if1001', 'UP']"]


def test_sysctls(nobody: Ordinary) -> None:
    text = """
with Namespace() as a, Namespace() as b:
    a.sysctl["net.ipv4.ip_forward"] = 1
    print(a.sysctl["net.ipv4.ip_forward"], b.sysctl["net.ipv4.ip_forward"])
    with b.sysctl.override("net.ipv4.conf.all.forwarding", 1):
        print(b.sysctl["net.ipv4.conf.lo.forwarding"])
    print(b.sysctl["net.ipv4.conf.lo.forwarding"], "net.ipv4.nothing" in a.sysctl)
    try:
        a.sysctl["net.ipv4.nothing"]
    except NotFoundError as problem:
        print(problem)
"""
    lines = program(nobody, text)
    assert lines[:3] == ["1 0", "1", "0 False"]
    where = "in an anonymous namespace"
    assert lines[3].startswith(
        f"cannot read sysctl net.ipv4.nothing {where}: No such file or directory (ENOENT)"
    )


def test_masquerade_and_dnat_with_packets(nobody: Ordinary) -> None:
    text = """
with Scope() as lab:
    outside, host, box = lab.own(Namespace()), lab.own(Namespace()), lab.own(Namespace())
    lab.own(VethPair(host, outside, name="eth0", peer_name="eth0", address="198.51.100.1/24",
                     peer_address="198.51.100.2/24"))
    bridge = lab.own(Bridge(host, "br0", address="172.18.0.1/24"))
    bridge.connect(box, name="veth0", peer_name="eth0", peer_address="172.18.0.2/24", default_route=True)
    lab.own(host.sysctl.override("net.ipv4.conf.all.forwarding", 1))
    lab.own(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="eth0"))
    print(box.ping("198.51.100.2").loss)
    rule = lab.own(NatRule.dnat(host, proto="tcp", dport=80, to="172.18.0.2:80"))
    server, client = box.socket(), outside.socket()
    server.bind(("172.18.0.2", 80))
    server.listen()
    client.connect(("198.51.100.1", 80))
    taken, peer = server.accept()
    print(peer[0], rule.backend, rule.counters[0])
    for each in (server, client, taken):
        each.close()
"""
    assert program(nobody, text) == ["0.0", "198.51.100.2 nftables 1"]


def test_names_are_those_inside(nobody: Ordinary) -> None:
    text = """
with Namespace("red") as red:
    with Namespace.open("red") as again:
        print(again.fileno() == red.fileno(), os.path.samestat(os.stat(red.path), os.fstat(red.fileno())))
    print(red.run(["ip", "netns"], capture_output=True, text=True).stdout.split())
    print(red.run(["ip", "netns", "exec", "red", "ip", "-br", "link"], stdout=subprocess.PIPE).returncode)
    try:
        Namespace("red").create()
    except ExistsError as problem:
        print(problem.operation)
try:
    Namespace.open("red")
except NotFoundError:
    print("gone")
with Namespace("red"):
    print("again")
"""
    lines = program(nobody, text)
    assert lines == ["True True", "['red']", "0", "create namespace 'red'", "gone", "again"]


def test_a_topology(nobody: Ordinary) -> None:
    text = """
with Topology.star(120) as net:
    print(net["box3"].ping(net.address("box117")).loss)
"""
    assert program(nobody, text) == ["0.0"]
