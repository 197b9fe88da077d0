"""From the objects that people hold to a Picture of what they are about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from netkit._display import live, planned
from netkit._display.contents import box_of
from netkit._display.model import End, State, Wire, worse
from netkit._display.picture import Picture

if TYPE_CHECKING:
    from netkit._lifecycle.owned import Owned
    from netkit._lifecycle.scope import Scope
    from netkit._namespace import Namespace
    from netkit._snapshot import Snapshot
    from netkit._topology.network import Network
    from netkit._topology.plan import Plan


def of_namespaces(namespaces: Iterable[Namespace], title: str = "") -> Picture:
    """Any namespaces, called as they call themselves."""
    return of_named([(live.label(each), each) for each in namespaces], title)


def of_named(named: Sequence[tuple[str, Namespace]], title: str = "") -> Picture:
    """Namespaces by names that somebody has for them."""
    boxes, wires = live.read(_distinct(named))
    return Picture(boxes, wires, title)


def _distinct(named: Iterable[tuple[str, Namespace]]) -> list[tuple[str, Namespace]]:
    """Two that are called the same are told apart by numbers."""
    counts: dict[str, int] = {}
    found: list[tuple[str, Namespace]] = []
    for name, netns in named:
        counts[name] = counts.get(name, 0) + 1
        found.append((name if counts[name] == 1 else f"{name} #{counts[name]}", netns))
    return found


def of_plan(plan: Plan) -> Picture:
    """What a topology is going to be."""
    boxes, wires = planned.read(plan)
    return Picture(boxes, wires, repr(plan)[1:-1])


def of_network(network: Network) -> Picture:
    """A topology that is built, by the names of its plan; one that is not, as its plan."""
    if network._parts is None or network._state not in ("owned", "borrowed"):
        boxes, wires = planned.read(network.topology)
        return Picture(boxes, wires, repr(network)[1:-1], note=f"This network is {_state_of(network)}.")
    named = [(key.removeprefix("/"), netns) for key, netns in network._namespaces.items()]
    return of_named(named, repr(network)[1:-1])


def _state_of(network: Network) -> str:
    from netkit._lifecycle.resource import PHRASE

    return PHRASE[network._state]


def of_snapshot(snapshot: Snapshot) -> Picture:
    """One namespace as it was."""
    box = box_of("n0", "snapshot", snapshot)
    states: dict[str, State] = {each.name: each.state for each in box.devices}
    wires: list[Wire] = []
    for link in snapshot.links:
        if link.kind == "veth" and link.peer in states and link.name < link.peer and link.name in states:
            state = worse(states[link.name], states[link.peer])
            wires.append(Wire(End("n0", link.name), End("n0", link.peer), state))
    note = "" if snapshot.consistent else "It was read while it changed."
    return Picture([box], wires, "a snapshot", note)


def of_scope(scope: Scope) -> Picture:
    """All that a scope owns, and of the namespaces that it only borrows what belongs to that."""
    members = scope._held_members()
    namespaces = list(dict.fromkeys([each for member in members for each in _namespaces(member)]))
    own = set(members)
    indexes: dict[tuple[int, int], set[int]] = {}
    for member in members:
        for runtime, index in member._places():
            indexes.setdefault(runtime.identity, set()).add(index)
    only: dict[tuple[int, int], frozenset[int]] = {}
    for each in namespaces:
        identity = each._identity_or_none()
        if each not in own and identity is not None:
            only[identity] = frozenset(indexes.get(identity, ()))
    named = _distinct([(live.label(each), each) for each in namespaces])
    boxes, wires = live.read(named, only)
    note = {"open": "", "new": "This scope is not entered yet."}.get(scope._state, "This scope is closed.")
    return Picture(boxes, wires, repr(scope)[1:-1], note)


def _namespaces(member: Owned) -> list[Namespace]:
    """The namespaces that a resource is, or is in."""
    from netkit._known import known_at
    from netkit._namespace import Namespace

    if isinstance(member, Namespace):
        return [member]
    found = [known_at(runtime.identity) for runtime in member._runtimes() if runtime is not None]
    return [each for each in found if each is not None]
