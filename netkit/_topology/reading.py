"""From a dict, as JSON, TOML or YAML give one, to a plan; what is wrong is said with its place."""

from __future__ import annotations

from netkit._spec import names, numbers
from netkit._spec.mac import mac as parse_mac
from netkit._topology import checks, rule_checks
from netkit._topology.schema import Table, at, mapping, text
from netkit._topology.values import EndPlan, LinkPlan, NamespacePlan, NatPlan, RoutePlan
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._topology.plan import Plan

_ROUTE_OPTIONS = ("via", "dev", "src", "metric", "mtu", "onlink", "type", "family")
_NAT_OPTIONS = ("saddr", "daddr", "proto", "sport", "dport", "to", "family", "backend")
_NAT_KEYS = {
    "masquerade": (*_NAT_OPTIONS, "oif"),
    "snat": (*_NAT_OPTIONS, "oif"),
    "dnat": (*_NAT_OPTIONS, "iif", "local"),
    "redirect": (*_NAT_OPTIONS, "iif", "local"),
}


def read_head(data: object) -> tuple[Table, tuple[str, ...], bool]:
    """The whole as a table, and what a plan is made with."""
    top = Table(data, "", ("subnet", "routing", "namespaces", "bridges", "links"))
    return top, top.get("subnet", checks.pool, ("auto",)), top.get("routing", _boolean, True)


def read(plan: Plan, top: Table) -> None:
    """Fill a new plan."""
    namespaces = [_add_namespace(plan, *each) for each in top.pairs("namespaces")]
    for each in top.pairs("bridges"):
        _add_bridge(plan, *each)
    for path, value in top.entries("links"):
        _add_link(plan, path, value)
    for name, table in namespaces:  # all names are known now
        _add_rules(plan, name, table)


def _add_namespace(plan: Plan, path: str, name: str, value: object) -> tuple[str, Table]:
    table = Table(value, path, ("forwarding", "named", "sysctls", "routes", "nat"))
    at(path, plan._new_name, name, "namespace name")
    made = NamespacePlan(
        name,
        table.get("named", checks.named, False),
        table.get("forwarding", _boolean, False),
        tuple([at(where, checks.sysctl, key, each) for where, key, each in table.pairs("sysctls")]),
    )
    plan._put_namespace(made)
    return name, table


def _add_bridge(plan: Plan, path: str, name: str, value: object) -> None:
    table = Table(value, path, ("namespace", "device", "address", "subnet", *checks.BRIDGE_OPTIONS))
    at(path, plan._new_name, name, "bridge name")
    namespace = table.get("namespace", lambda given: plan._namespace(given).name, None)
    options = table.rest("namespace", "device", "address", "subnet")
    for key, each in options.items():  # one by one, to say which; the range of forward_delay depends on stp
        at(f"{path}.{key}", checks.bridge_options, {"stp": options.get("stp") is True, key: each})
    made = checks.bridge(
        name,
        namespace,
        table.get("device", lambda given: names.interface_name(given, "device"), None),
        table.get("address", checks.addressing, None),
        table.get("subnet", checks.link_subnet, None),
        options,
    )
    plan._put_bridge(made)


def _add_link(plan: Plan, path: str, value: object) -> None:
    table = Table(value, path, ("ends", "subnet", "mtu", "queues"))
    table.need("ends")
    ends = [_end(plan, *each) for each in table.entries("ends")]
    if len(ends) != 2:
        raise SpecError(f"{path}.ends: a link has two, not {len(ends)}")
    made = LinkPlan(
        (ends[0], ends[1]),
        table.get("subnet", checks.link_subnet, None),
        table.get("mtu", numbers.mtu, None),
        table.get("queues", checks.queues, 1),
    )
    at(path, plan._put_link, made)


def _end(plan: Plan, path: str, value: object) -> EndPlan:
    """``"box"``, ``"box:eth0"``, or a table."""
    if isinstance(value, str):
        name, colon, device = value.rpartition(":")
        if not colon or value in plan.namespaces or value in plan.bridges:
            return at(path, plan._end, value, None, "auto", None, False)
        return at(path, plan._end, name, device, "auto", None, False)
    table = Table(value, path, ("namespace", "bridge", "name", "address", "mac", "default_route"))
    if ("namespace" in table) is ("bridge" in table):
        raise SpecError(f"{path}: an end is in a namespace or at a bridge: give one of these two keys")
    kind, known = ("namespace", plan.namespaces) if "namespace" in table else ("bridge", plan.bridges)
    where = at(f"{path}.{kind}", text, table.need(kind))
    if where not in known:
        raise SpecError(f"{path}.{kind}: {checks.unknown_end(where, kind, plan.namespaces, plan.bridges)}")
    return at(
        path,
        plan._end,
        where,
        table.get("name", names.interface_name, None),
        table.get("address", checks.addressing, "auto"),
        table.get("mac", parse_mac, None),
        table.get("default_route", checks.default_route, False),
    )


def _add_rules(plan: Plan, name: str, table: Table) -> None:
    known = plan._known()
    routes: list[RoutePlan] = []
    for path, value in table.entries("routes"):
        route = Table(value, path, ("dst", *_ROUTE_OPTIONS))
        routes.append(at(path, rule_checks.route, route.need("dst"), route.rest("dst"), known))
    rules: list[NatPlan] = []
    for path, value in table.entries("nat"):
        kind = mapping(value, path).get("kind")
        if not isinstance(kind, str) or kind not in _NAT_KEYS:
            raise SpecError(f"{path}.kind: {rule_checks.unknown_nat(kind)}")
        rule = Table(value, path, ("kind", *_NAT_KEYS[kind]))
        rules.append(at(path, rule_checks.nat_rule, kind, rule.rest("kind"), known))
    if routes or rules:
        plan._put_namespace(plan.namespaces[name]._with(routes=tuple(routes), nat=tuple(rules)))


def _boolean(value: object) -> bool:
    return numbers.boolean(value, "it")
