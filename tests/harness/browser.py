"""Chromium without a window: what a browser makes of drawings, in light and in dark."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

from netkit._display.palette import DARK, LIGHT
from tests.harness.patience import LONG

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
  const colour = selector => {
    const found = svg.querySelector(selector);
    return found && getComputedStyle(found).fill;
  };
  return {texts: svg.querySelectorAll('text').length, outside: outside.map(text => text.textContent),
          paper: colour('.paper'), ink: colour('.name')};
});
const told = Object.assign(document.createElement('pre'), {textContent: JSON.stringify(found)});
document.body.replaceChildren(told);
"""


def measured(drawings: Sequence[str], directory: Path, *, dark: bool) -> list[dict[str, Any]]:
    """What Chromium makes of these SVGs for somebody who prefers light, or dark."""
    page = directory / "page.html"
    body = "".join(drawings)
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{body}<script>{_MEASURE}</script></body>")
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}/profile"]
    words += ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        ["chromium", *words, "--window-size=1600,1200", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=LONG, env={**os.environ, "HOME": str(directory)},
    )  # fmt: skip
    match = re.search(r"<pre>(.*)</pre>", done.stdout, re.DOTALL)
    assert match, done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(unescape(match[1]))
    return found


def check(drawings: Sequence[str], directory: Path, *, dark: bool) -> None:
    """Every text is in its box, every box in its drawing, and the colours are those that are preferred."""
    found = measured(drawings, directory, dark=dark)
    palette = DARK if dark else LIGHT
    assert len(found) == len(drawings)
    for each in found:
        assert each["texts"] > 0
        assert each["outside"] == []
        assert each["paper"] == _rgb(palette["paper"])
        assert each["ink"] in (_rgb(palette["text"]), None)  # of an empty scope there is no name
    assert any(each["ink"] for each in found)


def _rgb(colour: str) -> str:
    return f"rgb({', '.join([str(int(colour[start : start + 2], 16)) for start in (1, 3, 5)])})"
