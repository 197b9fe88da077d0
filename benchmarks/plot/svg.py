"""An SVG document that is put together element by element."""

from __future__ import annotations

from html import escape
from pathlib import Path

# A card of its own: an image cannot know which scheme a page was switched to by hand.
STYLE = """
  .card { fill: #ffffff; stroke: #d8dce2; }
  text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #4a5361; }
  .title { font-size: 15px; font-weight: 600; fill: #1c2430; }
  .strong { font-weight: 600; fill: #1c2430; }
  .ours { font-weight: 600; fill: #c2410c; }
  .grid { stroke: #e6e9ee; stroke-width: 1; }
  .leader { stroke: #c3c9d2; stroke-width: 1; fill: none; }
  .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
  .line-floor { stroke: #1c2430; stroke-width: 2; stroke-dasharray: 5 4; }
  .line-ours { stroke: #ea580c; stroke-width: 2.8; }
  .line-peer { stroke: #94a0b2; }
  .dot-floor { fill: #1c2430; } .dot-ours { fill: #ea580c; } .dot-peer { fill: #8491a5; }
  .whisker { stroke-width: 2; }
  .whisker-floor { stroke: #1c2430; } .whisker-ours { stroke: #ea580c; } .whisker-peer { stroke: #94a0b2; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #1e2129; stroke: #363b47; }
    text { fill: #aab2c0; }
    .title, .strong { fill: #eceff4; }
    .ours { fill: #fb923c; }
    .grid { stroke: #2d323d; }
    .leader { stroke: #4a5160; }
    .line-floor { stroke: #eceff4; } .line-ours { stroke: #fb923c; } .line-peer { stroke: #6d788b; }
    .whisker-floor { stroke: #eceff4; } .whisker-ours { stroke: #fb923c; }
    .whisker-peer { stroke: #6d788b; }
    .dot-floor { fill: #eceff4; } .dot-ours { fill: #fb923c; } .dot-peer { fill: #7f8a9d; }
  }
"""


class Drawing:
    """Shapes in the order they are drawn. Lengths are pixels from the upper left corner."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.elements: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """A straight line."""
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        self.elements.append(f'<line class="{style}" {ends}/>')

    def path(self, points: list[tuple[float, float]], style: str) -> None:
        """A line through these points."""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.elements.append(f'<polyline class="{style}" points="{joined}"/>')

    def dot(self, x: float, y: float, radius: float, style: str, tooltip: str = "") -> None:
        """A filled circle; the tooltip is seen where the image stands by itself."""
        shape = f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
        self.elements.append(f"{shape}<title>{escape(tooltip)}</title></circle>")

    def text(self, x: float, y: float, text: str, anchor: str = "start", style: str = "") -> None:
        """One line; `y` is its base line."""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self.elements.append(f'<text class="{style}" {place}>{escape(text)}</text>')

    def save(self, path: Path) -> None:
        """Write the file."""
        size = f'width="{self.width:.0f}" height="{self.height:.0f}"'
        box = f'viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
        card = (
            f'<rect class="card" x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="6"/>'
        )
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} role="img">'
        described = f"<title>{escape(self.title)}</title>"
        lines = [head, described, f"<style>{STYLE}</style>", card, *self.elements, "</svg>"]
        path.write_text("\n".join(lines) + "\n")


def role(name: str) -> str:
    """How a contestant is drawn: the floor, ours, or a peer."""
    if name.startswith("floor"):
        return "floor"
    return "ours" if name.startswith("netkit") else "peer"


def label_style(name: str) -> str:
    """Of its name, likewise."""
    return {"floor": "strong", "ours": "ours", "peer": ""}[role(name)]
