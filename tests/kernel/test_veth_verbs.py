"""VethPair's verbs, and pairs of Namespace.connect()."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netkit import Bridge, ExistsError, Link, Namespace, NatRule, NotFoundError, RouteTable, Scope, StateError
from tests.harness import place
from tests.harness.oracle import ip, link, names, nft, run_in
from tests.harness.pairs import BOTH, the_pair
from tests.harness.patience import AT_ONCE
from tests.harness.tools import needs

# -- the verbs --------------------------------------------------------------------------


def test_create_delete_create(host: Namespace, box: Namespace) -> None:
    veth = the_pair(host, box)
    assert not veth.exists
    with pytest.raises(StateError):
        veth.link  # noqa: B018
    assert veth.create() is veth
    assert veth.exists
    with pytest.raises(StateError):
        veth.create()
    veth.delete()
    assert names(host) == ["lo"]
    with pytest.raises(StateError):
        veth.delete()
    with pytest.raises(StateError):
        veth.peer  # noqa: B018
    with veth:
        assert "eth0" in names(host)


def test_detach_outlives_the_block_and_adopt_ends_it(host: Namespace, box: Namespace) -> None:
    with the_pair(host, box) as veth:
        veth.detach()
    assert names(host) == names(box) == ["lo", "eth0"]
    assert link(host, "eth0")["group"] == link(box, "eth0")["group"] == "default"
    assert veth.link.mtu == 1500  # a borrowed handle now
    with pytest.raises(StateError, match="borrowed"):
        veth.delete()
    veth.adopt().delete()
    assert names(host) == names(box) == ["lo"]


def test_a_detached_one_replaced_by_a_stranger_is_not_ours(host: Namespace, box: Namespace) -> None:
    veth = the_pair(host, box).create().detach()
    index = veth.link.ifindex
    run_in(host, "ip", "link", "del", "eth0")
    assert not veth.exists
    run_in(host, "ip", "link", "add", "eth0", "index", str(index), "type", "veth", "peer", "name", "x")
    assert not veth.exists
    before = names(host)
    with pytest.raises(NotFoundError):
        veth.adopt()
    assert names(host) == before
    assert link(host, "eth0")["group"] == "default"


def test_the_bodys_exception_propagates(host: Namespace, box: Namespace) -> None:
    problem = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, the_pair(host, box):
        raise problem
    assert caught.value is problem
    assert not getattr(problem, "__notes__", [])
    assert names(host) == ["lo"]


# -- ns.connect -----------------------------------------------------------------------


def test_connect_is_undone_with_the_namespace(box: Namespace) -> None:
    with Namespace() as red:
        veth = red.connect(box, name="eth0", peer_name="eth0", **BOTH)  # type: ignore[arg-type]
        assert isinstance(veth.link, Link)
        assert red.ping("fd00::2", timeout=AT_ONCE).loss == 0
    assert names(box) == ["lo"]
    assert not veth.exists


def test_connect_moves_to_a_scope(box: Namespace) -> None:
    with Namespace() as red:
        with Scope() as lab:
            lab.own(red.connect(box, name="eth0", peer_name="eth0"))
            assert names(red) == ["lo", "eth0"]
        assert names(red) == names(box) == ["lo"]


def test_connect_from_a_borrowed_namespace_ends_with_the_program(host: Namespace, box: Namespace) -> None:
    """The borrowed namespace is not ours to end, the pair is."""
    from netkit._lifecycle import ROOT

    with Namespace.from_fd(host.fileno()) as borrowed:
        veth = borrowed.connect(box, name="eth0", peer_name="eth0")
        assert veth._holder is ROOT  # what is undone at exit
        assert names(host) == ["lo", "eth0"]
        veth.delete()
    assert names(host) == ["lo"]


def test_an_owned_pair_outlives_the_handles_on_borrowed_namespaces(host: Namespace, box: Namespace) -> None:
    with Namespace.from_fd(host.fileno()) as one, Namespace.from_fd(box.fileno()) as other:
        veth = the_pair(one, other).create()
    veth.delete()
    assert names(host) == names(box) == ["lo"]


def test_connect_undoes_all_when_a_part_fails(host: Namespace, box: Namespace) -> None:
    run_in(box, "ip", "link", "add", "eth0", "type", "bridge")
    with pytest.raises(ExistsError, match="eth0"):
        host.connect(box, name="veth0", peer_name="eth0")
    assert names(host) == ["lo"]
    assert names(box) == ["lo", "eth0"]


@needs("nft")
def test_what_is_owned_in_a_foreign_namespace_outlives_the_handle_on_it(box: Namespace) -> None:
    """Namespaces made by others: nothing but our handle keeps them open for us."""
    with sleeper() as process:
        foreign = Namespace.from_pid(place.main_of(process.pid))
        veth = the_pair(foreign, box).create()
        rule = NatRule.masquerade(foreign, oif="eth0").create()
        routes = RouteTable(foreign, 100).__enter__()
        routes.add("10.9.0.0/16", type="blackhole")
        foreign.close()
        with Namespace.from_pid(place.main_of(process.pid)) as again:
            assert names(again) == ["lo", "eth0"]
            rule.delete()
            routes.close()
            assert ip(again, "route", "show", "table", "100") == []
            assert nft(again) == []
            veth.delete()
            assert names(again) == ["lo"]


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[str]]:
    """A process in a namespace that netkit did not make."""
    command = place.there("unshare", "--net", "sh", "-c", "ip link set lo up; echo ready; exec cat")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate()


def test_what_was_in_a_namespace_that_is_gone_does_not_exist(box: Namespace) -> None:
    with Namespace() as red:
        veth = the_pair(red, box).create()
        bridge = Bridge(red, "br0").create()
        end = veth.link
        assert veth.exists
        assert bridge.exists
    assert not veth.exists
    assert not bridge.exists
    with pytest.raises(StateError, match="deleted"):
        end.up()
    veth.delete()  # gone already is success
    bridge.delete()
    assert names(box) == ["lo"]
