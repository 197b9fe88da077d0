"""netkit's own fixtures."""

from __future__ import annotations

from netkit import Namespace, VethPair


def test_netns(netns: Namespace, number: int) -> None:
    assert netns.fileno() >= 0


def test_veth(veth: VethPair, number: int) -> None:
    assert veth.link.ifindex
