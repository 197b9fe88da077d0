"""Why a figure is not reached, where it is not: the first that fits a claim's words stands in the table."""

from __future__ import annotations

import re

REASONS: tuple[tuple[str, str], ...] = (
    (
        r"process grows by",
        "what the build used for a while stays with the allocator; the objects themselves take less",
    ),
    (r"a container at 4000", "the kernel's own growth, see the floor's beside it"),
    (
        r"route added and removed",
        "two operations; sending and receiving from Python takes 4 us of it, checking and encoding the rest",
    ),
    (r"runs a command inside", "a thread of its own, which the kernel makes and ends, takes half of it"),
    (r"fastest: munet", "munet kills its namespaces side by side and leaves the links to the kernel"),
)


def reason(claim: str) -> str:
    """What is known, or that nothing is."""
    for pattern, text in REASONS:
        if re.search(pattern, claim):
            return text
    return "not looked into yet"
