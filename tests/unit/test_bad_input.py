"""Bad input: a clear error before any system call, and nothing changes.

Each case is a call and the words its message must have: the value, the rule it breaks, the right call.
A simulated kernel counts what is sent, an audit hook what else the interpreter asks of the system.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from netkit import (
    Bridge,
    Link,
    Namespace,
    NatRule,
    NextHop,
    NotFoundError,
    RouteTable,
    Scope,
    SpecError,
    StateError,
    Topology,
    VethPair,
)
from netkit._spec import names
from netkit.testing import FakeKernel


@dataclass
class Lab:
    """What the cases are called with: two namespaces, a bridge `br0`, a veth `eth0` in both."""

    kernel: FakeKernel
    host: Namespace
    box: Namespace
    bridge: Bridge
    veth: VethPair
    eth0: Link


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with FakeKernel() as kernel:
        host, box = kernel.namespace("host"), kernel.namespace("box")
        bridge = Bridge(host, "br0", address="10.1.0.1/24").create()
        veth = VethPair(
            host, box, name="eth0", peer_name="eth0", address="10.0.0.1/24", peer_address="10.0.0.2/24"
        ).create()
        yield Lab(kernel, host, box, bridge, veth, veth.link)


_seen: list[str] | None = None
_SYSTEM = ("open", "socket.", "os.", "subprocess.", "fcntl.", "ctypes.dlopen", "shutil.")


def _audit(event: str, args: tuple[object, ...]) -> None:
    if _seen is not None and event.startswith(_SYSTEM) and not _is_reading_code(event, args):
        _seen.append(f"{event} {args}")


def _is_reading_code(event: str, args: tuple[object, ...]) -> bool:
    """A module imported on first use, or iproute2's names of tables."""
    path = str(args[0]) if args else ""
    return (
        event in ("os.listdir", "os.scandir")
        or "__pycache__" in path  # in a fresh tree it is compiled, too
        or (event == "open" and (path.endswith((".py", ".pyc", ".so")) or "iproute2" in path))
    )


sys.addaudithook(_audit)


def refusal(lab: Lab, call: Callable[[Lab], object], kind: type[Exception]) -> str:
    """The message of the refusal; fails if anything was asked of the kernel or changed."""
    global _seen
    state, sent = lab.kernel.state(), len(lab.kernel.requests)
    _seen = []
    try:
        with pytest.raises(kind) as caught:
            call(lab)
        asked, _seen = _seen, None
    finally:
        _seen = None
    assert type(caught.value) is kind
    assert asked == []
    assert lab.kernel.requests[sent:] == []
    assert lab.kernel.state() == state
    return str(caught.value)


def test_the_watch_sees_requests_files_and_sockets(lab: Lab) -> None:
    """Without this, the tests below could pass with their eyes shut."""

    def reads(lab: Lab) -> None:
        raise SpecError(f"mtu {lab.eth0.mtu}")

    def opens(lab: Lab) -> None:
        with open("/dev/null"):
            raise SpecError("opened")

    def connects(lab: Lab) -> None:
        socket.socket(socket.AF_UNIX).close()
        raise SpecError("opened")

    for does in (reads, opens, connects):
        with pytest.raises(AssertionError):
            refusal(lab, does, SpecError)
    assert refusal(lab, lambda lab: names.interface_name(""), SpecError) == "name '' is empty"


Case = tuple[Callable[[Lab], Any], list[str]]


# -- names ------------------------------------------------------------------------------

NAMES: list[tuple[object, str]] = [
    ("", "is empty"),
    ("a" * 16, "has 16 bytes, 15 is the most"),
    ("é" * 8, "has 16 bytes, 15 is the most"),
    ("a/b", "contains '/'"),
    ("a b", "contains a space"),
    ("a\0b", "contains NUL"),
    ("a\nb", "contains a newline"),
    (".", "is a directory"),
    ("..", "is a directory"),
    ("br%d", "contains '%'"),
    ("a:b", "contains ':'"),
    (None, "is a NoneType"),
    (7, "is an int"),
    (True, "is a bool"),
    (b"eth0", "is a bytes"),
]

NAMED: dict[str, Callable[[Lab, Any], object]] = {
    "veth": lambda lab, name: VethPair(lab.host, lab.box, name=name, peer_name="b"),
    "veth's peer": lambda lab, name: VethPair(lab.host, lab.box, name="a", peer_name=name),
    "bridge": lambda lab, name: Bridge(lab.host, name),
    "Bridge.open": lambda lab, name: Bridge.open(lab.host, name),
    "rename": lambda lab, name: lab.eth0.rename(name),
    "bridge.connect": lambda lab, name: lab.bridge.connect(lab.box, name=name),
    "bridge.connect's peer": lambda lab, name: lab.bridge.connect(lab.box, name="v", peer_name=name),
    "ns.connect": lambda lab, name: lab.host.connect(lab.box, name=name, peer_name="b"),
    "neighbour's dev": lambda lab, name: lab.host.neighbours.add(
        "10.0.0.9", mac="02:00:00:00:00:01", dev=name
    ),
    "fdb's dev": lambda lab, name: lab.bridge.fdb.add("02:00:00:00:00:01", dev=name),
}


@pytest.mark.parametrize(("value", "rule"), NAMES, ids=[repr(value) for value, _ in NAMES])
@pytest.mark.parametrize("where", NAMED)
def test_F41_device_names(lab: Lab, where: str, value: Any, rule: str) -> None:
    message = refusal(lab, lambda lab: NAMED[where](lab, value), SpecError)
    if where.endswith("dev") and not isinstance(value, str):
        assert "is no device: give its name or a Link" in message
    else:
        assert rule in message
    assert repr(value) in message


OPTIONAL_DEVICES: dict[str, Callable[[Lab, Any], object]] = {
    "route's dev": lambda lab, name: lab.host.routes.add("10.9.0.0/16", dev=name),
    "next hop's dev": lambda lab, name: NextHop(dev=name),
    "rule's iif": lambda lab, name: lab.host.rules.add(iif=name, table=100),
    "rule's oif": lambda lab, name: lab.host.rules.add(oif=name, table=100),
    "routes.get's oif": lambda lab, name: lab.host.routes.get("10.0.0.1", oif=name),
    "masquerade's oif": lambda lab, name: NatRule.masquerade(lab.host, oif=name),
    "dnat's iif": lambda lab, name: NatRule.dnat(lab.host, iif=name, to="10.0.0.2"),
}


@pytest.mark.parametrize(("value", "rule"), [each for each in NAMES if isinstance(each[0], str)], ids=repr)
@pytest.mark.parametrize("where", OPTIONAL_DEVICES)
def test_names_of_optional_devices(lab: Lab, where: str, value: str, rule: str) -> None:
    assert rule in refusal(lab, lambda lab: OPTIONAL_DEVICES[where](lab, value), SpecError)


@pytest.mark.parametrize("where", OPTIONAL_DEVICES)
def test_a_device_is_a_name_or_a_link(lab: Lab, where: str) -> None:
    message = refusal(lab, lambda lab: OPTIONAL_DEVICES[where](lab, 3), SpecError)
    assert "3 is no device: give its name or a Link" in message


LONG = "a" * 128


@pytest.mark.parametrize(
    ("value", "rule"),
    [("", "is empty"), (LONG, "has 128 bytes, 127 is the most"), ("a/b", "contains '/'"), ("a%", "'%'")],
)
def test_alternative_names(lab: Lab, value: str, rule: str) -> None:
    assert rule in refusal(lab, lambda lab: lab.eth0.altnames.add(value), SpecError)
    assert rule in refusal(lab, lambda lab: lab.host.links[value], SpecError)
    assert rule in refusal(lab, lambda lab: lab.host.link(value), SpecError)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "is empty"),
        (".", "begins with '.'"),
        ("..", "begins with '.'"),
        ("../../etc/passwd", "contains '/'"),
        ("/tmp/x", "contains '/'"),
        ("a/b", "contains '/'"),
        (".hidden", "begins with '.'"),
        ("-rf", "begins with '-'"),
        ("a b", "contains a space"),
        ("a\0b", "contains NUL"),
        ("a\nb", "contains a newline"),
        ("x" * 256, "has 256 bytes, 255 is the most"),
        (5, "is an int"),
        (b"red", "is a bytes"),
    ],
)
def test_namespace_names(lab: Lab, value: Any, rule: str) -> None:
    assert rule in refusal(lab, lambda lab: Namespace(value), SpecError)
    assert rule in refusal(lab, lambda lab: Namespace(value, persistent=True), SpecError)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "give a str or a Path"),
        (".", "is no name in /run/netns"),
        ("..", "is no name in /run/netns"),
        ("a\0b", "without NUL"),
        ("\ud800", "cannot be written in UTF-8"),
        ("/run/\ud800", "cannot be written in UTF-8"),
    ],
)
def test_opening_by_a_bad_name(lab: Lab, value: str, rule: str) -> None:
    message = refusal(lab, lambda lab: Namespace.open(value), SpecError)
    assert (repr(value) in message, rule in message) == (True, True), message


def test_opening_by_a_name_that_no_file_can_have(lab: Lab) -> None:
    assert "has 256 bytes, 255 is the most" in refusal(lab, lambda lab: Namespace.open("x" * 256), SpecError)


# -- addresses, networks, MACs ---------------------------------------------------------------

ADDRESSES: list[tuple[object, list[str]]] = [
    ("10.0.0.1", ["no prefix length", "10.0.0.1/24", "10.0.0.1/32"]),
    ("fd00::1", ["no prefix length", "fd00::1/64", "fd00::1/128"]),
    ("10.0.0.256/24", ["'10.0.0.256/24'", "no IP address"]),
    ("10.0.0.1/33", ["'10.0.0.1/33'", "a prefix length is 0 to 32"]),
    ("fd00::1/129", ["'fd00::1/129'", "a prefix length is 0 to 128"]),
    ("10.0.0.1/24,10.0.0.2/24", ["give several as a list"]),
    ("10.0.0.1/-1", ["'10.0.0.1/-1'"]),
    ("fd00::1/129", ["'fd00::1/129'"]),
    ("10.0.0/24", ["'10.0.0/24'"]),
    ("010.0.0.1/24", ["leading zero"]),
    ("banana", ["'banana'"]),
    ("", ["''"]),
    ("10.0.0.1/24 ", ["'10.0.0.1/24 '"]),
    ("fe80::1%eth0/64", ["names a device"]),
    ("0.0.0.0/0", ["unspecified"]),
    ("224.0.0.1/4", ["multicast"]),
    ("ff02::1/64", ["multicast"]),
    (ipaddress.ip_network("10.0.0.0/24"), ["is a network", "'10.0.0.1/24'"]),
    (True, ["True", "bool"]),
    (1.5, ["1.5", "float"]),
    (b"10.0.0.1/24", ["bytes"]),
]

ADDRESSED: dict[str, Callable[[Lab, Any], object]] = {
    "veth": lambda lab, value: VethPair(lab.host, lab.box, name="a", peer_name="b", address=value),
    "veth's peer": lambda lab, value: VethPair(
        lab.host, lab.box, name="a", peer_name="b", peer_address=["10.9.9.9/8", value]
    ),
    "bridge": lambda lab, value: Bridge(lab.host, "b", address=value),
    "bridge.connect": lambda lab, value: lab.bridge.connect(lab.box, name="v", peer_address=value),
    "ns.connect": lambda lab, value: lab.host.connect(lab.box, name="v", peer_name="w", address=[value]),
    "addresses.add": lambda lab, value: lab.eth0.addresses.add(value),
    "addresses.replace": lambda lab, value: lab.eth0.addresses.replace(value),
    "addresses.remove": lambda lab, value: lab.eth0.addresses.remove(value),
}


@pytest.mark.parametrize(("value", "words"), ADDRESSES, ids=[repr(value) for value, _ in ADDRESSES])
@pytest.mark.parametrize("where", ADDRESSED)
def test_addresses(lab: Lab, where: str, value: Any, words: list[str]) -> None:
    message = refusal(lab, lambda lab: ADDRESSED[where](lab, value), SpecError)
    assert all(word in message for word in words), message


def test_F46_an_address_given_twice(lab: Lab) -> None:
    twice = ["10.0.0.1/24", "10.0.0.1/24"]
    assert "given twice" in refusal(lab, lambda lab: Bridge(lab.host, "b", address=twice), SpecError)


NETWORKS: list[tuple[object, list[str]]] = [
    ("10.9.0.1/16", ["bits set behind its prefix length", "'10.9.0.0/16'"]),
    ("fd00::1/64", ["bits set behind its prefix length", "'fd00::/64'"]),
    ("10.9.0.0/33", ["'10.9.0.0/33'", "a prefix length is 0 to 32"]),
    ("banana", ["'banana'"]),
    ("", ["''"]),
    (1.5, ["float"]),
    (True, ["bool"]),
]

NETWORKED: dict[str, Callable[[Lab, Any], object]] = {
    "routes.add": lambda lab, value: lab.host.routes.add(value, type="blackhole"),
    "routes.replace": lambda lab, value: lab.host.routes.replace(value, type="blackhole"),
    "routes.delete": lambda lab, value: lab.host.routes.delete(value),
    "routes.filter": lambda lab, value: lab.host.routes.filter(dst=value),
    "rules.add src": lambda lab, value: lab.host.rules.add(src=value, table=100),
    "rules.add dst": lambda lab, value: lab.host.rules.add(dst=value, table=100),
    "rules.delete": lambda lab, value: lab.host.rules.delete(dst=value),
    "masquerade": lambda lab, value: NatRule.masquerade(lab.host, saddr=value),
    "dnat": lambda lab, value: NatRule.dnat(lab.host, daddr=value, to="10.0.0.2"),
}


@pytest.mark.parametrize(("value", "words"), NETWORKS, ids=[repr(value) for value, _ in NETWORKS])
@pytest.mark.parametrize("where", NETWORKED)
def test_networks(lab: Lab, where: str, value: Any, words: list[str]) -> None:
    message = refusal(lab, lambda lab: NETWORKED[where](lab, value), SpecError)
    assert all(word in message for word in words), message


MACS = [
    *["", "banana", "02:00:00:00:00", "02:00:00:00:00:0g", "01:00:00:00:00:01", "00:00:00:00:00:00"],
    *[7, None],
]
WITH_MAC: dict[str, Callable[[Lab, Any], object]] = {
    "veth": lambda lab, value: VethPair(lab.host, lab.box, name="a", peer_name="b", mac=value),
    "veth's peer": lambda lab, value: VethPair(lab.host, lab.box, name="a", peer_name="b", peer_mac=value),
    "bridge": lambda lab, value: Bridge(lab.host, "b", mac=value),
    "link.set": lambda lab, value: lab.eth0.set(mac=value),
    "neighbours.add": lambda lab, value: lab.host.neighbours.add("10.0.0.9", mac=value, dev="eth0"),
    "fdb.add": lambda lab, value: lab.bridge.fdb.add(value, dev="eth0"),
}


NEEDS_MAC = ("neighbours.add", "fdb.add")  # elsewhere None is the default


@pytest.mark.parametrize(
    ("where", "value"),
    [(where, value) for where in WITH_MAC for value in MACS if value is not None or where in NEEDS_MAC],
)
def test_macs(lab: Lab, where: str, value: Any) -> None:
    assert repr(value) in refusal(lab, lambda lab: WITH_MAC[where](lab, value), SpecError)


# -- numbers ---------------------------------------------------------------------------------

NUMBERS: dict[str, tuple[Callable[[Lab, Any], object], int, int]] = {
    "veth mtu": (lambda lab, n: VethPair(lab.host, lab.box, name="a", peer_name="b", mtu=n), 68, 65535),
    "veth peer_mtu": (
        lambda lab, n: VethPair(lab.host, lab.box, name="a", peer_name="b", peer_mtu=n), 68, 65535,
    ),
    "veth txqlen": (
        lambda lab, n: VethPair(lab.host, lab.box, name="a", peer_name="b", txqlen=n), 0, 2**31 - 1,
    ),
    "veth queues": (lambda lab, n: VethPair(lab.host, lab.box, name="a", peer_name="b", queues=n), 1, 4096),
    "bridge mtu": (lambda lab, n: Bridge(lab.host, "b", mtu=n), 68, 65535),
    "link mtu": (lambda lab, n: lab.eth0.set(mtu=n), 68, 65535),
    "link txqlen": (lambda lab, n: lab.eth0.set(txqlen=n), 0, 2**31 - 1),
    "link group": (lambda lab, n: lab.eth0.set(group=n), 0, 2**32 - 1),
    "port cost": (lambda lab, n: lab.bridge.add_port(lab.eth0, cost=n), 1, 65535),
    "port priority": (lambda lab, n: lab.bridge.add_port(lab.eth0, priority=n), 0, 63),
    "connect cost": (lambda lab, n: lab.bridge.connect(lab.box, name="v", cost=n), 1, 65535),
    "fdb vlan": (lambda lab, n: lab.bridge.fdb.add("02:00:00:00:00:01", dev="eth0", vlan=n), 1, 4094),
    "route metric": (lambda lab, n: lab.host.routes.add("10.9.0.0/16", dev="eth0", metric=n), 0, 2**32 - 1),
    "route mtu": (lambda lab, n: lab.host.routes.add("10.9.0.0/16", dev="eth0", mtu=n), 68, 65535),
    "route mtu v6": (lambda lab, n: lab.host.routes.add("fd09::/48", dev="eth0", mtu=n), 1280, 65535),
    "route proto": (lambda lab, n: lab.host.routes.add("10.9.0.0/16", dev="eth0", proto=n), 0, 255),
    "route scope": (lambda lab, n: lab.host.routes.add("10.9.0.0/16", dev="eth0", scope=n), 0, 255),
    "table": (lambda lab, n: RouteTable(lab.host, n), 1, 2**32 - 1),
    "weight": (lambda lab, n: NextHop(via="10.0.0.2", weight=n), 1, 256),
    "rule priority": (lambda lab, n: lab.host.rules.add(priority=n, table=100), 0, 2**32 - 1),
    "rule table": (lambda lab, n: lab.host.rules.add(table=n), 1, 2**32 - 1),
    "rule fwmark": (lambda lab, n: lab.host.rules.add(fwmark=n, table=100), 0, 2**32 - 1),
    "nat dport": (
        lambda lab, n: NatRule.dnat(lab.host, proto="tcp", dport=n, to="10.0.0.2"), 1, 65535,
    ),
    "nat sport": (lambda lab, n: NatRule.masquerade(lab.host, proto="udp", sport=n), 1, 65535),
    "nat to": (lambda lab, n: NatRule.redirect(lab.host, proto="tcp", dport=80, to=n), 1, 65535),
    "nat target's port": (
        lambda lab, n: NatRule.dnat(lab.host, proto="tcp", dport=80, to=("10.0.0.2", n)), 1, 65535,
    ),
    "nat proto": (lambda lab, n: NatRule.masquerade(lab.host, proto=n), 1, 255),
    "pid": (lambda lab, n: Namespace.from_pid(n), 1, 2**31 - 1),
    "get's mark": (lambda lab, n: lab.host.routes.get("10.0.0.2", mark=n), 0, 2**32 - 1),
    "ping count": (lambda lab, n: lab.host.ping("10.0.0.2", count=n), 1, 1_000_000),
    "ping size": (lambda lab, n: lab.host.ping("10.0.0.2", size=n), 0, 65_000),
}  # fmt: skip


@pytest.mark.parametrize("where", NUMBERS)
def test_numbers_out_of_range(lab: Lab, where: str) -> None:
    call, low, high = NUMBERS[where]
    for value in (low - 1, high + 1, -(2**40)):
        message = refusal(lab, lambda lab, value=value: call(lab, value), SpecError)
        assert str(value) in message
        assert str(high) in message or "no table" in message


@pytest.mark.parametrize("where", NUMBERS)
def test_bools_and_floats_are_no_numbers(lab: Lab, where: str) -> None:
    call, *_ = NUMBERS[where]
    for value in (True, 80.0, b"80"):
        message = refusal(lab, lambda lab, value=value: call(lab, value), SpecError)
        assert repr(value) in message
        assert type(value).__name__ in message


@pytest.mark.parametrize("where", ["veth mtu", "link mtu", "weight", "rule priority", "nat dport", "table"])
def test_words_are_no_numbers(lab: Lab, where: str) -> None:
    assert "'big'" in refusal(lab, lambda lab: NUMBERS[where][0](lab, "big"), SpecError)


TIMERS: dict[str, tuple[float, float]] = {
    "forward_delay": (2, 30),
    "hello_time": (1, 10),
    "max_age": (6, 40),
}


@pytest.mark.parametrize("timer", TIMERS)
def test_timers(lab: Lab, timer: str) -> None:
    low, high = TIMERS[timer]
    for value in (low - 0.5, high + 0.5, -1, float("nan"), float("inf"), True, "4"):
        arguments: dict[str, Any] = {"stp": True, timer: value}
        message = refusal(lab, lambda lab, arguments=arguments: Bridge(lab.host, "b", **arguments), SpecError)
        assert timer in message
        assert repr(value) in message


SWITCHES: dict[str, Callable[[Lab, Any], object]] = {
    "veth up": lambda lab, value: VethPair(lab.host, lab.box, name="a", peer_name="b", up=value),
    "bridge up": lambda lab, value: Bridge(lab.host, "b", up=value),
    "bridge stp": lambda lab, value: Bridge(lab.host, "b", stp=value),
    "bridge mcast_snooping": lambda lab, value: Bridge(lab.host, "b", mcast_snooping=value),
    "bridge vlan_filtering": lambda lab, value: Bridge(lab.host, "b", vlan_filtering=value),
    "port hairpin": lambda lab, value: lab.bridge.add_port(lab.eth0, hairpin=value),
    "port isolated": lambda lab, value: lab.bridge.add_port(lab.eth0, isolated=value),
    "port learning": lambda lab, value: lab.bridge.add_port(lab.eth0, learning=value),
    "port flood": lambda lab, value: lab.bridge.add_port(lab.eth0, flood=value),
    "connect hairpin": lambda lab, value: lab.bridge.connect(lab.box, name="v", hairpin=value),
    "connect default_route": lambda lab, value: lab.bridge.connect(
        lab.box, name="v", peer_address="10.1.0.2/24", default_route=value
    ),
    "route onlink": lambda lab, value: lab.host.routes.add(
        "10.9.0.0/16", via="10.0.0.2", dev="eth0", onlink=value
    ),
    "rule invert": lambda lab, value: lab.host.rules.add(table=100, invert=value),
    "nat local": lambda lab, value: NatRule.dnat(lab.host, to="10.0.0.2", local=value),
    "persistent": lambda lab, value: Namespace("red", persistent=value),
}


@pytest.mark.parametrize("where", SWITCHES)
def test_switches_are_true_or_false(lab: Lab, where: str) -> None:
    for value in ("off", 1, 0.0):
        message = refusal(lab, lambda lab, value=value: SWITCHES[where](lab, value), SpecError)
        assert "give True or False" in message
        assert repr(value) in message


# -- combinations -------------------------------------------------------------------------------

COMBINATIONS: dict[str, Case] = {
    "both ends called alike": (
        lambda lab: VethPair(lab.host, lab.host, name="a", peer_name="a"),
        ["'a'", "same namespace", "peer_name"],
    ),
    "a name where a namespace is meant": (
        lambda lab: VethPair("red", lab.box, name="a", peer_name="b"),  # type: ignore[arg-type]
        ["'red'", "Namespace.open('red')"],
    ),
    "a bridge in no namespace": (
        lambda lab: Bridge(None, "b"),  # type: ignore[arg-type]
        ["takes a Namespace", "None"],
    ),
    "a rule in no namespace": (
        lambda lab: NatRule.masquerade("red", oif="eth0"),  # type: ignore[arg-type]
        ["Namespace.open('red')"],
    ),
    "persistent without a name": (
        lambda lab: Namespace(persistent=True), ["persistent=True needs a name"],
    ),
    "set nothing": (lambda lab: lab.eth0.set(), ["nothing to set"]),
    "an alias too long": (lambda lab: lab.eth0.set(alias="x" * 256), ["255 is the most"]),
    "an alias with NUL": (lambda lab: lab.eth0.set(alias="x\0y"), ["NUL"]),
    "a port that is a name": (lambda lab: lab.bridge.add_port("eth0"), ["takes a Link", "'eth0'"]),  # type: ignore[arg-type]
    "a port of another namespace": (
        lambda lab: lab.bridge.add_port(lab.veth.peer), ["another namespace"],
    ),
    "a port to remove of another namespace": (
        lambda lab: lab.bridge.remove_port(lab.veth.peer), ["another namespace"],
    ),
    "route dev of another namespace": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", dev=lab.veth.peer), ["dev", "another namespace"],
    ),
    "next hop of another namespace": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", nexthops=[_Hop(lab)]), ["another namespace"],
    ),
    "delete dev of another namespace": (
        lambda lab: lab.host.routes.delete("10.9.0.0/16", dev=lab.veth.peer), ["another namespace"],
    ),
    "rule iif of another namespace": (
        lambda lab: lab.host.rules.add(iif=lab.veth.peer, table=100), ["iif", "another namespace"],
    ),
    "masquerade oif of another namespace": (
        lambda lab: NatRule.masquerade(lab.host, oif=lab.veth.peer), ["oif", "another namespace"],
    ),
    "dnat iif of another namespace": (
        lambda lab: NatRule.dnat(lab.host, iif=lab.veth.peer, to="10.0.0.2"), ["iif", "another namespace"],
    ),
    "neighbour of another namespace": (
        lambda lab: lab.host.neighbours.add("10.0.0.9", mac="02:00:00:00:00:01", dev=lab.veth.peer),
        ["another namespace"],
    ),
    "fdb of another namespace": (
        lambda lab: lab.bridge.fdb.add("02:00:00:00:00:01", dev=lab.veth.peer), ["another namespace"],
    ),
    "route v4 by v6": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", via="fd00::1"), ["IPv6", "IPv4", "choose one family"],
    ),
    "route with a src of the other family": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", dev="eth0", src="fd00::1"), ["choose one family"],
    ),
    "route v4 by next hops v6": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", nexthops=[NextHop(via="fd00::1")]), ["choose one"],
    ),
    "default of a family that via is not of": (
        lambda lab: lab.host.routes.add("default", via="10.0.0.2", family=6), ["choose one family"],
    ),
    "a family that is none": (
        lambda lab: lab.host.routes.add("default", dev="eth0", family=5), ["family 5 is neither 4 nor 6"],  # type: ignore[arg-type]
    ),
    "a route that leads nowhere": (
        lambda lab: lab.host.routes.add("10.9.0.0/16"), ["needs via=, dev= or nexthops=", "blackhole"],
    ),
    "a blackhole that leads somewhere": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", via="10.0.0.2", type="blackhole"), ["leads nowhere"],
    ),
    "nexthops and via": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", via="10.0.0.2", nexthops=[NextHop(dev="eth0")]),
        ["nexthops= with via="],
    ),
    "no nexthops": (lambda lab: lab.host.routes.add("10.9.0.0/16", nexthops=[]), ["empty"]),
    "nexthops that are none": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", nexthops=["10.0.0.2"]), ["NextHop(via="],  # type: ignore[list-item]
    ),
    "nexthops that is no list": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", nexthops=5), ["NextHop(via="],  # type: ignore[arg-type]
    ),
    "a next hop to nowhere": (lambda lab: NextHop(), ["via=, dev= or both"]),
    "onlink without dev": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", via="10.0.0.2", onlink=True), ["needs via= and dev="],
    ),
    "via with a prefix": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", via="10.0.0.2/24"), ["'10.0.0.2'"],
    ),
    "via that is no address": (lambda lab: lab.host.routes.add("default", via="router"), ["'router'"]),
    "via of nobody": (lambda lab: lab.host.routes.add("default", via="0.0.0.0"), ["unspecified"]),
    "a type of route": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", type="drop"), ["'drop'", "blackhole"],
    ),
    "a scope": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", dev="eth0", scope="galaxy"), ["'galaxy'", "link"],
    ),
    "a protocol": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", dev="eth0", proto="nonsense"), ["'nonsense'"],
    ),
    "a table's name": (lambda lab: RouteTable(lab.host, "no such"), ["'no such'", "rt_tables"]),
    "table 0": (lambda lab: RouteTable(lab.host, 0), ["no table", "254 is main"]),
    "routes.filter by a type": (
        lambda lab: lab.host.routes.filter(type="blackhol"), ["'blackhol'", "blackhole"],
    ),
    "routes.get of a network": (
        lambda lab: lab.host.routes.get("10.0.0.0/24"), ["'10.0.0.0/24'"],
    ),
    "routes.get of a word": (lambda lab: lab.host.routes.get("somewhere"), ["'somewhere'"]),
    "rule v4 to v6": (
        lambda lab: lab.host.rules.add(src="10.0.0.0/8", dst="fd00::/8", table=100), ["choose one family"],
    ),
    "delete no rule": (
        lambda lab: lab.host.rules.delete("from all"), ["'from all'", "takes a Rule"],  # type: ignore[arg-type]
    ),
    "a descriptor that is none": (lambda lab: Namespace.from_fd(2**40), ["1099511627776", "2147483647"]),
    "veth's MTU too small for IPv6": (
        lambda lab: VethPair(lab.host, lab.box, name="a", peer_name="b", mtu=1000, peer_address="fd00::1/64"),
        ["mtu 1000", "fd00::1/64", "1280"],
    ),
    "its peer's": (
        lambda lab: VethPair(
            lab.host, lab.box, name="a", peer_name="b", peer_mtu=1279, peer_address=["fd00::1/64"]
        ),
        ["peer_mtu 1279", "1280"],
    ),
    "bridge's MTU too small for IPv6": (
        lambda lab: Bridge(lab.host, "b", mtu=1000, address="fd00::1/64"), ["mtu 1000", "1280"],
    ),
    "topology's MTU too small for IPv6": (
        lambda lab: Topology.line(2, subnet="fd00::/48", mtu=1000).check(), ["links[0].mtu 1000", "1280"],
    ),
    "call what runs later": (lambda lab: lab.host.call(_coroutine), ["_coroutine", "run nothing inside"]),
    "rule action": (lambda lab: lab.host.rules.add(action="drop"), ["'drop'", "prohibit"]),
    "rule mark": (lambda lab: lab.host.rules.add(fwmark="one", table=100), ["'one'", "0x1/0xff"]),
    "rule mask alone": (lambda lab: lab.host.rules.add(fwmask=1, table=100), ["fwmark="]),
    "delete by nothing": (lambda lab: lab.host.rules.delete(), ["needs at least one of"]),
    "neighbour multicast": (
        lambda lab: lab.host.neighbours.add("224.0.0.1", mac="02:00:00:00:00:01", dev="eth0"), ["multicast"],
    ),
    "neighbour with a prefix": (
        lambda lab: lab.host.neighbours.add("10.0.0.9/24", mac="02:00:00:00:00:01", dev="eth0"),
        ["'10.0.0.9'"],
    ),
    "label for v6": (lambda lab: lab.eth0.addresses.add("fd00::1/64", label="eth0:x"), ["label", "IPv4"]),
    "label too long": (
        lambda lab: lab.eth0.addresses.add("10.0.0.9/24", label="eth0:" + "x" * 11), ["15 is the most"],
    ),
    "address scope": (lambda lab: lab.eth0.addresses.add("10.0.0.9/24", scope="galaxy"), ["'galaxy'"]),
    "ping a word": (lambda lab: lab.host.ping("somewhere"), ["'somewhere'"]),
    "ping at a negative interval": (lambda lab: lab.host.ping("10.0.0.2", interval=-1), ["interval"]),
    "ping for ever": (lambda lab: lab.host.ping("10.0.0.2", timeout=float("nan")), ["timeout"]),
    "call nothing": (lambda lab: lab.host.call("hostname"), ["takes a function"]),  # type: ignore[arg-type]
    "own a string": (lambda lab: _owned("br0"), ["owns netkit's resources", "'br0'"]),
    "routes of socket's family": (
        lambda lab: lab.host.routes.filter(family=socket.AF_INET6),  # type: ignore[arg-type]
        ["family", "neither 4 nor 6"],
    ),
    "rules of socket's family": (
        lambda lab: lab.host.rules.filter(family=socket.AF_INET),  # type: ignore[arg-type]
        ["family", "neither 4 nor 6"],
    ),
    "nodad in words": (
        lambda lab: lab.eth0.addresses.add("fd00::9/64", nodad="no"),  # type: ignore[arg-type]
        ["nodad 'no' is a str", "True or False"],
    ),
    "a namespace where a device is meant": (
        lambda lab: NatRule.masquerade(lab.host, oif=Namespace("red")),  # type: ignore[arg-type]
        ["oif <Namespace 'red' (new)> is no device", "a Link"],
    ),
    "a path where a device is meant": (
        lambda lab: lab.host.routes.add("10.9.0.0/16", dev=Path("/dev/eth0")),  # type: ignore[arg-type]
        ["is no device: give its name or a Link"],
    ),
    "publish to nothing": (lambda lab: lab.host.publish(80, to=None), ["to None is no target"]),  # type: ignore[arg-type]
    "publish to an empty pair": (lambda lab: lab.host.publish(80, to=()), ["to () is no target"]),  # type: ignore[arg-type]
    "publish a list of lists": (
        lambda lab: lab.host.publish(80, to="10.0.0.2", proto=[["tcp"]]),  # type: ignore[list-item]
        ["proto ['tcp'] has no ports"],
    ),
    "publish a number": (lambda lab: lab.host.publish_many(80), ["ports 80 is an int", "{8080: "]),  # type: ignore[arg-type]
    "publish a text": (lambda lab: lab.host.publish_many("80"), ["ports '80' is a str"]),  # type: ignore[arg-type]
    "publish no pairs": (
        lambda lab: lab.host.publish_many([(8080, "10.0.0.2", 80)]),  # type: ignore[list-item]
        ["(8080, '10.0.0.2', 80)", "no pair"],
    ),
}  # fmt: skip


def _Hop(lab: Lab) -> NextHop:
    """A next hop by a Link, built without looking the name up again."""
    global _seen
    asked, _seen = _seen, None
    sent = len(lab.kernel.requests)
    hop = NextHop(dev=lab.veth.peer)
    del lab.kernel.requests[sent:]
    _seen = asked
    return hop


async def _coroutine() -> None:
    pass


def _owned(value: Any) -> object:
    with Scope() as scope:
        return scope.own(value)


@pytest.mark.parametrize("case", COMBINATIONS)
def test_combinations(lab: Lab, case: str) -> None:
    call, words = COMBINATIONS[case]
    message = refusal(lab, call, SpecError)
    assert all(word in message for word in words), message


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


OF_ANY_TYPE: dict[str, Callable[[Lab, Any], object]] = {
    "ns": lambda lab, value: Bridge(value, "b"),
    "peer_ns": lambda lab, value: VethPair(lab.host, value, name="a", peer_name="b"),
    "master": lambda lab, value: VethPair(lab.host, lab.box, name="a", peer_name="b", master=value),
    "add_port": lambda lab, value: lab.bridge.add_port(value),
    "remove_port": lambda lab, value: lab.bridge.remove_port(value),
    "move": lambda lab, value: lab.eth0.move(value),
    "own": lambda lab, value: _owned(value),
    "call": lambda lab, value: lab.host.call(value),
    "open": lambda lab, value: Namespace.open(value),
    "from_pid": lambda lab, value: Namespace.from_pid(value),
    "from_fd": lambda lab, value: Namespace.from_fd(value),
    "backend": lambda lab, value: NatRule.masquerade(lab.host, backend=value),
    "dev": lambda lab, value: lab.host.routes.add("10.9.0.0/16", dev=value),
    "route": lambda lab, value: lab.host.routes.add(value),
    "rule": lambda lab, value: lab.host.rules.delete(value),
}


@pytest.mark.parametrize("where", OF_ANY_TYPE)
def test_a_message_is_short_and_there_whatever_was_given(lab: Lab, where: str) -> None:
    """Even for what has no repr, or one of a megabyte: it would fill the log, and hide the words."""
    for value in (Unprintable(), ["x" * 1_000_000]):
        message = refusal(lab, lambda lab, value=value: OF_ANY_TYPE[where](lab, value), SpecError)
        assert len(message) < 500, where


# -- NAT --------------------------------------------------------------------------------------------

NAT: dict[str, Case] = {
    "dnat without a target": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport=80), ["dnat without a target", "to='ADDRESS"],
    ),
    "snat without a target": (lambda lab: NatRule.snat(lab.host, to=None), ["snat without a target"]),  # type: ignore[arg-type]
    "dnat to a port": (lambda lab: NatRule.dnat(lab.host, to=8080), ["8080", "redirect(to=PORT)"]),
    "dnat to :port": (lambda lab: NatRule.dnat(lab.host, to=":8080"), ["':8080'", "no address"]),
    "redirect to an address": (
        lambda lab: NatRule.redirect(lab.host, proto="tcp", dport=80, to="10.0.0.2"), ["dnat(to=...)"],
    ),
    "masquerade to an address": (
        lambda lab: NatRule.masquerade(lab.host, proto="tcp", to="10.0.0.2"), ["snat(to=...)"],
    ),
    "dport without proto": (
        lambda lab: NatRule.dnat(lab.host, dport=80, to="10.0.0.2"), ["dport", "proto='tcp'"],
    ),
    "sport without proto": (lambda lab: NatRule.masquerade(lab.host, sport=80), ["sport", "proto='tcp'"]),
    "port in to without proto": (
        lambda lab: NatRule.dnat(lab.host, to="10.0.0.2:80"), ["a port in to", "proto='tcp'"],
    ),
    "ports of icmp": (
        lambda lab: NatRule.dnat(lab.host, proto="icmp", dport=80, to="10.0.0.2"), ["'icmp'", "proto='tcp'"],
    ),
    "ports of what is not tcp": (
        lambda lab: NatRule.masquerade(lab.host, proto="!= tcp", dport=80), ["'!= tcp'"],
    ),
    "an unknown protocol": (lambda lab: NatRule.masquerade(lab.host, proto="tpc"), ["'tpc'", "tcp"]),
    "v4 to v6": (
        lambda lab: NatRule.dnat(lab.host, daddr="10.0.0.1", to="fd00::2"), ["choose one family"],
    ),
    "saddr v4, daddr v6": (
        lambda lab: NatRule.masquerade(lab.host, saddr="10.0.0.0/8", daddr="fd00::/8"), ["choose one family"],
    ),
    "icmpv6 between v4": (
        lambda lab: NatRule.masquerade(lab.host, saddr="10.0.0.0/8", proto="icmpv6"), ["proto='icmp'"],
    ),
    "a target that is no address": (lambda lab: NatRule.dnat(lab.host, to="web"), ["'web'"]),
    "a target with a prefix": (lambda lab: NatRule.dnat(lab.host, to="10.0.0.0/24"), ["10.0.0.0"]),
    "a target that is multicast": (lambda lab: NatRule.dnat(lab.host, to="224.0.0.1"), ["multicast"]),
    "a target that is nobody": (lambda lab: NatRule.dnat(lab.host, to="0.0.0.0"), ["unspecified"]),
    "a range backwards": (
        lambda lab: NatRule.dnat(lab.host, to="10.0.0.9-10.0.0.2"), ["backwards", "10.0.0.2-10.0.0.9"],
    ),
    "a range of two families": (lambda lab: NatRule.dnat(lab.host, to="10.0.0.9-fd00::1"), ["mixes"]),
    "ports backwards": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport="90-80", to="10.0.0.2"), ["backwards", "80-90"],
    ),
    "ranges of different widths": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport="80-89", to="10.0.0.2:100-104"), ["10", "5"],
    ),
    "a list of ports": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport=[80, 443], to="10.0.0.2"),  # type: ignore[arg-type]
        ["dport [80, 443] is a list", "several rules"],
    ),
    "a target's port out of range": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", to="10.0.0.2:65536"),
        ["'10.0.0.2:65536'", "1 to 65535"],
    ),
    "a port of words": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", dport="http", to="10.0.0.2"), ["'http'", "65535"],
    ),
    "three in a tuple": (
        lambda lab: NatRule.dnat(lab.host, proto="tcp", to=("10.0.0.2", 80, 81)), ["(address, port)"],  # type: ignore[arg-type]
    ),
    "oif of dnat": (lambda lab: NatRule.redirect(lab.host, iif="!=br0"), ["'!= '"]),
    "local with iif": (
        lambda lab: NatRule.dnat(lab.host, iif="eth0", local=True, to="10.0.0.2"), ["iif= with local=True"],
    ),
    "a pattern of devices": (lambda lab: NatRule.masquerade(lab.host, oif="eth*"), ["'eth*'", "one name"]),
    "a backend": (
        lambda lab: NatRule.masquerade(lab.host, backend="ipfw"), ["'ipfw'", "'nftables', 'iptables'"],  # type: ignore[arg-type]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NAT)
def test_nat(lab: Lab, case: str) -> None:
    call, words = NAT[case]
    message = refusal(lab, call, SpecError)
    assert all(word in message for word in words), message


# -- unknown keywords are Python's own TypeError -----------------------------------------------------------

UNKNOWN: dict[str, Callable[[Lab], object]] = {
    "Namespace": lambda lab: Namespace("red", colour="red"),  # type: ignore[call-arg]
    "VethPair": lambda lab: VethPair(lab.host, lab.box, name="a", peer_name="b", colour="red"),  # type: ignore[call-arg]
    "Bridge": lambda lab: Bridge(lab.host, "b", colour="red"),  # type: ignore[call-arg]
    "RouteTable": lambda lab: RouteTable(lab.host, colour="red"),  # type: ignore[call-arg]
    "masquerade": lambda lab: NatRule.masquerade(lab.host, colour="red"),  # type: ignore[call-arg]
    "snat": lambda lab: NatRule.snat(lab.host, to="10.0.0.1", colour="red"),  # type: ignore[call-arg]
    "dnat": lambda lab: NatRule.dnat(lab.host, to="10.0.0.1", colour="red"),  # type: ignore[call-arg]
    "redirect": lambda lab: NatRule.redirect(lab.host, colour="red"),  # type: ignore[call-arg]
    "add_port": lambda lab: lab.bridge.add_port(lab.eth0, colour="red"),  # type: ignore[call-arg]
    "bridge.connect": lambda lab: lab.bridge.connect(lab.box, name="v", colour="red"),  # type: ignore[call-arg]
    "ns.connect": lambda lab: lab.host.connect(lab.box, name="v", peer_name="w", colour="red"),  # type: ignore[call-arg]
    "link.set": lambda lab: lab.eth0.set(colour="red"),  # type: ignore[call-arg]
    "routes.add": lambda lab: lab.host.routes.add("default", colour="red"),  # type: ignore[call-arg]
    "rules.add": lambda lab: lab.host.rules.add(colour="red"),  # type: ignore[call-arg]
    "addresses.add": lambda lab: lab.eth0.addresses.add("10.0.0.1/24", colour="red"),  # type: ignore[call-arg]
}


@pytest.mark.parametrize("where", UNKNOWN)
def test_F20_unknown_keywords(lab: Lab, where: str) -> None:
    message = refusal(lab, UNKNOWN[where], TypeError)
    assert "unexpected keyword argument 'colour'" in message


# -- before create, after delete, twice ---------------------------------------------------------------------

RESOURCES: dict[str, Callable[[Lab], Any]] = {
    "namespace": lambda lab: Namespace(),
    "veth": lambda lab: VethPair(lab.host, lab.box, name="a", peer_name="b"),
    "bridge": lambda lab: Bridge(lab.host, "b"),
    "nat": lambda lab: NatRule.masquerade(lab.host, oif="eth0"),
}

USES: dict[str, dict[str, Callable[[Any], object]]] = {
    "namespace": {
        "links": lambda ns: len(ns.links),
        "link": lambda ns: ns.links["lo"],
        "routes": lambda ns: list(ns.routes),
        "rules": lambda ns: list(ns.rules),
        "neighbours": lambda ns: list(ns.neighbours),
        "ping": lambda ns: ns.ping("127.0.0.1"),
        "run": lambda ns: ns.run(["true"]),
        "popen": lambda ns: ns.popen(["true"]),
        "call": lambda ns: ns.call(int),
        "socket": lambda ns: ns.socket(),
        "entered": lambda ns: ns.entered().__enter__(),
        "sysctl": lambda ns: ns.sysctl["net.ipv4.ip_forward"],
        "fileno": lambda ns: ns.fileno(),
        "path": lambda ns: ns.path,
        "snapshot": lambda ns: ns.snapshot(),
    },
    "veth": {"link": lambda veth: veth.link, "peer": lambda veth: veth.peer, "unpack": list},
    "bridge": {
        "link": lambda bridge: bridge.link,
        "ports": lambda bridge: bridge.ports,
        "fdb": lambda bridge: list(bridge.fdb),
        "add_port": lambda bridge: bridge.add_port(None),
        "connect": lambda bridge: bridge.connect(None, name="v"),
    },
    "nat": {"counters": lambda rule: rule.counters},
}


@pytest.mark.parametrize(("kind", "use"), [(kind, use) for kind in USES for use in USES[kind]])
def test_used_before_create(lab: Lab, kind: str, use: str) -> None:
    resource = RESOURCES[kind](lab)
    message = refusal(lab, lambda lab: USES[kind][use](resource), StateError)
    assert "not created yet (use `with`, or create())" in message


@pytest.mark.parametrize(
    ("kind", "use"), [(kind, use) for kind in USES for use in USES[kind] if kind != "nat"]
)
def test_F19_used_after_delete(lab: Lab, kind: str, use: str) -> None:
    resource = RESOURCES[kind](lab).create()
    resource.delete()
    message = refusal(lab, lambda lab: USES[kind][use](resource), StateError)
    assert "is deleted" in message


@pytest.mark.parametrize("kind", RESOURCES)
def test_verbs_before_create(lab: Lab, kind: str) -> None:
    resource = RESOURCES[kind](lab)
    for verb in ("delete", "detach"):
        assert "not created yet" in refusal(lab, lambda lab, verb=verb: getattr(resource, verb)(), StateError)
    assert resource.exists is False


@pytest.mark.parametrize("kind", [kind for kind in RESOURCES if kind != "nat"])
def test_verbs_twice(lab: Lab, kind: str) -> None:
    resource = RESOURCES[kind](lab).create()
    assert "created already" in refusal(lab, lambda lab: resource.create(), StateError)
    resource.delete()
    for verb in ("delete", "detach"):
        assert "deleted" in refusal(lab, lambda lab, verb=verb: getattr(resource, verb)(), StateError)
    assert resource.exists is False


@pytest.mark.parametrize(
    ("kind", "problem"),
    [("namespace", StateError), ("veth", NotFoundError), ("bridge", NotFoundError)],
)
def test_adopt_where_nothing_is(lab: Lab, kind: str, problem: type[Exception]) -> None:
    """It looks for what the description says; nothing tells an anonymous namespace from others."""
    resource = RESOURCES[kind](lab)
    for _ in ("before create", "after delete"):
        before = lab.kernel.state()
        with pytest.raises(problem):
            resource.adopt()
        assert lab.kernel.state() == before
        resource.create().delete()


def test_resources_in_a_namespace_that_is_not_created(lab: Lab) -> None:
    empty = Namespace()
    for make in (
        lambda lab: VethPair(empty, lab.box, name="a", peer_name="b").create(),
        lambda lab: VethPair(lab.box, empty, name="a", peer_name="b").create(),
        lambda lab: Bridge(empty, "b").create(),
        lambda lab: Bridge.open(empty, "b"),
        lambda lab: NatRule.masquerade(empty).create(),
        lambda lab: RouteTable(empty).__enter__(),
        lambda lab: list(RouteTable(empty)),
        lambda lab: lab.host.connect(empty, name="a", peer_name="b"),
        lambda lab: lab.bridge.connect(empty, name="a"),
        lambda lab: lab.eth0.move(empty),
    ):
        assert "not created yet" in refusal(lab, make, StateError)


def test_owners_verbs_on_what_is_borrowed(lab: Lab) -> None:
    bridge = Bridge.open(lab.host, "br0")
    for verb in ("delete", "detach", "create"):
        message = refusal(lab, lambda lab, verb=verb: getattr(bridge, verb)(), StateError)
        assert "adopt() takes ownership" in message
    for verb in ("delete", "create"):
        assert "borrowed" in refusal(lab, lambda lab, verb=verb: getattr(lab.host, verb)(), StateError)
    assert "borrowed" in refusal(lab, lambda lab: _owned(lab.host), StateError)
    assert "borrowed" in refusal(lab, lambda lab: _owned(bridge), StateError)


def test_scopes_out_of_their_block(lab: Lab) -> None:
    scope = Scope()
    make = RESOURCES["bridge"]
    assert "not entered yet" in refusal(lab, lambda lab: scope.own(make(lab)), StateError)
    with scope:
        assert "entered already" in refusal(lab, lambda lab: scope.__enter__(), StateError)
    assert "closed" in refusal(lab, lambda lab: scope.own(make(lab)), StateError)


def test_route_tables_that_are_closed(lab: Lab) -> None:
    with RouteTable(lab.host, 100) as table:
        pass
    for use in (lambda lab: table.add("10.9.0.0/16", type="blackhole"), lambda lab: table.__enter__()):
        assert "closed" in refusal(lab, use, StateError)
