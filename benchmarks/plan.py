"""Which star is built: addresses and how containers spread over bridges, the same for every contestant."""

from __future__ import annotations

from ipaddress import IPv4Address

PORTS = 1000  # of one bridge: the kernel takes 1023, and further bridges are linked to the first
PREFIX = 16
FIRST = IPv4Address("10.64.0.1")


def gateway() -> str:
    """The first bridge's address, by which the containers' default routes go."""
    return str(FIRST)


def address(container: int) -> str:
    """A container's address, without the prefix length."""
    return str(FIRST + 1 + container)


def bridges(size: int) -> int:
    """How many bridges that many containers need: br0, br1, ..."""
    return -(-size // PORTS)


def bridge_of(container: int) -> str:
    """The bridge a container is at."""
    return f"br{container // PORTS}"
