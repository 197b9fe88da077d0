"""Writing a plan: names, ends, values, and what is refused before anything could be made."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

import pytest

from netkit import SpecError, Topology


def plan(*names: str) -> Topology:
    """A plan with these namespaces, and with a bridge for each name that begins with ``br``."""
    topology = Topology()
    for name in names:
        if name.startswith("br"):
            topology.add_bridge(name)
        else:
            topology.add_namespace(name)
    return topology


# -- what it keeps --------------------------------------------------------------------


def test_it_says_what_it_has() -> None:
    topology = plan("a", "b", "br")
    topology.add_link("a", "br", default_route=False)
    assert repr(topology) == "<Topology of 2 namespaces, 1 bridge, 1 link>"
    assert (list(topology.namespaces), list(topology.bridges)) == (["a", "b"], ["br"])
    assert topology.links[0].ends[0].at == "a"
    assert (topology.subnet, topology.routing) == (("auto",), True)


def test_adding_returns_the_name() -> None:
    topology = Topology()
    assert topology.add_namespace("a") == "a"
    assert topology.add_router("r") == "r"
    assert topology.add_bridge("br") == "br"
    assert [each.forwarding for each in topology.namespaces.values()] == [False, True]


def test_two_plans_are_equal_when_they_say_the_same() -> None:
    assert plan("a", "b") == plan("b", "a")
    assert plan("a") != plan("b")
    assert plan("a") != Topology(subnet=None)
    assert plan("a").__eq__("a") is NotImplemented
    with pytest.raises(TypeError, match="unhashable"):
        hash(plan("a"))


def test_values_are_frozen_and_what_is_read_cannot_be_written() -> None:
    topology = plan("a", "b")
    topology.add_link("a", "b")
    with pytest.raises(AttributeError, match="frozen"):
        topology.links[0].mtu = 1400
    with pytest.raises(TypeError):
        topology.namespaces["c"] = topology.namespaces["a"]  # type: ignore[index]


def test_a_copy_goes_its_own_way() -> None:
    first = plan("a", "b")
    second = copy.copy(first)
    second.add_link("a", "b")
    assert first.links == ()
    assert pickle.loads(pickle.dumps(second)) == second != first


def test_objects_and_texts_are_the_same_values() -> None:
    one, other = plan("a", "b", "br"), plan("a", "b", "br")
    one.add_link(
        "a",
        "b",
        subnet=ip_network("10.0.0.0/30"),
        mac="02-00-00-00-00-0A",
        default_route=ip_address("10.0.0.2"),
    )
    other.add_link("a", "b", subnet="10.0.0.0/30", mac="02:00:00:00:00:0a", default_route="10.0.0.2")
    one.add_route("a", ip_network("10.9.0.0/16"), via=ip_address("10.0.0.2"), metric=5)
    other.add_route("a", "10.9.0.0/16", via="10.0.0.2", metric=5, type="unicast", onlink=False)
    one.dnat("a", proto="tcp", dport=(8000, 8010), to=(ip_address("10.0.0.2"), 80))
    other.dnat("a", proto="tcp", dport="8000-8010", to="10.0.0.2:80", local=False)
    assert one == other


@pytest.mark.parametrize("kind", [list, tuple, set, iter])
def test_subnets_come_in_any_collection(kind: Callable[[list[str]], Iterable[str]]) -> None:
    assert Topology(subnet=kind(["10.7.0.0/16"])) == Topology(subnet="10.7.0.0/16")


def test_a_sysctl_is_set_once() -> None:
    topology = Topology()
    topology.add_namespace("a", sysctls={"net.ipv4.ip_default_ttl": 99})
    topology.set_sysctl("a", "net.ipv4.ip_default_ttl", 100)
    topology.set_sysctl("a", "net.ipv4.tcp_syncookies", "0")
    assert topology.namespaces["a"].sysctls == (
        ("net.ipv4.ip_default_ttl", "100"), ("net.ipv4.tcp_syncookies", "0"),
    )  # fmt: skip


# -- what is refused at once ----------------------------------------------------------

AT_ONCE: dict[str, tuple[Callable[[Topology], object], str]] = {
    "a namespace twice": (lambda t: t.add_namespace("a"), "'a' is taken: the plan has a namespace"),
    "a namespace as a bridge": (lambda t: t.add_bridge("a"), "'a' is taken: the plan has a namespace"),
    "a bridge as a namespace": (lambda t: t.add_namespace("br"), "'br' is taken: the plan has a bridge"),
    "a name with a slash": (lambda t: t.add_namespace("a/b"), "contains '/'"),
    "a name that is no str": (lambda t: t.add_namespace(3), "namespace name 3 is an int"),  # type: ignore[arg-type]
    "a name to register": (lambda t: t.add_namespace("c", named="x y"), "named 'x y' contains a space"),
    "a bool that is none": (lambda t: t.add_namespace("c", forwarding=1), "forwarding 1 is an int"),  # type: ignore[arg-type]
    "a bridge nowhere": (lambda t: t.add_bridge("br2", "c"), "'c' is no namespace of the plan: there are"),
    "a bridge's MTU": (lambda t: t.add_bridge("br2", mtu=10), "mtu 10 is out of range: 68 to 65535"),
    "a bridge's device": (lambda t: t.add_bridge("br2", device="x" * 16), "has 16 bytes, 15 is the most"),
    "an unknown end": (lambda t: t.add_link("a", "c"), "'c' is no namespace or bridge of the plan"),
    "an end misspelt": (lambda t: t.add_link("alpha1", "a"), "did you mean 'alpha'?"),
    "a link to itself": (lambda t: t.add_link("a", "a"), "a link from 'a' to itself"),
    "a device's name": (lambda t: t.add_link("a", "b", name="x" * 16), "has 16 bytes, 15 is the most"),
    "an address": (lambda t: t.add_link("a", "b", address="10.0.0.300/24"), "300/24' is no IP address"),
    "no prefix length": (lambda t: t.add_link("a", "b", address="10.0.0.1"), "write '10.0.0.1/24'"),
    "an address on a port": (
        lambda t: t.add_link("a", "br", peer_address="10.0.0.1/24"), "'br' is a port, which has no address",
    ),
    "a route of a port": (lambda t: t.add_link("br", "a", default_route=True), "is a port, which has no"),
    "a subnet of a port": (
        lambda t: t.add_link("a", "br", subnet="10.0.0.0/24"), "add_bridge('br', subnet=...) gives it",
    ),
    "host bits": (lambda t: t.add_link("a", "b", subnet="10.0.0.1/24"), "write '10.0.0.0/24'"),
    "no network": (lambda t: t.add_link("a", "b", subnet="none"), "'auto' is an IPv4 one that is chosen"),
    "a number": (lambda t: t.add_link("a", "b", subnet=24), "subnet 24 is a number"),
    "a subnet twice": (lambda t: t.add_link("a", "b", subnet=["auto", "auto"]), "'auto' is given twice"),
    "a subnet of groups": (lambda t: t.add_link("a", "b", subnet="224.0.0.0/24"), "is multicast: no device"),
    "a bridge of groups": (lambda t: t.add_bridge("br2", subnet="ff00::/64"), "is multicast: no device"),
    "a subnet of loopback": (lambda t: Topology(subnet="127.9.0.0/16"), "'127.9.0.0/16' is of the loopback"),
    "this host's subnet": (lambda t: Topology.star(2, subnet="0.0.0.0/0"), "begins in 0.0.0.0/8"),
    "an unspecified subnet": (lambda t: Topology(subnet="::/64"), "begins with the unspecified address"),
    "two pools": (lambda t: Topology(subnet=["10.0.0.0/8", "auto"]), "one for each family is the most"),
    "queues": (lambda t: t.add_link("a", "b", queues=0), "queues 0 is out of range"),
    "a MAC": (lambda t: t.add_link("a", "b", mac="01:00:00:00:00:00"), "is multicast"),
    "a route of nobody": (lambda t: t.add_route("c", "10.0.0.0/8", via="10.0.0.1"), "'c' is no namespace"),
    "a route nowhere": (lambda t: t.add_route("a", "10.0.0.0/8"), "needs via=, dev= or nexthops="),
    "two families": (
        lambda t: t.add_route("a", "10.0.0.0/8", via="fd00::1"), "'fd00::1' is IPv6, but dst '10.0.0.0/8'",
    ),
    "an unknown gateway": (lambda t: t.add_route("a", "10.0.0.0/8", via="alph"), "did you mean 'alpha'?"),
    "a sysctl of the machine": (lambda t: t.set_sysctl("a", "kernel.pid_max", 1), "only net.* does"),
    "ports without proto": (lambda t: t.dnat("a", dport=80, to="10.0.0.1"), "ports without a protocol"),
    "an unknown target": (lambda t: t.dnat("a", proto="tcp", to="alfa:80"), "did you mean 'alpha'?"),
    "an unknown source": (lambda t: t.masquerade("a", saddr="alpa"), "did you mean 'alpha'?"),
    "a backend": (lambda t: t.masquerade("a", backend="ufw"), "ufw"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("case", AT_ONCE)
def test_what_is_wrong_by_itself_is_refused_at_once(case: str) -> None:
    topology = plan("a", "b", "alpha", "br")
    before = copy.copy(topology)
    refused, words = AT_ONCE[case]
    with pytest.raises(SpecError) as caught:
        refused(topology)
    assert words in str(caught.value)
    assert topology == before


# -- what is refused as a whole -------------------------------------------------------


def two_links(t: Topology, **second: str) -> None:
    t.add_link("a", "b", name="eth0", subnet="10.0.0.0/24")
    t.add_link("a", "b", **second)  # type: ignore[arg-type]


def joined(t: Topology) -> None:
    t.add_bridge("x", subnet="10.0.0.0/24")
    t.add_bridge("y", subnet="10.1.0.0/24")
    t.add_link("x", "y")


def crowd(t: Topology) -> None:
    for number in range(1024):
        t.add_link(t.add_namespace(f"box{number}"), "br")


AS_A_WHOLE: dict[str, tuple[Callable[[Topology], object], str]] = {
    "a device twice": (
        lambda t: two_links(t, name="eth0"), "links[1].ends[0].name: 'eth0' is taken in namespace 'a'",
    ),
    "lo": (lambda t: t.add_link("a", "b", name="lo"), "links[0].ends[0].name: 'lo' is taken"),
    "subnets that overlap": (
        lambda t: two_links(t, subnet="10.0.0.128/25"), "links[1]: 10.0.0.128/25 overlaps 10.0.0.0/24",
    ),
    "an address in another's subnet": (
        lambda t: two_links(t, address="10.0.0.9/25", peer_address="10.0.0.10/25"), "10.0.0.0/25 overlaps",
    ),
    "a small subnet": (
        lambda t: t.add_link("a", "b", subnet="10.0.0.7/32"),
        "links[0].subnet: 10.0.0.7/32 holds 1 address, 2 are wanted: 10.0.0.4/30 would do",
    ),
    "an address on both ends": (
        lambda t: t.add_link("a", "b", address="10.0.0.1/24", peer_address="10.0.0.1/25"),
        "links[0].ends[1].address: 10.0.0.1 is given twice: links[0].ends[0] has it too",
    ),
    "an address on both of its devices": (
        lambda t: [t.add_link("a", "b", address="10.0.0.1/24", peer_address=None) for _ in range(2)],
        "links[1].ends[0].address: 10.0.0.1 is given twice",
    ),
    "an address beside its subnet": (
        lambda t: t.add_link("a", "b", subnet="10.0.0.0/24", address="10.0.1.1/24"),
        "links[0].ends[0].address: 10.0.1.1/24 is not in the subnet of links[0]: 10.0.0.0/24",
    ),
    "a default route by a bridge without an address": (
        lambda t: t.add_link("a", "br", default_route=True),
        "links[0].ends[0].default_route: 'br' has no address to be the gateway: add_bridge('br', address=",
    ),
    "a default route by somebody else": (
        lambda t: t.add_link("a", "br", default_route="b"),
        "links[0].ends[0].default_route: 'b' is not on the same wire, or has no address",
    ),
    "a default route by nobody": (
        lambda t: t.add_link("a", "br", default_route="c"), "nor a namespace or bridge on the same wire",
    ),
    "a default route by an address of another wire": (
        lambda t: t.add_link("a", "b", subnet="10.3.0.0/30", default_route="10.1.1.1"),
        "links[0].ends[0].default_route: 10.1.1.1 is in no network of it: 10.3.0.0/30",
    ),
    "a default route by 0.0.0.0": (
        lambda t: t.add_link("a", "b", subnet="10.3.0.0/30", default_route=0),
        "links[0].ends[0].default_route: 0.0.0.0 is in no network of it: 10.3.0.0/30",
    ),
    "a default route by itself": (
        lambda t: t.add_link("a", "b", subnet="10.3.0.0/30", default_route="10.3.0.1"),
        "links[0].ends[0].default_route: 10.3.0.1 is its own address: a gateway is at the other end",
    ),
    "a default route by its own name": (
        lambda t: t.add_link("a", "b", subnet="10.3.0.0/30", default_route="a"),
        "links[0].ends[0].default_route: 10.3.0.1 is its own address: a gateway is at the other end",
    ),
    "a default route by a bridge of its own": (
        lambda t: [
            t.add_bridge("own", "a", address="10.3.0.1/24"), t.add_link("a", "own", default_route=True),
        ],
        "links[0].ends[0].default_route: 10.3.0.1 is its own address: a gateway is at the other end",
    ),
    "a route by itself": (
        lambda t: [two_links(t, subnet="10.3.0.0/30"), t.add_route("a", "10.9.0.0/16", via="a")],
        "namespaces.a.routes[0].via: 10.0.0.1 is its own address: a gateway is at the other end",
    ),
    "a default route elsewhere": (
        lambda t: t.add_link("a", "b", address="10.0.0.1/24", peer_address="10.0.1.1/24", default_route=True),
        "links[0].ends[0].default_route: the gateway 10.0.1.1 is not in the network of 10.0.0.1/24",
    ),
    "a default route of another family": (
        lambda t: t.add_link("a", "b", address="10.0.0.1/24", peer_address="fd00::1/64", default_route=True),
        "the gateway has fd00::1, 'a' has 10.0.0.1: no family in common",
    ),
    "two default routes": (
        lambda t: [t.add_link("a", "b", default_route=True) for _ in range(2)],
        "links[1].ends[0].default_route: namespace 'a' has an IPv4 default route already (links[0]",
    ),
    "a gateway elsewhere": (
        lambda t: [two_links(t, subnet="10.3.0.0/30"), t.add_route("a", "10.9.0.0/16", via="10.1.1.1")],
        "namespaces.a.routes[0].via: 10.1.1.1 is in no network of it: 10.0.0.0/24, 10.3.0.0/30",
    ),
    "a gateway without a network": (
        lambda t: t.add_route("a", "10.9.0.0/16", via="10.1.1.1"), "is in no network of it: none",
    ),
    "a device that is not there": (
        lambda t: [t.add_link("a", "b"), t.add_route("a", "10.9.0.0/16", dev="eth1")],
        "namespaces.a.routes[0].dev: 'eth1' is no device of it: did you mean 'eth0'?",
    ),
    "a name without an address": (
        lambda t: t.dnat("a", proto="tcp", dport=80, to="b:80"), "namespaces.a.nat[0].to: 'b' has no address",
    ),
    "a rule for a device that is not there": (
        lambda t: [t.add_link("a", "b", name="wan"), t.masquerade("a", oif="!= wam")],
        "namespaces.a.nat[0].oif: 'wam' is no device of it: did you mean 'wan'?",
    ),
    "a name registered twice": (
        lambda t: [t.add_namespace("c", named="x"), t.add_namespace("x", named=True)],
        "namespaces.x.named: 'x' is what namespace 'c' is registered as",
    ),
    "joined bridges that disagree": (joined, "links[0]: it makes one network of bridges 'x' and 'y'"),
    "too many ports": (crowd, "bridges.br: 1024 links, but a bridge takes 1023 ports"),
}  # fmt: skip


@pytest.mark.parametrize("case", AS_A_WHOLE)
def test_what_is_wrong_as_a_whole_is_refused_with_its_place(case: str) -> None:
    topology = plan("a", "b", "br")
    wrong, words = AS_A_WHOLE[case]
    wrong(topology)
    with pytest.raises(SpecError) as caught:
        topology.check()
    assert words in str(caught.value)


@pytest.mark.parametrize("case", AS_A_WHOLE)
def test_it_is_refused_before_any_system_call(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from netkit import _opener

    topology = plan("a", "b", "br")
    AS_A_WHOLE[case][0](topology)
    monkeypatch.setattr(_opener, "opener", None)  # whatever asks for a namespace fails with AttributeError
    with pytest.raises(SpecError):
        topology.create()
