"""Topologies as resources among others: owned together with them, and undone with them."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path

import pytest

from netkit import ExistsError, Namespace, Network, Scope, StateError, Topology, VethPair
from tests.harness import place
from tests.harness.patience import LONG


def test_several_are_created_together_or_not_at_all() -> None:
    first, second = Network(Topology.star(2)), Network(Topology.line(2, named=True))
    with Scope() as lab:
        lab.own(first, second, Namespace())
        assert first["box1"].ping(first.address("box2")).received == 1
        assert second["box1"].ping(second.address("box2")).received == 1
    assert not first.exists
    assert not second.exists
    with Namespace("box2"), Scope() as lab:
        files = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(ExistsError, match="box2"):
            lab.own(first, second)
        assert not first.exists
        assert len(list(Path("/proc/self/fd").iterdir())) == files  # now, and not at the block's end
        assert place.names() == ["box2"]
    with first:
        assert first.exists


def test_a_link_to_the_host_is_gone_with_the_network(host: Namespace) -> None:
    with Topology.line(2) as net:
        pair = VethPair(host, net["box1"], name="lab0", peer_name="host0").create()
        assert "lab0" in host.links
    assert "lab0" not in host.links
    pair.delete()


def test_what_was_connected_to_a_namespace_of_it_is_undone_with_it(host: Namespace) -> None:
    with Topology.line(2) as net:
        net["box1"].connect(host, name="host0", peer_name="lab0")
        assert "lab0" in host.links
    assert "lab0" not in host.links


def test_a_process_inside_is_ended_with_it() -> None:
    with Topology.star(2) as net:
        process = net["box1"].popen(["sleep", "60"])
    assert process.wait(LONG) != 0


def test_of_threads_that_build_one_plan_in_a_with_block_one_does() -> None:
    plan = Topology.star(3)
    start, tried = threading.Barrier(4), threading.Barrier(4)
    entered: list[Network] = []
    refused: list[str] = []

    def build() -> None:
        start.wait(LONG)
        try:
            with plan as net:
                entered.append(net)
                tried.wait(LONG)  # nobody leaves before all have tried
        except StateError as error:
            refused.append(str(error))
            tried.wait(LONG)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entered) == 1
    assert not entered[0].exists
    assert all(
        "is built in a `with` already: topology.create() builds another one" in each for each in refused
    )
    with plan as net:
        assert net["box1"].ping(net.address("box3")).received == 1


def test_a_plan_that_could_not_be_built_can_be_built_later() -> None:
    plan = Topology.star(1, named=True)
    with Namespace("box1"), pytest.raises(ExistsError, match="box1"), plan:
        raise AssertionError("it was built")
    with plan as net:
        assert net.exists


def test_a_plan_is_copied_and_sent_while_it_is_built() -> None:
    plan = Topology.star(2)
    with plan:
        assert copy.deepcopy(plan) == pickle.loads(pickle.dumps(plan)) == plan
        with copy.deepcopy(plan) as other:
            assert other["box1"].ping(other.address("box2")).received == 1
