"""The colours, once for light and once for dark: the only place where they are."""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff", "box": "#f8fafc", "head": "#e2e8f0", "edge": "#64748b", "frame": "#e8f1fb",
    "frame-edge": "#7f9cbd", "text": "#0f172a", "dim": "#475569", "address": "#1d4e89", "wire": "#4b6a8f",
    "up": "#15803d", "no-carrier": "#b45309", "down": "#b91c1c", "planned": "#64748b",
    "default": "#1d4ed8", "route": "#475569", "nat": "#7e22ce", "port": "#0f766e", "pill-text": "#ffffff",
}  # fmt: skip
DARK = {
    "paper": "#0f1419", "box": "#182029", "head": "#263442", "edge": "#7d8fa3", "frame": "#1c2b3d",
    "frame-edge": "#5f7fa5", "text": "#e6edf3", "dim": "#a3b3c2", "address": "#9ecbff", "wire": "#8aa9cc",
    "up": "#4ade80", "no-carrier": "#fbbf24", "down": "#f87171", "planned": "#a3b3c2",
    "default": "#93c5fd", "route": "#a3b3c2", "nat": "#d8b4fe", "port": "#5eead4", "pill-text": "#0f1419",
}  # fmt: skip

_STATES = ("up", "no-carrier", "down", "planned")
_DASHES = {"down": "6 5", "no-carrier": "2 4"}


def svg_style() -> str:
    """The style of a drawing: light, dark where that is preferred, light again on paper."""
    shape = (
        ".netkit-svg text{font:12px ui-monospace,SFMono-Regular,Menlo,'DejaVu Sans Mono',"
        "'Liberation Mono',Consolas,monospace;white-space:pre;dominant-baseline:central}"
        ".netkit-svg .name{font-weight:700}"
        ".netkit-svg .pill{font-size:10px;font-weight:700;text-anchor:middle}"
        ".netkit-svg .badge{font-style:italic}.netkit-svg path,.netkit-svg .void{fill:none}"
        ".netkit-svg .wire{stroke-width:1.6}.netkit-svg .mark{stroke-width:2}"
    )
    shape += "".join(
        [f".netkit-svg .wire.{name}{{stroke-dasharray:{dash}}}" for name, dash in _DASHES.items()]
    )
    dark = f"@media (prefers-color-scheme:dark){{{_colours(DARK)}}}"
    return f"{shape}{_colours(LIGHT)}{dark}@media print{{{_colours(LIGHT)}}}"


def _colours(of: dict[str, str]) -> str:
    rules = {
        ".paper": f"fill:{of['paper']}",
        ".box": f"fill:{of['box']};stroke:{of['edge']}",
        ".head": f"fill:{of['head']}",
        ".outline,.rule": f"stroke:{of['edge']}",
        ".frame": f"fill:{of['frame']};stroke:{of['frame-edge']}",
        "text,.name,.device,.text": f"fill:{of['text']}",
        ".dim,.badge": f"fill:{of['dim']}",
        ".address": f"fill:{of['address']}",
        ".state": f"fill:{of['down']}",
        ".wire": f"stroke:{of['wire']}",
        ".wire.down": f"stroke:{of['down']}",
        ".wire.no-carrier": f"stroke:{of['no-carrier']}",
        ".wire.planned": f"stroke:{of['planned']}",
        ".pill": f"fill:{of['pill-text']}",
    }
    for state in _STATES:
        rules[f".mark.{state}"] = f"stroke:{of[state]}"
    rules[".full.up"] = f"fill:{of['up']}"
    for word in ("default", "route", "nat", "port"):
        rules[f".back.{word}"] = f"fill:{of[word]}"
    scoped = {
        ",".join([f".netkit-svg {each}" for each in selector.split(",")]): rule
        for selector, rule in rules.items()
    }
    return "".join([f"{selector}{{{rule}}}" for selector, rule in scoped.items()])
