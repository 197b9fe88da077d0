"""What is interrupted, and what there was before and must be again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netkit import Bridge, Namespace, NatRule, RouteTable, Scope, VethPair
from netkit._lifecycle import ROOT
from tests.harness import place
from tests.harness.here import HERE, descriptors, identity
from tests.harness.oracle import ip, nft, run_in, sorted_names
from tests.harness.packets import reached


def network(host: Namespace) -> None:
    """What a test builds: a bit of everything, and packets."""
    with Scope() as lab:
        box = lab.own(Namespace("inner"))
        bridge = lab.own(Bridge(host, "br0", address="10.0.0.1/24"))
        bridge.connect(box, name="v0", peer_name="eth0", peer_address="10.0.0.2/24", default_route=True)
        lab.own(VethPair(host, box, name="v1", peer_name="eth1", address="10.1.0.1/24"))
        lab.own(RouteTable(host, 100)).add("10.9.0.0/16", via="10.0.0.2")
        lab.own(host.sysctl.override("net.ipv4.ip_default_ttl", 99))
        lab.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"))
        assert reached(box, "10.0.0.1")


class State:
    """What there is in the host, in /run/netns and in this process."""

    def __init__(self, host: Namespace) -> None:
        self.host = host
        self.before = self.read()

    def read(self) -> dict[str, object]:
        return {
            "links": sorted_names(self.host),
            "routes": ip(self.host, "route", "show", "table", "all"),
            "nft": nft(self.host),
            "ttl": run_in(self.host, "sysctl", "-n", "net.ipv4.ip_default_ttl"),
            "names": place.names(),
            "here": identity(HERE),
            "owned": [repr(each) for each in ROOT._held_members()],
            "descriptors": len(descriptors()),
        }

    def check(self) -> None:
        assert self.read() == self.before


@pytest.fixture
def state(host: Namespace) -> State:
    network(host)  # what is kept for good is there before
    return State(host)


@contextmanager
def program(host: Namespace, code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program in the namespace, once it has said that it is ready."""
    command = place.inside(host, sys.executable, "-c", code)
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        place.send(child, signal.SIGKILL)
        child.wait()
        child.stdout.close()
