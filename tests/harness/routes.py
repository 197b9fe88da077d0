"""Networks and gateways of both families, and what `ip route` says of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from netkit import Namespace, VethPair
from tests.harness.oracle import ip

FAMILIES = [4, 6]
# Per family: network, gateway, another gateway, our address, a host behind.
NET = {4: "10.9.0.0/16", 6: "fd09::/48"}
VIA = {4: "10.0.0.2", 6: "fd00::2"}
VIA2 = {4: "10.0.0.3", 6: "fd00::3"}
OURS = {4: "10.0.0.1", 6: "fd00::1"}
FAR = {4: "10.9.1.1", 6: "fd09::1:1"}
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


@pytest.fixture
def wired(host: Namespace, box: Namespace) -> Iterator[VethPair]:
    """host eth0 10.0.0.1, fd00::1 -- box eth0 10.0.0.2, .3, fd00::2, ::3"""
    veth = VethPair(
        host, box, name="eth0", peer_name="eth0", address=["10.0.0.1/24", "fd00::1/64"],
        peer_address=["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64", "fd00::3/64"],
    )  # fmt: skip
    with veth:
        yield veth


def said(ns: Namespace, family: int, dst: str, table: str = "main") -> dict[str, Any]:
    """The one route to a destination that `ip -d route` shows."""
    (found,) = [each for each in shown(ns, family, table) if each["dst"] == dst]
    return found


def shown(ns: Namespace, family: int, table: str = "main") -> list[dict[str, Any]]:
    return ip(ns, f"-{family}", "route", "show", "table", table)
