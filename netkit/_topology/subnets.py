"""Subnets as numbers: parsing, sizes, and cutting them out of larger ones.

A topology has one for each link or bridge, so they are plain integers; ``ipaddress`` takes ten times as
long.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address

from netkit._spec.address import Address
from netkit._spec.addresses import ip_network
from netkit._spec.value import Value

_set = object.__setattr__

WIDTH = {4: 32, 6: 128}
BYTES = {4: 4, 6: 16}

# Where automatic subnets are looked for, in this order. RFC 1918 for IPv4, with the ranges first that
# homes, offices and Docker use least; for IPv6 RFC 4193, whose 40 bits are "netki" here instead of random
# ones, for the same plan is to have the same addresses each time.
_RANGES = {
    4: ("10.64.0.0/10", "172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16"),
    6: ("fd6e:6574:6b69::/48", "fd00::/8"),
}


class Subnet(Value):
    """A network by its number: ``str()`` is ``10.0.0.0/24``."""

    __slots__ = _fields = ("version", "start", "prefixlen")

    version: int
    start: int
    prefixlen: int

    def __init__(self, version: int, start: int, prefixlen: int) -> None:
        _set(self, "version", version)
        _set(self, "start", start)
        _set(self, "prefixlen", prefixlen)

    @classmethod
    def parse(cls, text: str, what: str = "subnet") -> Subnet:
        """From text; SpecError for what is no network, or has bits behind its prefix length."""
        network = ip_network(text, what)
        return cls(network.version, int(network.network_address), network.prefixlen)

    @classmethod
    def of(cls, address: Address) -> Subnet:
        """The network that an address is in."""
        width = 8 * len(address.packed)
        host_bits = width - address.prefixlen
        start = int.from_bytes(address.packed, "big") >> host_bits << host_bits
        return cls(4 if width == 32 else 6, start, address.prefixlen)

    @property
    def last(self) -> int:
        """The last number in it."""
        return self.start + (1 << WIDTH[self.version] - self.prefixlen) - 1

    def hosts(self) -> tuple[int, int]:
        """The first and the last address that a device can have.

        Left out are the network and the broadcast address (RFC 3021: a /31 has neither), and with IPv6
        the routers' anycast address (RFC 4291, 2.6.1; RFC 6164: a /127 has none).
        """
        free_bits = WIDTH[self.version] - self.prefixlen
        if free_bits < 2:
            return self.start, self.last
        return self.start + 1, self.last - (self.version == 4)

    @property
    def capacity(self) -> int:
        """How many devices can have an address in it."""
        first, last = self.hosts()
        return last - first + 1

    def __contains__(self, other: object) -> bool:
        return (
            isinstance(other, Subnet)
            and other.version == self.version
            and self.start <= other.start
            and other.last <= self.last
        )

    def __str__(self) -> str:
        return f"{number_text(self.version, self.start)}/{self.prefixlen}"


def number_text(version: int, number: int) -> str:
    """An address as text."""
    if version == 6:
        return str(IPv6Address(number))
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def prefixlen_for(version: int, count: int) -> int:
    """The longest prefix whose subnet has addresses for so many devices."""
    prefixlen = WIDTH[version] - 2
    while prefixlen > 0 and Subnet(version, 0, prefixlen).capacity < count:
        prefixlen -= 1
    return prefixlen


class Pool:
    """A subnet that others are cut out of, the first free place first; larger ones are to be asked first."""

    __slots__ = ("_next", "_taken", "subnet")

    def __init__(self, subnet: Subnet, taken: Iterable[Subnet] = ()) -> None:
        self.subnet = subnet
        self._next = subnet.start
        self._taken = sorted([(each.start, each.last) for each in taken if each.version == subnet.version])
        self._taken.reverse()  # the next one is the last, and is popped

    def take(self, prefixlen: int) -> Subnet | None:
        """A free subnet of this size, or None."""
        size = 1 << WIDTH[self.subnet.version] - prefixlen
        start = _aligned(self._next, size)
        while self._taken and self._taken[-1][0] < start + size:
            _, last = self._taken.pop()
            if last >= start:
                start = _aligned(last + 1, size)
        if start + size - 1 > self.subnet.last:
            return None
        self._next = start + size
        return Subnet(self.subnet.version, start, prefixlen)


def _aligned(number: int, size: int) -> int:
    return -(-number // size) * size


def private_block(version: int, prefixlen: int, occupied: list[Subnet]) -> Subnet | None:
    """A block of a private range that overlaps nothing of what is occupied, or None."""
    for text in _RANGES[version]:
        found = Pool(Subnet.parse(text), occupied).take(prefixlen)
        if found is not None:
            return found
    return None


def covering(version: int, start: int, last: int) -> list[Subnet]:
    """The fewest subnets that are exactly the numbers from ``start`` to ``last``."""
    found: list[Subnet] = []
    width = WIDTH[version]
    while start <= last:
        bits = min((start & -start).bit_length() - 1 if start else width, (last - start + 1).bit_length() - 1)
        found.append(Subnet(version, start, width - bits))
        start += 1 << bits
    return found
