"""What a NAT rule matches: one value each, negated by a leading ``!= `` as in nft."""

from __future__ import annotations

from netkit._spec.addresses import ip_network
from netkit._spec.names import device
from netkit._spec.numbers import integer, port_range
from netkit._spec.value import Value, shown, type_of
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Generic, TypeAlias, TypeVar

    from netkit._spec.addresses import IPNetwork, NetworkLike
    from netkit._spec.routes import DeviceLike

    T_co = TypeVar("T_co", covariant=True)
    AddressMatch: TypeAlias = NetworkLike | Sequence[NetworkLike]
    NatPort: TypeAlias = str | int | tuple[int | str, int | str]

    class _Generic(Value, Generic[T_co]):
        """Match is generic for type checkers only: typing is slow to import."""
else:

    class _Generic(Value):
        __slots__ = ()

        def __class_getitem__(cls, item: object) -> type:
            return cls


_set = object.__setattr__

PROTOCOLS = {
    "icmp": 1,
    "tcp": 6,
    "udp": 17,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "sctp": 132,
    "udplite": 136,
}
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_FAMILY = {"icmp": 4, "icmpv6": 6}


class Match(_Generic["T_co"]):
    """A value that a packet is compared with, and whether it is to differ."""

    __slots__ = _fields = ("value", "negated")

    value: T_co
    negated: bool

    def __init__(self, value: T_co, negated: bool = False) -> None:
        _set(self, "value", value)
        _set(self, "negated", negated)

    def __str__(self) -> str:
        text = _text(self.value)
        return f"!= {text}" if self.negated else text


def _text(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    ends: tuple[object, ...] = value  # pyright: ignore[reportUnknownVariableType]
    return str(ends[0]) if ends[0] == ends[-1] else f"{ends[0]}-{ends[-1]}"


def protocol_value(name: str) -> int:
    """The number of a protocol as ``checked_protocol`` names it."""
    return PROTOCOLS[name] if name in PROTOCOLS else int(name)


def _split(value: object, what: str) -> tuple[object, bool]:
    if not isinstance(value, str) or not value.startswith("!"):
        return value, False
    if not value.startswith("!= "):
        raise SpecError(f"{what} {shown(value)}: negate with '!= ', as in {'!= ' + value.lstrip('!= ')!r}")
    return value[3:].strip(" "), True


def address_matches(value: object, what: str) -> tuple[Match[IPNetwork], ...]:
    """Networks to compare the packet's address with: one, or several that it must be outside of."""
    if value is None:
        return ()
    found = tuple([_one_match(each, what) for each in _several(value)])
    plain = next((match for match in found if not match.negated), None)
    if plain is not None and len(found) > 1:
        raise SpecError(
            f"{what} has '{plain}' among several: a packet is in one network; several are to be left out, "
            f"each with '!= ', as in {what}=['!= 172.18.0.0/24', '!= 224.0.0.0/4']; else make several rules"
        )
    return found


def _several(value: object) -> Sequence[object]:
    if isinstance(value, (list, tuple)) and value:
        return value  # pyright: ignore[reportUnknownVariableType]
    return (value,)  # pyright: ignore[reportUnknownVariableType]


def _one_match(value: object, what: str) -> Match[IPNetwork]:
    plain, negated = _split(value, what)
    return Match(ip_network(plain, what), negated)


def port_match(value: object, what: str) -> Match[tuple[int, int]] | None:
    """A port or a range of ports."""
    if value is None:
        return None
    plain, negated = _split(value, what)
    return Match(port_range(plain, what), negated)


def device_match(value: DeviceLike | None, what: str) -> Match[str] | None:
    """The name of a device. One that ends in ``*`` or ``+`` would match many: refused."""
    if value is None:
        return None
    plain, negated = _split(value, what)
    name = device(plain, what)
    if name[-1] in "*+":
        raise SpecError(
            f"{what} {name!r} would match every name that begins with {name[:-1]!r}: give one name"
        )
    return Match(name, negated)


def checked_protocol(value: object) -> Match[str] | None:
    """A protocol by name or number; a number without a name here stays a number, as text."""
    if value is None:
        return None
    plain, negated = _split(value, "proto")
    if isinstance(plain, str):
        name = {"ipv6-icmp": "icmpv6", "icmp6": "icmpv6"}.get(plain.lower(), plain.lower())
        if name in PROTOCOLS:
            return Match(name, negated)
        if not (name.isascii() and name.isdigit() and len(name) <= 3):
            raise SpecError(f"proto {shown(value)} is unknown: {', '.join(PROTOCOLS)} or a number up to 255")
        plain = int(name)
    if not isinstance(plain, int):
        raise SpecError(
            f"proto {shown(value)} is {type_of(value)}: give a name or a number, one for each rule"
        )
    number = integer(plain, "proto", 1, 255)
    return Match(_PROTOCOL_NAMES.get(number, str(number)), negated)


def protocol_family(proto: Match[str] | None, family: int | None) -> int | None:
    """The family, where the protocol says it; SpecError where it says another."""
    wanted = None if proto is None or proto.negated else _FAMILY.get(proto.value)
    if wanted is None or family == wanted:
        return family
    if family is None:
        return wanted
    right = "icmpv6" if family == 6 else "icmp"
    raise SpecError(f"proto '{proto}' with IPv{family} addresses: use proto={right!r}")
