"""Turns routes and NAT rules into the plan's values; SpecError for what cannot be.

Names of the plan may stand where addresses do. What they stand for is known only when the plan is worked
out, so an address of the documentation range takes their place here (RFC 5737, RFC 3849).
"""

from __future__ import annotations

from netkit._spec import names, nat, numbers
from netkit._spec._nat_target import parse_target, target_text
from netkit._spec.addresses import ip_address, ip_network
from netkit._spec.routes import Route
from netkit._spec.value import shown
from netkit._topology.naming import suggestion, unknown
from netkit._topology.references import split_port
from netkit._topology.values import NatPlan, RoutePlan
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Mapping
    from typing import Any

    from netkit._spec.nat import NatSpec
    from netkit._topology.values import Option

_FLAGS = ("onlink", "local")
NAT_KINDS: dict[str, Callable[..., NatSpec]] = {
    "masquerade": nat.masquerade,
    "snat": nat.snat,
    "dnat": nat.dnat,
    "redirect": nat.redirect,
}


def route(dst: object, options: Mapping[str, Any], known: Collection[str]) -> RoutePlan:
    """A route; ``dst`` and ``via`` may be names of the plan."""
    given = {key: _plain(value) for key, value in options.items() if _says_something(key, value)}
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


def _says_something(key: str, value: object) -> bool:
    """Whether an option is not as when it is left out. ``oif: no`` in YAML is False, which is no device."""
    return value is not None and (value is not False or key not in _FLAGS)


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


def nat_rule(kind: str, options: Mapping[str, Any], known: Collection[str]) -> NatPlan:
    """A NAT rule; ``saddr``, ``daddr`` and the address in ``to`` may be names of the plan."""
    given = {
        key: _nat_option(kind, key, value) for key, value in options.items() if _says_something(key, value)
    }
    tried: dict[str, Any] = {key: value for key, value in given.items() if key != "backend"}
    family = given.get("family")
    stand_in = _stand_in(6 if family == 6 or _says_six(given, known) else 4)
    for word in ("saddr", "daddr"):
        text = given.get(word)
        if isinstance(text, str) and text.removeprefix("!= ") in known:
            tried[word] = text.replace(text.removeprefix("!= "), stand_in)
    to = given.get("to")
    if kind in ("snat", "dnat") and isinstance(to, str):
        tried["to"] = _tried_target(to, stand_in, known)
    if "backend" in given:
        from netkit._nat.backend import check_name

        check_name(given["backend"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    try:
        NAT_KINDS[kind](**tried)
    except SpecError as problem:
        words = [str(given.get(word, "")).removeprefix("!= ") for word in ("saddr", "daddr", "to")]
        wrong = [word for word in words if word and shown(word.rpartition(":")[0] or word) in str(problem)]
        raise _hinted(problem, wrong[0] if wrong else "", known) from None
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


def unknown_nat(kind: object) -> str:
    """Why there is no such NAT rule."""
    return (
        "it is missing: give masquerade, snat, dnat or redirect"
        if kind is None
        else unknown(kind, NAT_KINDS, "NAT rule")
    )
