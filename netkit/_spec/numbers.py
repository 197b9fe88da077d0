"""Numbers with a range: ports, MTUs, VLANs, weights, timers. A bool or a float is no number here."""

from __future__ import annotations

from netkit._spec.value import shown, type_of
from netkit.errors import SpecError

U32 = 2**32 - 1


def integer(value: object, what: str, low: int, high: int) -> int:
    """An int from ``low`` to ``high``; bools, floats and strings are refused."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"{what} {shown(value)} is {type_of(value)}: give an int, {low} to {high}")
    if not low <= value <= high:
        raise SpecError(f"{what} {shown(value)} is out of range: {low} to {high}")
    return int(value)


def boolean(value: object, what: str) -> bool:
    """True or False and nothing that merely counts as one."""
    if not isinstance(value, bool):
        raise SpecError(f"{what} {shown(value)} is {type_of(value)}: give True or False")
    return value


def port(value: object, what: str = "port") -> int:
    """A port, 1 to 65535, as an int or as digits such as ``"80"``."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 5):
            raise SpecError(f"{what} {shown(value)} is not a number: give 1 to 65535, such as 80 or '80'")
        value = int(value)
    return integer(value, what, 1, 65535)


def port_range(value: object, what: str = "port") -> tuple[int, int]:
    """One port or a range, ``80``, ``"80"``, ``"1000-2000"`` or ``(1000, 2000)``, as (low, high)."""
    if isinstance(value, str) and "-" in value:
        low, _, high = value.partition("-")
        return _ordered(port(low, what), port(high, what), what)
    if isinstance(value, list):
        raise SpecError(
            f"{what} {shown(value)} is a list: a range is (1000, 2000) or '1000-2000'; several ports are "  # pyright: ignore[reportUnknownArgumentType]
            "several rules"
        )
    if isinstance(value, tuple):
        ends: tuple[object, ...] = tuple(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        if len(ends) != 2:
            raise SpecError(f"{what} {shown(ends)} is no range: give (low, high) or '1000-2000'")
        return _ordered(port(ends[0], what), port(ends[1], what), what)
    only = port(value, what)
    return only, only


def _ordered(low: int, high: int, what: str) -> tuple[int, int]:
    if low > high:
        raise SpecError(f"{what} '{low}-{high}' runs backwards: write '{high}-{low}'")
    return low, high


def mtu(value: object, what: str = "mtu", low: int = 68, high: int = 65535) -> int:
    """An MTU in bytes. 68 is the least that IPv4 allows (RFC 791); IPv6 needs 1280 (RFC 8200)."""
    return integer(value, what, low, high)


def vlan(value: object, what: str = "vlan") -> int:
    """A VLAN id, 1 to 4094 (IEEE 802.1Q keeps 0 and 4095 for itself)."""
    return integer(value, what, 1, 4094)


def weight(value: object, what: str = "weight") -> int:
    """The weight of a next hop, 1 to 256: the kernel keeps it minus one in a byte (rtnh_hops)."""
    return integer(value, what, 1, 256)


def metric(value: object, what: str = "metric") -> int:
    """A route's metric (RTA_PRIORITY): less is preferred."""
    return integer(value, what, 0, U32)


def priority(value: object, what: str = "priority") -> int:
    """A policy rule's priority (FRA_PRIORITY): less is asked first."""
    return integer(value, what, 0, U32)


def port_cost(value: object, what: str = "cost") -> int:
    """A bridge port's STP path cost, 1 to 65535 (net/bridge/br_private.h)."""
    return integer(value, what, 1, 65535)


def port_priority(value: object, what: str = "priority") -> int:
    """A bridge port's STP priority, 0 to 63 (net/bridge/br_private.h)."""
    return integer(value, what, 0, 63)


# Seconds, as net/bridge/br_private_stp.h has them. The forward delay is held to its range
# only while STP is on; ageing_time has no limit but its width.
_BRIDGE_TIMERS = {
    "forward_delay": (2, 30),
    "hello_time": (1, 10),
    "max_age": (6, 40),
    "ageing_time": (0, U32 // 100),
}


def bridge_timer(value: object, what: str, stp: bool = False) -> int:
    """A bridge's timer in seconds (int or float) as the centiseconds that the kernel counts in."""
    low, high = _BRIDGE_TIMERS[what]
    if what == "forward_delay" and not stp:
        low, high = 0, U32 // 100
    return round(seconds(value, what, low, high) * 100)


def seconds(value: object, what: str, low: float = 0, high: float = U32) -> float:
    """A time in seconds, int or float, from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(f"{what} {shown(value)} is {type_of(value)}: give seconds as an int or a float")
    if not low <= value <= high:  # a nan fails this too
        raise SpecError(f"{what} {shown(value)} is out of range: {low} to {high} seconds")
    return value
