"""Which family is meant, when several values could say so."""

from __future__ import annotations

from netkit._spec.addresses import ip_address, not_a_hosts, quick_address
from netkit._spec.value import shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._spec.addresses import IPAddress, IPNetwork


def checked_family(family: object) -> int | None:
    """4, 6 or None; nothing else."""
    if family is None:
        return None
    if isinstance(family, bool) or not isinstance(family, int) or family not in (4, 6):
        raise SpecError(f"family {shown(family)} is neither 4 nor 6")
    return family


def found_family(family: object, *named: tuple[str, IPAddress | IPNetwork | None]) -> int | None:
    """The one family of all the values that have one, or None; SpecError if they differ."""
    chosen = checked_family(family)
    by: tuple[str, object] = ("family", chosen)
    for what, value in named:
        if value is None:
            continue
        if chosen is None:
            chosen, by = value.version, (what, value)
        elif value.version != chosen:
            other = f"family={chosen}" if by[0] == "family" else f"{by[0]} '{by[1]}'"
            raise SpecError(
                f"{what} '{value}' is IPv{value.version}, but {other} is IPv{chosen}: choose one family"
            )
    return chosen


def agreed_family(family: object, *named: tuple[str, IPAddress | IPNetwork | None]) -> int:
    """As found_family, and 4 where nothing says so."""
    return found_family(family, *named) or 4


def checked_via(value: object, what: str = "via") -> IPAddress:
    """A gateway: an address that a host can have."""
    quick = quick_address(value)
    if quick is not None:
        return quick
    address = ip_address(value, what)
    kind = not_a_hosts(address)
    if kind:
        raise SpecError(f"{what} '{address}' is {kind}: no host has it as its own")
    return address
