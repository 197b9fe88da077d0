"""SIGKILL at any moment: the kernel and the guard leave nothing."""

from __future__ import annotations

import random
import signal
import threading

import pytest

from netkit import Namespace
from tests.harness import place
from tests.harness.here import identity
from tests.harness.interrupts import program
from tests.harness.oracle import Events, nft, sorted_names
from tests.harness.patience import LONG
from tests.harness.tools import needs


@needs("nft")
@pytest.mark.parametrize("name", [None, "killed"])
def test_F01_killed_its_links_and_rules_are_gone(host: Namespace, name: str | None) -> None:
    """F01: without a clean-up pass."""
    code = f"""
import signal
from netkit import *
host = Namespace.current()
box = Namespace({name!r}).create()
pairs = [VethPair(host, box, name=f"v{{n}}", peer_name=f"eth{{n}}").create() for n in range(5)]
rule = NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v0").create()
print("ready", flush=True)
signal.pause()
"""
    with Events(host) as events, program(host, code) as child:
        assert sorted_names(host) == ["lo", "v0", "v1", "v2", "v3", "v4"]
        assert "masquerade" in str(nft(host))
        place.send(child, signal.SIGKILL)
        child.wait()
        events.wait_until(lambda: sorted_names(host) == ["lo"])
        assert nft(host) == []
    if name is not None:  # the next run is not in the way of this one's leftovers
        with Namespace(name) as again:
            assert identity(str(place.path(f"/run/netns/{name}"))) == identity(again.fileno())
    assert place.names() == []


def test_killed_at_a_random_moment(host: Namespace) -> None:
    """Whatever it was doing: what hangs on its namespaces and sockets goes with it."""
    code = """
import signal
from netkit import *
host = Namespace.current()
print("ready", flush=True)
while True:
    with Scope() as scope:
        box = scope.own(Namespace())
        scope.own(VethPair(host, box, name="v0", peer_name="eth0", address="10.0.0.1/24"))
        scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v0"))
"""
    chance = random.Random(2)
    for _ in range(8):
        with Events(host) as events, program(host, code) as child:
            ended = threading.Timer(chance.uniform(0.001, 0.05), place.send, (child, signal.SIGKILL))
            ended.start()
            child.wait(LONG)
            ended.join()
            events.wait_until(lambda: sorted_names(host) == ["lo"])
            assert nft(host) == []
