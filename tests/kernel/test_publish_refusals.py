"""What publish() refuses, by both backends: each before anything changed."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from netkit import Namespace, SpecError
from tests.harness.publishing import backend, ruleset
from tests.harness.two_boxes import World, sysctls, world

__all__ = ["backend", "world"]  # the fixtures

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize(
    ("port", "keywords", "message"),
    [
        (0, {"to": "172.18.0.2:80"}, "port 0 is out of range: 1 to 65535"),
        (70000, {"to": "172.18.0.2:80"}, "port 70000 is out of range: 1 to 65535"),
        (True, {"to": "172.18.0.2:80"}, "port True is a bool"),
        (80, {"to": "172.18.0.2:0"}, "out of range"),
        (80, {"to": "172.18.0.2:70000"}, "out of range|not a number"),
        ("80-90", {"to": "172.18.0.2:80-85"}, "port 80-90 is 11 ports, but the target has 6: .*give 80-90"),
        ("80-90", {"to": "172.18.0.2:80"}, "11 ports, but the target has 1"),
        (80, {"to": "172.18.0.2-172.18.0.9:80"}, "several addresses"),
        (80, {"to": "br+"}, "br\\+"),
        (80, {"to": "eth*"}, "eth\\*"),
        (80, {"to": "127.0.0.1:80"}, "loopback address.*NatRule.redirect"),
        (80, {"to": "[fe80::1]:80"}, "link-local address, and NAT names no link"),
        (80, {"to": "172.18.0.255:80"}, r"'172\.18\.0\.255' is the broadcast address of 172\.18\.0\.0/24"),
        (80, {"to": "172.18.0.0:80"}, r"'172\.18\.0\.0' is the network address of 172\.18\.0\.0/24"),
        (80, {"to": "172.18.0.2:80", "host_ip": "::"}, "host_ip '::' is IPv6, but to '172.18.0.2' is IPv4"),
        (80, {"to": "[fd18::2]:80", "host_ip": "0.0.0.0"}, "IPv4, but to 'fd18::2' is IPv6"),
        (80, {"to": "172.18.0.2:80", "host_ip": "224.0.0.1"}, "no address of a host"),
        (80, {"to": "172.18.0.2:80", "host_ip": "fe80::1"}, "link-local address, and a published port"),
        (80, {"to": "172.18.0.2:80", "host_ip": "fe80::1%br0"}, "names a device: write 'fe80::1'$"),
        (80, {"to": "172.18.0.2:80", "host_ip": "::ffff:172.18.0.1"}, "IPv6: write '172.18.0.1'"),
        (80, {"to": None}, "to None is no target: give 'ADDRESS:PORT', .*a Namespace, a Link such as"),
        (80, {"to": ["172.18.0.2:80"]}, "to .* is no target"),
        (80, {"to": "172.18.0.2:80-81"}, "port 80 is 1 port, but the target has 2"),
        (80, {"to": "172.18.0.2:80", "proto": [["tcp"]]}, r"proto \['tcp'\] has no ports"),
        (80, {"to": "172.18.0.2:80", "proto": b"tcp"}, "proto b'tcp' is no protocol"),
        (80, {"to": "172.18.0.2:80", "proto": "icmp"}, "proto 'icmp' has no ports"),
        (80, {"to": "172.18.0.2:80", "proto": []}, "proto is empty"),
        (80, {"to": "172.18.0.2:80", "proto": 6}, "proto 6 is no protocol"),
        (80, {"to": "172.18.0.2:80", "hairpin": 1}, "hairpin 1 is an int"),
        (80, {"to": "172.18.0.2:80", "reserve": False, "relay": True}, "relay=True with reserve=False"),
        (80, {"to": "192.168.9.9:80"}, "in no network that .* is connected to: .*172.18.0.1/24"),
        (80, {"to": "[fd99::2]:80"}, "in no network that .* is connected to: .*fd18::1/64"),
    ],
)
def test_bad_input_changes_nothing(
    world: World, port: object, keywords: dict[str, object], message: str
) -> None:
    before = sysctls(world.host)
    with pytest.raises(SpecError, match=message):
        world.host.publish(port, **keywords).create()  # type: ignore[arg-type]
    assert ruleset(world.host) == ""
    assert sysctls(world.host) == before


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        (8080, "ports 8080 is an int: give {8080: '172.18.0.2:80', 8081: box}, or pairs"),
        (None, "ports None is a NoneType"),
        ("8080", "ports '8080' is a str"),
        ([8080], "ports: 8080 is no pair of a port and its target"),
        ([(8080,)], r"ports: \(8080,\) is no pair"),
        ([{8080: "172.18.0.2:80"}], "ports: {8080: '172.18.0.2:80'} is no pair"),
        ({8080: None}, "to None is no target"),
        ({8080: "172.18.0.2:1", "8080": "172.18.0.2:2"}, "tcp port 8080 is given twice: .*:1 and"),
        ([(8080, "172.18.0.2:1"), ("8079-8081", "172.18.0.2")], "tcp port 8080 is given twice"),
        ([(8080, "172.18.0.2:1"), (8080, "172.18.0.2:1")], "tcp port 8080 is given twice"),
    ],
)
def test_bad_input_of_many_changes_nothing(world: World, ports: Any, message: str) -> None:
    before = sysctls(world.host)
    for reserve in (True, False):
        with pytest.raises(SpecError, match=message):
            world.host.publish_many(ports, reserve=reserve)
    with pytest.raises(SpecError, match="tcp port 8080 is given twice"):
        world.host.publish_many([(8080, world.box), (8080, "172.18.0.2:80")]).create()
    assert ruleset(world.host) == ""
    assert sysctls(world.host) == before


def test_protocols_are_read_once(world: World) -> None:
    pairs = [(8080, world.box), (8081, "172.18.0.2:80")]
    with world.host.publish_many(pairs, proto=iter(["tcp", "udp"])) as mapping:
        assert [spec.protos for spec in mapping.specs] == [("tcp", "udp")] * 2


def test_of_several_addresses_the_one_that_is_connected_is_taken(world: World) -> None:
    with Namespace() as box:
        world.bridge.connect(
            box, name="port9", peer_address=["192.168.7.7/24", "172.18.0.9/24", "fd77::7/64"]
        )
        with world.host.publish(80, to=box) as mapping:
            assert str(mapping.specs[0]) == "tcp 80 -> 172.18.0.9:80"
        with pytest.raises(SpecError, match=r"fd77::7.* in no network that .* is connected to"):
            world.host.publish(80, to=box, host_ip="::").create()


def test_a_target_without_an_address(world: World) -> None:
    with Namespace() as empty, pytest.raises(SpecError, match="no global address of IPv4 or IPv6"):
        world.host.publish(80, to=empty).create()
    with Namespace() as empty, pytest.raises(SpecError, match="no global address of IPv4 that"):
        world.host.publish(80, to=empty, host_ip="0.0.0.0").create()


def test_a_borrowed_namespace_that_does_not_forward(world: World) -> None:
    with Namespace.from_fd(world.host.fileno()) as same:
        assert same.publish(80, to="172.18.0.2") is not None
    program = (
        "from netkit import Namespace, StateError\n"
        "try: Namespace.current().publish(8080, to='172.18.0.2:80').create()\n"
        "except StateError as problem: print(problem)"
    )
    done = world.host.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "does not forward IPv4" in done.stdout
    assert "ns.sysctl.override('net.ipv4.ip_forward', 1)" in done.stdout
    assert ruleset(world.host) == ""
