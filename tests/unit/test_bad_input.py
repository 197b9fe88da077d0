"""Bad combinations, and the shape of messages: clear errors before any system call, and nothing changes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netkit import Bridge, Namespace, NatRule, NextHop, RouteTable, SpecError, Topology, VethPair
from netkit._spec import names
from tests.unit.watched_lab import Case, Lab, lab, owned, refusal, unwatched

__all__ = ["lab"]  # the fixture


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
    "own a string": (lambda lab: owned("br0"), ["owns netkit's resources", "'br0'"]),
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
    with unwatched():
        sent = len(lab.kernel.requests)
        hop = NextHop(dev=lab.veth.peer)
        del lab.kernel.requests[sent:]
    return hop


async def _coroutine() -> None:
    pass


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
    "own": lambda lab, value: owned(value),
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
