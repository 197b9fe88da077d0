"""Pictures in a real browser: its fonts fit the boxes, and dark is dark."""

from __future__ import annotations

from pathlib import Path

import pytest

from netkit import Topology
from netkit._display.model import Box, Device, End, Wire
from netkit._display.picture import Picture
from tests.harness import browser
from tests.harness.tools import needs

pytestmark = [pytest.mark.slow, needs("chromium")]


def pictures() -> list[Picture]:
    """From 2 to 60 namespaces, and one with everything that takes room."""
    addresses = ("2001:db8:1111:2222:3333:4444:5555:6666/128", "10.0.0.1/24")
    devices = (
        Device("br-0123456789ab", "bridge", "up", addresses),
        Device("veth0123456789a", "veth", "no carrier", addresses, "br-0123456789ab", "box:eth0"),
        Device("eth0", None, "down", addresses),
        Device("日本語のデバイス", "vlan on eth0", "planned"),
        Device("macvlan01234567", "macvlan on uplink-abcdefgh", "down", addresses),
        Device("vxlan0123456789", "vxlan", "up", addresses * 4, "br-0123456789ab"),
    )
    box = Box(
        "n0", "M" * 40, devices, ("default via 10.0.0.1 dev eth0",) * 9, ("W" * 80,),
        ('iifname "uplink-abcdefgh" udp dport 5000-5010 dnat to [fd00:18::2]:5000-5010',),
        ("tcp 8080 -> 172.18.0.2:80",),
        True, "deleted",
    )  # fmt: skip
    other = Box("n1", "b", (Device("eth0", "veth", "up"),))
    full = Picture([box, other], [Wire(End("n0", "eth0"), End("n1", "eth0"), "down")], note="a note")
    plans = [Topology.line(2), Topology.star(9), Topology.star(59), Topology.line(60), Topology.star(1000)]
    return [full, *[plan.picture() for plan in plans]]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_texts_are_in_their_boxes_and_dark_is_dark(tmp_path: Path, dark: bool) -> None:
    browser.check([each.to_svg() for each in pictures()], tmp_path, dark=dark)
