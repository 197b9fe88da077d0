"""A plan, to be drawn: a Topology that may never have been built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from netkit._display.contents import is_drawn, routes_of
from netkit._display.model import Box, Device, End, Wire
from netkit._spec.routes import Route
from netkit._topology.layout import Layout

if TYPE_CHECKING:
    from netkit._topology.interfaces import Interface
    from netkit._topology.plan import Plan


def read(plan: Plan) -> tuple[list[Box], list[Wire]]:
    """Boxes and wires with the names, addresses and routes that they will have."""
    layout = Layout(plan)
    keys = {name: f"n{number}" for number, name in enumerate(layout.namespaces)}
    devices = {name: list[Device]() for name in layout.namespaces}
    for netns, device in _devices(layout):
        devices[netns].append(device)
    routes = _routes(layout)
    nat: dict[str, list[str]] = {}
    for netns, spec, _ in layout.nat:
        nat.setdefault(netns, []).append(str(spec))
    boxes: list[Box] = []
    for name, key in keys.items():
        defaults, others = routes_of(routes.get(name, ()))
        shown = name.removeprefix("/")
        forwards = name in plan.namespaces and plan.namespaces[name].forwarding
        rules = tuple(nat.get(name, ()))
        boxes.append(Box(key, shown, tuple(devices[name]), defaults, others, rules, forwards=forwards))
    return boxes, list(_wires(layout, keys))


def _devices(layout: Layout) -> Iterator[tuple[str, Device]]:
    bridges = layout.wiring.bridges
    for each in bridges.values():
        yield each.netns, _device(each, "bridge", None)
    for cable in layout.wiring.cables:
        for end, master in ((cable.near, cable.master), (cable.far, cable.far_master)):
            yield end.netns, _device(end, "veth", None if master is None else bridges[master].device)


def _device(interface: Interface, kind: str, master: str | None) -> Device:
    addresses = tuple([str(each) for each in interface.addresses if is_drawn(each)])
    return Device(interface.device, kind, "planned", addresses, master)


def _routes(layout: Layout) -> dict[str, list[Route]]:
    found = {name: list(routes) for name, routes in layout.routes.items()}
    for cable in layout.wiring.cables:
        for end in (cable.near, cable.far):
            found.setdefault(end.netns, []).extend([_by(end.device, route) for route in end.routes])
    return found


def _by(device: str, route: Route) -> Route:
    """With the device that it leaves by, which is the one it stands at in the plan."""
    if route.dev is not None or route.via is None:
        return route
    fields: dict[str, Any] = {name: getattr(route, name) for name in Route._fields}
    fields["dev"] = device
    return Route(**fields)


def _wires(layout: Layout, keys: dict[str, str]) -> Iterator[Wire]:
    for cable in layout.wiring.cables:
        near, far = cable.near, cable.far
        yield Wire(End(keys[near.netns], near.device), End(keys[far.netns], far.device), "planned")
