"""What the lifecycle tests have in common: a simulated kernel, and one maker per kind of resource."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from netkit import Bridge, Namespace, VethPair
from netkit._lifecycle import ROOT, Resource, undo
from netkit.testing import FakeKernel


@dataclass
class Lab:
    """A simulated kernel with two namespaces that were there before."""

    kernel: FakeKernel
    red: Namespace
    blue: Namespace


Maker = Callable[[Lab], Resource]

MAKERS: dict[str, Maker] = {
    "veth": lambda lab: VethPair(
        lab.red, lab.blue, name="eth0", peer_name="eth0",
        address=["10.0.0.1/24", "fd00::1/64"], peer_address="10.0.0.2/24",
    ),
    "veth in one namespace": lambda lab: VethPair(lab.red, lab.red, name="a", peer_name="b", up=False),
    "bridge": lambda lab: Bridge(lab.red, "br0", address=["172.18.0.1/24", "fd01::1/64"]),
    "namespace": lambda lab: Namespace(),
    "named namespace": lambda lab: Namespace("box"),
    "persistent namespace": lambda lab: Namespace("box", persistent=True),
}  # fmt: skip


def connected(lab: Lab) -> None:
    """A bridge with three ports, a route in each: what Bridge.connect undoes when it fails."""
    bridge = Bridge(lab.red, "br0", address="172.18.0.1/24").create()
    try:
        for number in range(2, 5):
            bridge.connect(
                lab.blue,
                name=f"port{number}",
                peer_name=f"eth{number}",
                peer_address=f"172.18.0.{number}/24",
                default_route=number == 2,
                hairpin=True,
            )
    finally:
        bridge.delete()


EACH = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def stranger(lab: Lab, index: int) -> None:
    """A link `stranger` that netkit did not make."""
    from netkit._netlink.link import new_link

    lab.red._live_runtime().route.request(new_link("stranger", "dummy", index=index))


def clean(lab: Lab) -> None:
    """Delete what a refused teardown left: it is still owned, as at the end of the program."""
    lab.kernel.heal()
    assert undo(ROOT._held_members()) == []
