"""Why a figure is not reached, where it is not: the first that fits a claim's words stands in the table."""

from __future__ import annotations

import re

REASONS: tuple[tuple[str, str], ...] = (
    (
        r"builds the demo's network",
        "1.34 to 1.49 in five runs on this machine, whose neighbours are heard. The slow "
        "contestants leave the caches cold: 1.6 ms of Python for 1400 calls of 380 functions. Go has 1.34 "
        "to 1.42",
    ),
    (
        r"in processor time",
        "at its border for a Topology: 1.06 to 1.09 in nine runs beside the floor alone, 1.11 among all "
        "peers; 1.00 to 1.05 for objects. Python's own part is 8 %, the kernel's is the floor's, for one "
        "thread makes a hundred: two spin for the lock of all sysctl tables, and have 1.15 to 1.20 and 1.11 "
        "to 1.14",
    ),
    (
        r"one address added",
        "at its border: 7.8 to 13.6 in twelve runs, median 10.6, 9.9 and 11.4 among all peers (60 rounds). "
        "1 of that is the first operation, which finds the caches cold, and the kernel's own part varies "
        "between 8 and 15 from round to round; in a loop that is warm it is 6.6",
    ),
    (r"a container at 4000", "the kernel's own growth, see the floor's beside it"),
    (
        r"route added and removed",
        "8.5 us on a machine that does nothing else; of it 1 us is sending and receiving from Python, 1 the "
        "socket's care for what is late or lost, the rest checking, encoding and the object that comes back",
    ),
    (
        r"without root the demo",
        "questions to the broker take 0.12 ms each, and the demo waits for two, namespaces and sysctls "
        "(1.06 to 1.23 in four runs while it waited for five); in larger networks they do not show",
    ),
    (
        r"runs a command inside",
        "at its border: 0.09 to 0.11 in eight runs of 20 to 150 rounds, 0.15 in two while the machine was "
        "busy. A thread of its own, which the kernel makes and ends and which begins with the cold caches of "
        "another processor, takes 0.07 to 0.09 by itself, with nothing of netkit's around it",
    ),
    (r"fastest: munet", "munet kills its namespaces side by side and leaves the links to the kernel"),
)


def reason(claim: str) -> str:
    """What is known, or that nothing is."""
    for pattern, text in REASONS:
        if re.search(pattern, claim):
            return text
    return "not looked into yet"
