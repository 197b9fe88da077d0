"""Turns what a user gives into the plan's values; SpecError for what cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

from netkit._address import parse_addresses
from netkit._bridge import Bridge
from netkit._namespace import Namespace
from netkit._spec import names, numbers
from netkit._spec.addresses import ip_address, ip_network
from netkit._spec.addresses import mac as parse_mac
from netkit._spec.value import shown, type_of
from netkit._system.sysctl import key_path, value_text
from netkit._topology.addressing import AUTOMATIC
from netkit._topology.naming import unknown
from netkit._topology.values import BridgePlan
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from ipaddress import IPv4Address, IPv6Address
    from typing import Any, TypeGuard

    from netkit._topology.values import Addressing, Options

BRIDGE_OPTIONS = (
    "mac", "mtu", "stp", "forward_delay", "hello_time", "max_age", "ageing_time", "mcast_snooping",
    "vlan_filtering",
)  # fmt: skip


def subnets(value: object, what: str = "subnet") -> tuple[str, ...]:
    """``subnet=`` as texts: ``auto``, ``auto6``, networks; one or several."""
    given = tuple(value) if _is_several(value) else (value,)
    found: list[str] = []
    for each in given:
        if isinstance(each, int):
            raise SpecError(f"{what} {shown(each)} is a number: give a network such as '10.0.0.0/24'")
        automatic = isinstance(each, str) and each in AUTOMATIC
        text = str(each) if automatic else _network_text(each, what)
        if text in found:
            raise SpecError(f"{what} {text!r} is given twice")
        found.append(text)
    return tuple(found)


def _is_several(value: object) -> TypeGuard[Iterable[object]]:
    """Whether it is a collection of subnets, for a network can be iterated over, too."""
    return isinstance(value, Iterable) and not isinstance(
        value, (str, bytes, Mapping, IPv4Network, IPv6Network)
    )


def _network_text(value: object, what: str) -> str:
    try:
        network = ip_network(value, what)
    except SpecError as problem:
        word = isinstance(value, str) and "." not in value and ":" not in value
        hint = "; 'auto' is an IPv4 one that is chosen, 'auto6' an IPv6 one" if word else ""
        raise SpecError(f"{problem}{hint}") from None
    reason = _why_nobody(network.network_address)
    if reason is not None:
        raise SpecError(f"{what} '{network}' {reason}: no device can have an address handed out from it")
    return str(network)


def _why_nobody(first: IPv4Address | IPv6Address) -> str | None:
    """Why the addresses from this one on can't be handed out: the kernel refuses or drops them.

    RFC 6890: 0.0.0.0/8 is "this host on this network"; before ::2 there are the unspecified address and
    the loopback one.
    """
    if first.is_multicast:
        return "is multicast"
    if first.is_loopback:
        return "is of the loopback device"
    if first.version == 4 and int(first) >> 24 == 0:
        return "begins in 0.0.0.0/8, this host itself"
    return "begins with the unspecified address" if first.is_unspecified else None


def pool(value: object, what: str = "subnet") -> tuple[str, ...]:
    """The ``subnet=`` of a topology: at most one of each family."""
    if value is None:
        return ()
    found = subnets(value, what)
    versions = [AUTOMATIC.get(text) or ip_network(text).version for text in found]
    if len(set(versions)) < len(versions):
        raise SpecError(f"{what} {', '.join(found)}: one for each family is the most")
    return found


def addressing(value: object) -> Addressing:
    """``address=``: ``"auto"``, None for none, or one or several."""
    if value is None:
        return ()
    if isinstance(value, str) and value == "auto":
        return "auto"
    return parse_addresses(value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def default_route(value: object) -> bool | str:
    """``default_route=``: True, False, or the name or address of a gateway."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value
    return str(ip_address(value, "default_route"))


def named(value: object) -> bool | str:
    """``named=``: True, False, or the name to register."""
    return value if isinstance(value, bool) else names.namespace_name(value, "named")


def sysctls(value: Mapping[str, str | int] | None) -> tuple[tuple[str, str], ...]:
    """``sysctls=`` as pairs of key and text."""
    return tuple([sysctl(key, each) for key, each in (value or {}).items()])


def sysctl(key: object, value: object) -> tuple[str, str]:
    """One of them."""
    if not isinstance(key, str):
        raise SpecError(f"sysctl {shown(key)} is {type_of(key)}: a key is a str")
    key_path(key)
    return key, value_text(value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def bridge(
    name: str,
    namespace: str | None,
    device: object,
    address: object,
    subnet: object,
    options: Mapping[str, Any],
) -> BridgePlan:
    """A bridge of the plan; ``options`` are the keywords of `Bridge`."""
    return BridgePlan(
        name,
        namespace,
        None if device is None else names.interface_name(device, "device"),
        addressing(address),
        None if subnet is None else subnets(subnet),
        bridge_options(options),
    )


def bridge_options(options: Mapping[str, Any]) -> Options:
    """The keywords of `Bridge`, by its own checks; defaults are left out."""
    given = {key: value for key, value in options.items() if value is not None}
    Bridge(Namespace(), "br0", **given)
    if "mac" in given:
        given["mac"] = parse_mac(given["mac"])
    if given.get("stp") is False:
        del given["stp"]
    return tuple([(key, given[key]) for key in BRIDGE_OPTIONS if key in given])


def unknown_end(name: str, kind: str, namespaces: Collection[str], bridges: Collection[str]) -> str:
    """Why there is no such namespace or bridge, and what there is."""
    found = namespaces if kind == "namespace" else bridges
    other = ("bridge", bridges) if kind == "namespace" else ("namespace", namespaces)
    if name in other[1]:
        return f"'{name}' is a {other[0]}: write {other[0]} = '{name}'"
    return unknown(name, found, f"{kind} of the plan")


def link_subnet(value: object) -> tuple[str, ...] | None:
    """``subnet=`` of a link."""
    return None if value is None else subnets(value)


def queues(value: object) -> int:
    """``queues=`` of a link, as in VethPair."""
    return numbers.integer(value, "queues", 1, 4096)
