"""Pictures in a real browser: its fonts fit the boxes, and dark is dark."""

from __future__ import annotations

import json
import os
import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from netkit import Topology
from netkit._display.model import Box, Device, End, Wire
from netkit._display.palette import DARK
from netkit._display.picture import Picture
from tests.harness.patience import LONG
from tests.harness.tools import needs

pytestmark = [pytest.mark.slow, needs("chromium")]

# For each drawing: the texts that are not in their box or not in the drawing, and some colours.
_MEASURE = """
const found = [...document.querySelectorAll('svg')].map(svg => {
  const inside = (one, other) => one.left >= other.left - 1 && one.right <= other.right + 1 &&
                                 one.top >= other.top - 1 && one.bottom <= other.bottom + 1;
  const all = svg.getBoundingClientRect();
  const outside = [...svg.querySelectorAll('text')].filter(text => {
    const box = text.closest('g');
    const place = box ? box.querySelector('rect').getBoundingClientRect() : all;
    return !inside(text.getBoundingClientRect(), place) || !inside(place, all);
  });
  const colour = selector => getComputedStyle(svg.querySelector(selector)).fill;
  return {texts: svg.querySelectorAll('text').length, outside: outside.map(text => text.textContent),
          paper: colour('.paper'), ink: colour('.name')};
});
const told = Object.assign(document.createElement('pre'), {textContent: JSON.stringify(found)});
document.body.replaceChildren(told);
"""


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


def measured(directory: Path) -> list[dict[str, Any]]:
    """What Chromium makes of the drawings for somebody who prefers dark."""
    page = directory / "page.html"
    drawings = "".join([each.to_svg() for each in pictures()])
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{drawings}<script>{_MEASURE}</script></body>")
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}/profile"]
    words += ["--force-dark-mode", "--blink-settings=preferredColorScheme=0", "--window-size=1600,1200"]
    done = subprocess.run(
        ["chromium", *words, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=4 * LONG, env={**os.environ, "HOME": str(directory)},
    )  # fmt: skip
    match = re.search(r"<pre>(.*)</pre>", done.stdout, re.DOTALL)
    assert match, done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(unescape(match[1]))
    return found


def test_texts_are_in_their_boxes_and_dark_is_dark(tmp_path: Path) -> None:
    found = measured(tmp_path)
    assert len(found) == len(pictures())
    for each in found:
        assert each["texts"] > 4
        assert each["outside"] == []
        assert (each["paper"], each["ink"]) == tuple([_rgb(DARK[name]) for name in ("paper", "text")])


def _rgb(colour: str) -> str:
    return f"rgb({', '.join([str(int(colour[start : start + 2], 16)) for start in (1, 3, 5)])})"
