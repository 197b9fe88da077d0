"""Building on a simulated kernel: whatever fails at whatever request, all of it is undone."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from netkit import KernelError, Network, Topology
from netkit._lifecycle import ROOT
from netkit.testing import FakeKernel
from tests.harness.calls import outcome

MOST = 200


@pytest.fixture
def kernel() -> Iterator[FakeKernel]:
    with FakeKernel() as kernel:
        yield kernel


def two_racks() -> Topology:
    plan = Topology.star(2, subnet="10.7.0.0/24")
    plan.add_bridge("rack2", address="10.7.0.9/24")
    plan.add_link("lan", "rack2")
    plan.add_link(plan.add_namespace("far", named=True), "rack2", default_route="lan")
    plan.add_link("far", "box1", subnet="fd00::/64")
    plan.add_route("switch", "10.9.0.0/16", via="box1")
    return plan


def test_a_plan_is_made_and_taken_down(kernel: FakeKernel) -> None:
    before, owned = kernel.state(), set(ROOT._held)
    with two_racks() as net:
        made = kernel.state()
        assert made["names"] == ["far"]
        assert {link.name for link in net["switch"].links} == {"lo", "lan", "box1", "box2", "to-rack2"}
        assert [port.name for port in net.bridges["rack2"].ports] == ["to-lan", "far"]
        routes = {str(route.dst): str(route.via) for route in net["far"].routes if route.via}
        assert routes["default"] == "10.7.0.1"
        assert "10.9.0.0/16 via 10.7.0.2 dev lan proto netkit" in [str(r) for r in net["switch"].routes]
    assert kernel.state() == before
    assert set(ROOT._held) == owned


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EEXIST, errno.EBUSY], ids=errno.errorcode.get)
def test_a_refusal_at_any_request_is_undone(kernel: FakeKernel, number: int) -> None:
    before, owned = kernel.state(), set(ROOT._held)
    net = Network(two_racks())
    for n in range(1, MOST):
        kernel.refuse(n, number, "as the test wants")
        problem = outcome(net.create)
        if problem is None:
            kernel.heal()
            break
        assert isinstance(problem, KernelError)
        assert "as the test wants" in str(problem) or "is taken" in str(problem)
        assert kernel.state() == before
        assert set(ROOT._held) == owned
        assert not net.exists
    assert 10 < n < MOST
    net.delete()
    assert kernel.state() == before


def test_an_interrupt_at_any_request_is_undone(kernel: FakeKernel) -> None:
    before, owned = kernel.state(), set(ROOT._held)
    net = Network(two_racks())
    for n in range(1, MOST):
        kernel.interrupt(n, KeyboardInterrupt())
        try:
            net.create()
        except KeyboardInterrupt:
            assert kernel.state() == before
            assert set(ROOT._held) == owned
        else:
            kernel.heal()
            break
    assert 10 < n < MOST
    net.delete()


def test_an_error_says_which_namespace_of_the_plan_it_was(kernel: FakeKernel) -> None:
    plan = Topology()
    plan.add_link(plan.add_namespace("red"), plan.add_namespace("blue"), subnet="10.7.0.0/30")
    with plan as net, pytest.raises(KernelError, match="in namespace 'blue'"):
        net["blue"].links["eth0"].addresses.add("10.7.0.2/30")
