"""From a plan to a dict of plain values, which JSON, TOML and YAML can hold; defaults are left out."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from netkit._topology.plan import Plan
    from netkit._topology.values import Addressing, BridgePlan, EndPlan, LinkPlan, NamespacePlan


def write(plan: Plan) -> dict[str, Any]:
    """The dict that `reading.read` makes an equal plan of."""
    found: dict[str, Any] = {}
    if plan.subnet != ("auto",):
        found["subnet"] = _one_or_several(plan.subnet)
    if not plan.routing:
        found["routing"] = False
    if plan.namespaces:
        found["namespaces"] = {name: _namespace(each) for name, each in plan.namespaces.items()}
    if plan.bridges:
        found["bridges"] = {name: _bridge(each) for name, each in plan.bridges.items()}
    if plan.links:
        found["links"] = [_link(each, plan) for each in plan.links]
    return found


def _namespace(plan: NamespacePlan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if plan.forwarding:
        found["forwarding"] = True
    if plan.named is not False:
        found["named"] = plan.named
    if plan.sysctls:
        found["sysctls"] = {key: _number_or_text(value) for key, value in plan.sysctls}
    if plan.routes:
        found["routes"] = [{"dst": route.dst, **dict(route.options)} for route in plan.routes]
    if plan.nat:
        found["nat"] = [{"kind": rule.kind, **dict(rule.options)} for rule in plan.nat]
    return found


def _bridge(plan: BridgePlan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in (("namespace", plan.namespace), ("device", plan.device)):
        if value is not None:
            found[key] = value
    if plan.address:
        found["address"] = _addresses(plan.address)
    if plan.subnet is not None:
        found["subnet"] = _one_or_several(plan.subnet)
    return {**found, **dict(plan.options)}


def _link(plan: LinkPlan, whole: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {"ends": [_end(end, end.at in whole.bridges) for end in plan.ends]}
    if plan.subnet is not None:
        found["subnet"] = _one_or_several(plan.subnet)
    if plan.mtu is not None:
        found["mtu"] = plan.mtu
    if plan.queues != 1:
        found["queues"] = plan.queues
    return found


def _end(plan: EndPlan, is_port: bool) -> str | dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in (("name", plan.name), ("mac", plan.mac)):
        if value is not None:
            found[key] = value
    if plan.address != "auto" and not is_port:
        found["address"] = _addresses(plan.address)
    if plan.default_route is not False:
        found["default_route"] = plan.default_route
    return {"bridge" if is_port else "namespace": plan.at, **found} if found else plan.at


def _addresses(value: Addressing) -> str | list[str]:
    return "auto" if value == "auto" else _one_or_several(tuple([str(address) for address in value]))


def _one_or_several(values: tuple[str, ...]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def _number_or_text(text: str) -> int | str:
    is_number = len(text) < 19 and text.isascii() and text.isdecimal()  # TOML has 64 bits
    return int(text) if is_number and str(int(text)) == text else text
