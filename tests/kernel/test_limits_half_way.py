"""Out of descriptors half-way, or in a teardown: nothing left, and all usable after."""

from __future__ import annotations

import errno
import os
import resource

from netkit import Bridge, KernelError, Namespace, NatRule, RouteTable, Scope, VethPair
from netkit._lifecycle import ROOT
from tests.harness.here import descriptors
from tests.harness.interrupts import State, state

__all__ = ["state"]  # the fixture


def test_F37_without_descriptors_half_way(host: Namespace, state: State) -> None:
    """F37: an error that names the limit, nothing left, and a teardown that needs no new one."""

    def several() -> None:
        with Namespace() as box, Namespace() as other:
            with VethPair(host, box, name="v0", peer_name="eth0"), Bridge(other, "br0"), box.socket():
                list(box.links)
            NatRule.masquerade(box, saddr="10.0.0.0/24", oif="eth0").create().delete()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    refusals: list[OSError] = []
    for free in range(14):
        highest = max(map(int, descriptors()))
        holes = [os.open("/dev/null", os.O_RDONLY) for _ in range(highest - len(descriptors()))]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 1 + free, hard))
            try:
                several()
            except OSError as error:
                refusals.append(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in holes:
                os.close(fd)
        assert [repr(each) for each in ROOT._held_members()] == state.before["owned"]
    assert len(refusals) >= 3
    for error in refusals:
        assert error.errno == errno.EMFILE
        assert "RLIMIT_NOFILE" in str(error) or not isinstance(error, KernelError)
    state.check()


def test_F37_a_teardown_needs_no_new_descriptor(host: Namespace, state: State) -> None:
    _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    scope = Scope().__enter__()
    box = scope.own(Namespace("inner"))
    scope.own(VethPair(host, box, name="v0", peer_name="eth0"))
    scope.own(Bridge(host, "br0", address="10.0.0.1/24")).connect(box, name="v1", peer_name="eth1")
    scope.own(RouteTable(host, 100)).add("10.9.0.0/16", via="10.0.0.2")
    scope.own(NatRule.masquerade(host, saddr="10.0.0.0/24", oif="v9"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        scope.__exit__(None, None, None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    state.check()
