"""Pairs, bridges, namespaces and any link, borrowed, adopted and detached, also between processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from netkit import Bridge, Link, Namespace, NotFoundError, Scope, SpecError, StateError, VethPair
from tests.harness import place
from tests.harness.oracle import addresses, link, run_in, sorted_names
from tests.harness.ownership import PAIR, elsewhere, living

# -- pairs ------------------------------------------------------------------------------------------------


def test_an_opened_pair_knows_both_ends(host: Namespace, box: Namespace) -> None:
    elsewhere(PAIR, host, box)
    pair = VethPair.open(host, "v0")
    assert (pair.link.name, pair.peer.name, pair.peer.netns) == ("v0", "eth0", box)
    assert pair.link.ifindex == link(host, "v0")["ifindex"]
    assert pair.peer.ifindex == link(box, "eth0")["ifindex"]
    near, far = VethPair.open(box, "eth0")
    assert (near.name, far.name, far.netns) == ("eth0", "v0", host)
    pair.adopt().delete()
    with pair.create():  # as it was found
        assert addresses(host, "v0") == ["10.0.0.1/24"]
        assert link(box, "eth0")["operstate"] == "UP"


def test_both_ends_in_one_namespace(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    pair = VethPair.open(host, "v1")
    assert (pair.link.name, pair.peer.name, pair.peer.netns) == ("v1", "v0", host)
    pair.adopt().delete()
    assert sorted_names(host) == ["lo"]


def test_the_peer_may_be_where_nobody_has_opened(host: Namespace) -> None:
    """A runtime whose container's namespace has no name: one end is enough to delete both."""
    command = place.there("unshare", "--net", "sh", "-c", "echo ready; exec cat")
    container = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert container.stdout is not None
        assert container.stdout.readline() == "ready\n"
        with Namespace.from_pid(place.main_of(container.pid)) as box:
            VethPair(host, box, name="v0", peer_name="eth0").create().detach()
        pair = VethPair.open(host, "v0")
        assert pair.link.name == "v0"
        with pytest.raises(StateError, match="peer_ns="):
            _ = pair.peer
        assert "not open here" in repr(pair)
        with Namespace.from_pid(place.main_of(container.pid)) as box:
            assert VethPair.open(host, "v0").peer.name == "eth0"
        with pair.adopt():
            assert link(host, "v0")["group"] != "default"
        assert sorted_names(host) == ["lo"]
    finally:
        container.communicate()


def test_what_is_no_pair_is_refused(host: Namespace, box: Namespace) -> None:
    with Bridge(host, "br0"), pytest.raises(SpecError, match="bridge, not a veth"):
        VethPair.open(host, "br0")
    with pytest.raises(NotFoundError):
        VethPair.open(host, "nothing")
    with VethPair(host, host, name="v0", peer_name="v1"):
        with pytest.raises(NotFoundError, match="it is not in"):
            VethPair.open(host, "v0", peer_ns=box)
        with pytest.raises(NotFoundError, match="'v1'"):
            VethPair(host, host, name="v0", peer_name="other").adopt()


def test_a_stranger_with_the_same_name_is_left_alone(host: Namespace, box: Namespace) -> None:
    elsewhere(PAIR, host, box)
    pair = VethPair.open(host, "v0").adopt()
    index = pair.link.ifindex
    run_in(host, "ip", "link", "delete", "v0")
    run_in(host, "ip", "link", "add", "v0", "index", str(index), "type", "veth", "peer", "name", "v1")
    assert not pair.exists
    pair.delete()
    assert sorted_names(host) == ["lo", "v0", "v1"]


# -- bridges and namespaces -------------------------------------------------------------------------------


def test_a_bridge_is_detached_with_what_it_connects(host: Namespace, box: Namespace) -> None:
    elsewhere(
        "b = Bridge(host, 'br0', address='10.0.0.1/24').create(); b.connect(box, name='v0'); b.detach()",
        host, box,
    )  # fmt: skip
    with Bridge.open(host, "br0").adopt() as bridge, VethPair.open(host, "v0").adopt() as pair:
        assert [port.name for port in bridge.ports] == ["v0"]
        assert pair.peer.netns is box
    assert sorted_names(host) == sorted_names(box) == ["lo"]


@pytest.mark.capable
def test_a_namespace_is_adopted_by_its_description_or_path() -> None:
    for found in (lambda: Namespace("red"), lambda: Namespace.open("/run/netns/red")):
        elsewhere("Namespace('red').create().detach()")
        with found().adopt() as red:
            assert red.name == "red"
            assert red.fileno() > 0
            assert red.path == "/run/netns/red"
        assert not Path("/run/netns/red").exists()
        with pytest.raises(NotFoundError):
            Namespace("red").adopt()
    with pytest.raises(StateError, match="not created yet"):
        Namespace().adopt()


@pytest.mark.capable
def test_the_name_of_a_living_process_is_not_adopted() -> None:
    """A symlink leads to a descriptor of it: it cannot outlive that process, so nobody else can own it."""
    with living("lab.own(Namespace('red'))"):
        for found in (Namespace("red"), Namespace.open("red")):
            with pytest.raises(StateError, match=r"process|symlink"):
                found.adopt()
        found.close()


# -- routes, sysctls, any link ----------------------------------------------------------------------------


def test_any_link_can_be_adopted(host: Namespace) -> None:
    run_in(host, "ip", "tuntap", "add", "tap0", "mode", "tap")
    found: Link = host.links["tap0"]
    with Scope() as lab:
        owned = lab.own(found.adopt())
        assert owned.exists
        assert owned.link == found
        assert owned.detach() is owned
        with pytest.raises(StateError, match="borrowed"):
            owned.delete()
    assert sorted_names(host) == ["lo", "tap0"]
    with owned.adopt():
        pass
    assert sorted_names(host) == ["lo"]
    assert not owned.exists
    with pytest.raises(NotFoundError):
        found.adopt()
    with pytest.raises(SpecError, match="device of the machine"):
        host.links["lo"].adopt()


def test_an_adopted_link_whose_index_is_used_again_is_left_alone(host: Namespace) -> None:
    run_in(host, "ip", "link", "add", "one", "index", "77", "type", "bridge")
    owned = host.links["one"].adopt()
    run_in(host, "ip", "link", "delete", "one")
    run_in(host, "ip", "link", "add", "one", "index", "77", "type", "bridge")
    assert not owned.exists
    owned.delete()
    assert sorted_names(host) == ["lo", "one"]
