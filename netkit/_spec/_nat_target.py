"""Where a NAT rule sends packets: an address or a range of them, and ports."""

from __future__ import annotations

from netkit._spec._family import checked_via
from netkit._spec.numbers import port_range
from netkit._spec.value import shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from netkit._spec.addresses import AddressLike, IPAddress

    PortLike: TypeAlias = str | int | tuple[int | str, int | str]
    NatTarget: TypeAlias = AddressLike | tuple[AddressLike, PortLike]

    # Low address, high address of a range, ports.
    Target: TypeAlias = tuple[IPAddress | None, IPAddress | None, tuple[int, int] | None]
else:
    Target = tuple


FIRST_ADDRESS = 1 << 24  # what is below, as a number, is 0.0.0.0/8


def parse_target(to: object, kind: str) -> Target:
    """``to`` of snat and dnat, in nft's forms or as a tuple (address, port)."""
    if to is None:
        raise SpecError(f"{kind} without a target: give to='ADDRESS' or to='ADDRESS:PORT'{_instead(kind)}")
    if isinstance(to, tuple):
        pair: tuple[object, ...] = to  # pyright: ignore[reportUnknownVariableType]
        if len(pair) != 2:
            raise SpecError(f"to {shown(pair)} is no target: give (address, port)")
        return *_addresses(pair[0]), port_range(pair[1], f"to {shown(pair)}: port")
    if isinstance(to, int) and to < FIRST_ADDRESS:  # a port, far more likely than 0.x.y.z
        raise SpecError(f"to {shown(to)} has no address{_instead(kind)}")
    if not isinstance(to, str):
        return checked_via(to, "to"), None, None
    if to.startswith(":") and not to.startswith("::"):
        raise SpecError(f"to {shown(to)} has no address{_instead(kind)}")
    addresses, ports = _split(to)
    return *_addresses(addresses), None if ports is None else port_range(ports, f"to {shown(to)}: port")


def _instead(kind: str) -> str:
    if kind == "snat":
        return "; masquerade() takes the device's address"
    return "; redirect(to=PORT) is for this machine"


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        address, bracket, rest = text.rpartition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise SpecError(f"to {shown(text)} is no target: write '[ADDRESS]:PORT'")
        return address + bracket, rest[1:] if rest else None
    if text.count(":") == 1:  # more of them is an IPv6 address without a port
        address, _, ports = text.partition(":")
        return address, ports
    return text, None


def _addresses(value: object) -> tuple[IPAddress, IPAddress | None]:
    if isinstance(value, str) and "-" in value:
        first, _, last = value.partition("-")
        return _ordered(_address(first), _address(last), value)
    return _address(value), None


def _address(value: object) -> IPAddress:
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        address = checked_via(value[1:-1], "to")
        if address.version == 4:
            raise SpecError(f"to {value!r} has brackets, which are for IPv6: write '{address}'")
        return address
    return checked_via(value, "to")


def _ordered(low: IPAddress, high: IPAddress, text: str) -> tuple[IPAddress, IPAddress | None]:
    if low.version != high.version:
        raise SpecError(f"to {text!r} mixes IPv4 and IPv6")
    if int(low) > int(high):
        raise SpecError(f"to {text!r} runs backwards: write '{high}-{low}'")
    return low, None if low == high else high


def parse_ports(to: object, kind: str) -> tuple[int, int] | None:
    """``to`` of masquerade and redirect: ports only, with nft's leading colon or without."""
    if to is None:
        return None
    plain = to[1:] if isinstance(to, str) and to.startswith(":") else to
    if isinstance(plain, str) and ("." in plain or ":" in plain):
        right = "snat" if kind == "masquerade" else "dnat"
        raise SpecError(f"to {shown(to)} with {kind}: it takes a port only; {right}(to=...) takes an address")
    return port_range(plain, "to")


def target_text(target: Target) -> str:
    """The target as nft writes it."""
    low, high, ports = target
    text = ""
    if low is not None:
        bracket = "[%s]" if low.version == 6 and ports is not None else "%s"
        text = bracket % low if high is None else f"{bracket % low}-{bracket % high}"
    if ports is not None:
        text += f":{ports[0]}" if ports[0] == ports[1] else f":{ports[0]}-{ports[1]}"
    return text
