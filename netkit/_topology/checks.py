"""Turns what a user gives into the plan's values; SpecError for what cannot be.

Names of the plan may stand where addresses do. What they stand for is known only when the plan is worked
out, so an address of the documentation range takes their place here (RFC 5737, RFC 3849).
"""

from __future__ import annotations

from netkit._address import parse_addresses
from netkit._bridge import Bridge
from netkit._namespace import Namespace
from netkit._spec import names, nat, numbers
from netkit._spec._nat_target import parse_target, target_text
from netkit._spec.addresses import ip_address, ip_network
from netkit._spec.addresses import mac as parse_mac
from netkit._spec.routes import Route
from netkit._spec.value import shown
from netkit._system.sysctl import key_path, value_text
from netkit._topology.addressing import AUTOMATIC
from netkit._topology.naming import suggestion, unknown
from netkit._topology.references import split_port
from netkit._topology.values import BridgePlan, NatPlan, RoutePlan
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Mapping
    from typing import Any

    from netkit._spec.nat import NatSpec
    from netkit._topology.values import Addressing, Option, Options

BRIDGE_OPTIONS = (
    "mac", "mtu", "stp", "forward_delay", "hello_time", "max_age", "ageing_time", "mcast_snooping",
    "vlan_filtering",
)  # fmt: skip
NAT_KINDS: dict[str, Callable[..., NatSpec]] = {
    "masquerade": nat.masquerade,
    "snat": nat.snat,
    "dnat": nat.dnat,
    "redirect": nat.redirect,
}


def subnets(value: object, what: str = "subnet") -> tuple[str, ...]:
    """``subnet=`` as texts: ``auto``, ``auto6``, networks; one or several."""
    several = isinstance(value, (list, tuple))
    given: tuple[object, ...] = tuple(value) if several else (value,)  # type: ignore[arg-type]  # pyright: ignore
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


def _network_text(value: object, what: str) -> str:
    try:
        return str(ip_network(value, what))
    except SpecError as problem:
        word = isinstance(value, str) and "." not in value and ":" not in value
        hint = "; 'auto' is an IPv4 one that is chosen, 'auto6' an IPv6 one" if word else ""
        raise SpecError(f"{problem}{hint}") from None


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
        raise SpecError(f"sysctl {shown(key)} is a {type(key).__name__}: a key is a str")
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


def unknown_nat(kind: object) -> str:
    """Why there is no such NAT rule."""
    return (
        "it is missing: give masquerade, snat, dnat or redirect"
        if kind is None
        else unknown(kind, NAT_KINDS, "NAT rule")
    )


def link_subnet(value: object) -> tuple[str, ...] | None:
    """``subnet=`` of a link."""
    return None if value is None else subnets(value)


def queues(value: object) -> int:
    """``queues=`` of a link, as in VethPair."""
    return numbers.integer(value, "queues", 1, 4096)


# -- routes ---------------------------------------------------------------------------


def route(dst: object, options: Mapping[str, Any], known: Collection[str]) -> RoutePlan:
    """A route; ``dst`` and ``via`` may be names of the plan."""
    given = {key: _plain(value) for key, value in options.items() if value is not None and value is not False}
    if given.get("type") == "unicast":
        del given["type"]
    via = given.get("via")
    tried: dict[str, Any] = dict(given)
    family = numbers.integer(given["family"], "family", 4, 6) if "family" in given else None
    if isinstance(dst, str) and dst in known:
        family = family or (ip_address(via).version if isinstance(via, str) and via not in known else 4)
        target = f"{_stand_in(family)}/{32 if family == 4 else 128}"
        text = dst
    else:
        is_default = isinstance(dst, str) and dst == "default"
        target = text = "default" if is_default else str(ip_network(dst, "dst"))
        family = family or (6 if ":" in target else None)
    if isinstance(via, str) and via in known:
        tried["via"] = _stand_in(family or 4)
    try:
        Route.build(target, **tried)
    except SpecError as problem:
        raise _hinted(problem, via, known) from None
    return RoutePlan(text, tuple(given.items()))


def _hinted(problem: SpecError, text: object, known: Iterable[str]) -> SpecError:
    """With the name that was perhaps meant."""
    name = split_port(text)[0] if isinstance(text, str) else ""
    wrong = name and name not in known and not any(each in name for each in ".[") and name.count(":") < 2
    return SpecError(f"{problem}: {suggestion(name, known)}") if wrong else problem


def _stand_in(family: int) -> str:
    return "2001:db8::1" if family == 6 else "192.0.2.1"


def _plain(value: object) -> Option:
    """A number or text as it is, else as text: addresses, networks."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)


# -- NAT ------------------------------------------------------------------------------


def nat_rule(kind: str, options: Mapping[str, Any], known: Iterable[str]) -> NatPlan:
    """A NAT rule; ``saddr``, ``daddr`` and the address in ``to`` may be names of the plan."""
    given = {
        key: _nat_option(kind, key, value)
        for key, value in options.items()
        if value is not None and value is not False
    }
    names_known = frozenset(known)
    tried: dict[str, Any] = {key: value for key, value in given.items() if key != "backend"}
    family = given.get("family")
    stand_in = _stand_in(6 if family == 6 or _says_six(given, names_known) else 4)
    for word in ("saddr", "daddr"):
        text = given.get(word)
        if isinstance(text, str) and text.removeprefix("!= ") in names_known:
            tried[word] = text.replace(text.removeprefix("!= "), stand_in)
    to = given.get("to")
    if kind in ("snat", "dnat") and isinstance(to, str):
        tried["to"] = _tried_target(to, stand_in, names_known)
    if "backend" in given:
        from netkit._nat.backend import check_name

        check_name(given["backend"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    try:
        NAT_KINDS[kind](**tried)
    except SpecError as problem:
        words = [str(given.get(word, "")).removeprefix("!= ") for word in ("saddr", "daddr", "to")]
        wrong = [word for word in words if word and shown(word.rpartition(":")[0] or word) in str(problem)]
        raise _hinted(problem, wrong[0] if wrong else "", names_known) from None
    return NatPlan(kind, tuple(given.items()))


def _says_six(given: Mapping[str, Option], known: Container[str]) -> bool:
    """Whether an address among these is an IPv6 one."""
    for word in ("saddr", "daddr", "to"):
        text = given.get(word)
        if isinstance(text, str) and text.count(":") > 1 and text.removeprefix("!= ") not in known:
            return True
    return False


def _tried_target(to: str, stand_in: str, known: Container[str]) -> str:
    name, port = ("", "") if to in known else split_port(to)
    if to in known:
        return stand_in
    if name in known and port:
        return f"[{stand_in}]:{port}" if ":" in stand_in else f"{stand_in}:{port}"
    return to


def _nat_option(kind: str, key: str, value: Any) -> Option:
    """In the form that it is written in."""
    if key in ("sport", "dport") or (key == "to" and kind in ("masquerade", "redirect")):
        if not isinstance(value, (str, int)):
            low, high = numbers.port_range(value, key)
            return f"{low}-{high}"
    elif key in ("saddr", "daddr") and not isinstance(value, str):
        return str(ip_network(value, key))
    elif key in ("iif", "oif") and not isinstance(value, str):
        return names.device(value, key)
    elif key == "to" and not isinstance(value, str):
        return target_text(parse_target(value, kind))
    return _plain(value)
