"""Which subnet each segment has, and which address each device.

A segment's subnets are those it is given; else those of the addresses that stand in it; else one from
the topology's pool. Automatic ones are cut out of one block that is clear of what is occupied.
"""

from __future__ import annotations

from netkit._spec.address import Address
from netkit._topology.overlaps import Claim, refuse_overlaps
from netkit._topology.subnets import BYTES, WIDTH, Pool, Subnet, number_text, prefixlen_for, private_block
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netkit._topology.interfaces import Interface, Segment

AUTOMATIC = {"auto": 4, "auto6": 6}
_USUAL_BRIDGED = {4: 24, 6: 64}
_USUAL_DIRECT = {4: 30, 6: 64}


class _Demand:
    """A subnet that a segment wants out of a pool: a usual size, or the least that does."""

    __slots__ = ("least", "segment", "slot", "usual", "version")

    def __init__(self, segment: Segment, slot: int, version: int, count: int) -> None:
        self.segment = segment
        self.slot = slot
        self.version = version
        self.least = prefixlen_for(version, max(count, 1 if segment.is_bridged else 2))
        self.usual = min(self.least, (_USUAL_BRIDGED if segment.is_bridged else _USUAL_DIRECT)[version])


class Addressing:
    """One handing out of subnets and addresses."""

    def __init__(self, segments: Sequence[Segment], pool: tuple[str, ...], routers: frozenset[str]) -> None:
        self._segments = segments
        self._pool = [(text, AUTOMATIC.get(text) or Subnet.parse(text).version) for text in pool]
        self._routers = routers
        self._demands: dict[str, list[_Demand]] = {}  # by the text of the pool
        self._claims: list[Claim] = []
        self._given: dict[tuple[str, bytes], Interface] = {}

    def run(self, occupied: Iterable[Subnet]) -> list[Subnet]:
        """Give every device its addresses; automatic subnets are clear of what is occupied.

        Returns the blocks that the automatic ones were cut out of.
        """
        for segment in self._segments:
            self._settle(segment)
        refuse_overlaps(self._claims)
        taken = [claim.subnet for claim in self._claims]
        for text in [each for each in self._demands if each not in AUTOMATIC]:
            _cut(self._demands.pop(text), Subnet.parse(text), taken)
        blocks = self._cut_automatic([*taken, *occupied])
        for segment in self._segments:
            for subnet in segment.subnets:
                _hand_out(segment, subnet, self._routers)
        return blocks

    def _settle(self, segment: Segment) -> None:
        """What a segment is given, and what it wants."""
        count = sum([each.wanted == "auto" for each in segment.interfaces])
        explicit = self._explicit(segment) if count < len(segment.interfaces) else []
        own = {Subnet.of(address): None for address in explicit}
        self._claims += [Claim(subnet, segment.where, False) for subnet in own]
        if segment.subnet is not None:
            for text in segment.subnet:
                self._give(segment, text, count)
            _refuse_strangers(segment)
        elif own:
            first: dict[int, Subnet] = {}
            for subnet in own if count else ():
                if first.setdefault(subnet.version, subnet) is subnet:
                    self._claim(segment, subnet)
        elif count:
            for text, version in self._pool:
                self._demand(segment, text, version, count)

    def _give(self, segment: Segment, text: str, count: int) -> None:
        if text in AUTOMATIC:
            self._demand(segment, text, AUTOMATIC[text], count)
        else:
            self._claim(segment, Subnet.parse(text))

    def _claim(self, segment: Segment, subnet: Subnet) -> None:
        segment.subnets.append(subnet)
        self._claims.append(Claim(subnet, segment.where, True))

    def _demand(self, segment: Segment, text: str, version: int, count: int) -> None:
        self._demands.setdefault(text, []).append(_Demand(segment, len(segment.subnets), version, count))
        segment.subnets.append(Subnet(version, 0, 0))  # until it is known

    def _explicit(self, segment: Segment) -> list[Address]:
        """The addresses that stand in a segment, each only once."""
        found: dict[bytes, Address] = {}
        owners: dict[bytes, Interface] = {}
        for interface in segment.interfaces:
            for address in interface.addresses:
                first = owners.get(address.packed) or self._given.get((interface.netns, address.packed))
                if first is not None:
                    raise SpecError(
                        f"{interface.path}.address: {address.ip} is given twice: {first.path} has it too"
                    )
                found[address.packed] = address
                owners[address.packed] = self._given[interface.netns, address.packed] = interface
        return list(found.values())

    def _cut_automatic(self, occupied: list[Subnet]) -> list[Subnet]:
        """Cut the automatic subnets of each family out of one private block."""
        blocks: list[Subnet] = []
        pools = [Subnet.parse(text) for text, _ in self._pool if text not in AUTOMATIC]
        for text, demands in self._demands.items():
            version = AUTOMATIC[text]
            needed = sum([_size(version, each.usual) for each in demands])
            prefixlen = WIDTH[version] - (needed - 1).bit_length()
            block = private_block(version, prefixlen, [*occupied, *pools])
            if block is None:
                raise SpecError(
                    f"subnet: no private IPv{version} range has {needed} addresses in a row that no route "
                    "of the current namespace leads to: give subnet="
                )
            _cut(demands, block, [])
            blocks.append(block)
        return blocks


def _cut(demands: list[_Demand], whole: Subnet, taken: list[Subnet]) -> None:
    """Give each its part: of the usual size if there is room for all, else the least that does."""
    least = [each.least for each in demands]
    for sizes in ([each.usual for each in demands], least):
        pool = Pool(whole, taken)
        # The largest first: then each begins where the one before has ended.
        order = sorted(range(len(demands)), key=sizes.__getitem__)
        found = {index: pool.take(sizes[index]) for index in order}
        if None not in found.values():
            break
    else:
        wanted = sum([_size(whole.version, prefixlen) for prefixlen in least])
        raise SpecError(
            f"subnet: {whole} has no room for {len(demands)} subnets of {wanted} addresses in all: "
            "give a larger one"
        )
    for index, subnet in found.items():
        if subnet is not None:
            demands[index].segment.subnets[demands[index].slot] = subnet


def _size(version: int, prefixlen: int) -> int:
    return 1 << WIDTH[version] - prefixlen


def _refuse_strangers(segment: Segment) -> None:
    """Addresses that are in none of the segment's given subnets."""
    for interface in segment.interfaces:
        for address in interface.addresses:
            own = [each for each in segment.subnets if each.version == address.version and each.prefixlen]
            if own and not any(Subnet.of(address) in each for each in own):
                raise SpecError(
                    f"{interface.path}.address: {address} is not in the subnet of {segment.where}: "
                    + ", ".join([str(each) for each in own])
                )


def _hand_out(segment: Segment, subnet: Subnet, routers: frozenset[str]) -> None:
    """One address for each device that wants one: at a bridge first bridges and routers, else in order."""
    waiting = [each for each in segment.interfaces if each.wanted == "auto"]
    if routers and segment.is_bridged:
        waiting.sort(key=lambda each: not isinstance(each.where, str) and each.netns not in routers)
    size, prefixlen = BYTES[subnet.version], subnet.prefixlen
    taken = {
        int.from_bytes(address.packed, "big")
        for each in segment.interfaces
        if each.wanted != "auto"
        for address in each.addresses
        if len(address.packed) == size
    }
    number, last = subnet.hosts()
    for interface in waiting:
        while number in taken:
            number += 1
        if number > last:
            raise SpecError(_too_small(segment, subnet, len(waiting), taken))
        interface.addresses += (Address(number.to_bytes(size, "big"), prefixlen),)
        number += 1


def _too_small(segment: Segment, subnet: Subnet, wanted: int, taken: set[int]) -> str:
    first, last = subnet.hosts()
    given = len([number for number in taken if first <= number <= last])
    prefixlen = prefixlen_for(subnet.version, wanted + given)
    bits = WIDTH[subnet.version] - prefixlen
    beside = f" beside {given} given ones" if given else ""
    plural = "" if subnet.capacity == 1 else "es"
    return (
        f"{segment.where}.subnet: {subnet} holds {subnet.capacity} address{plural}, {wanted} are wanted"
        f"{beside}: {number_text(subnet.version, subnet.start >> bits << bits)}/{prefixlen} would do"
    )
