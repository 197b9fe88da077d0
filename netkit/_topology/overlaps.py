"""Refuses a plan in which two networks have the same addresses."""

from __future__ import annotations

from netkit._topology.subnets import Subnet
from netkit.errors import SpecError


class Claim:
    """A network that is in use somewhere; ``handed_out`` where addresses are taken from it."""

    __slots__ = ("handed_out", "subnet", "where")

    def __init__(self, subnet: Subnet, where: str, handed_out: bool) -> None:
        self.subnet = subnet
        self.where = where
        self.handed_out = handed_out


def refuse_overlaps(claims: list[Claim]) -> None:
    """SpecError where a subnet whose addresses are handed out overlaps a network of another segment.

    Addresses that are given one by one may be in equal networks: two sites behind NAT have them.
    """
    ordered = sorted(claims, key=_in_order)
    # Networks are nested or apart. Of those around the present one: its end, and (at most two of different
    # segments are enough) all claims, and those that are handed out.
    around: list[tuple[Subnet, tuple[Claim, ...], tuple[Claim, ...]]] = []
    for claim in ordered:
        while around and claim.subnet not in around[-1][0]:
            around.pop()
        every, handed_out = around[-1][1:] if around else ((), ())
        for other in every if claim.handed_out else handed_out:
            if other.where != claim.where:
                raise SpecError(
                    f"{claim.where}: {claim.subnet} overlaps {other.subnet} of {other.where}: "
                    "give one of them another subnet"
                )
        mine = _two(handed_out, claim) if claim.handed_out else handed_out
        around.append((claim.subnet, _two(every, claim), mine))


def _in_order(claim: Claim) -> tuple[int, int, int]:
    return claim.subnet.version, claim.subnet.start, claim.subnet.prefixlen


def _two(kept: tuple[Claim, ...], claim: Claim) -> tuple[Claim, ...]:
    if len(kept) < 2 and all(each.where != claim.where for each in kept):
        return (*kept, claim)
    return kept
