"""Why a figure is not reached, where it is not: the first that fits a claim's words stands in the table."""

from __future__ import annotations

import re

REASONS: tuple[tuple[str, str], ...] = (
    (r"^netkit builds it", "objects one by one cannot be made in stages; a Topology is"),
    (
        r"a container at 4000",
        "the kernel's own: see the floor's growth",
    ),
)


def reason(claim: str) -> str:
    """What is known, or that nothing is."""
    for pattern, text in REASONS:
        if re.search(pattern, claim):
            return text
    return "not looked into yet"
