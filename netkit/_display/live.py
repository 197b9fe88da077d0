"""Namespaces that are there, read to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from netkit._display.contents import box_of, state_of
from netkit._display.model import Box, End, Wire, worse
from netkit._known import find_by_nsid, nsid_in
from netkit._lifecycle.resource import PHRASE
from netkit._link import link_by_index
from netkit._nat.reading import own_rules
from netkit._snapshot_answers import Answers
from netkit._snapshot_nat import NatState, read_nat
from netkit.errors import KernelError, NetkitError

if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._nat.reading import Own
    from netkit._runtime import Runtime
    from netkit._snapshot_values import InterfaceAddress, LinkState
    from netkit._spec.routes import Route


class Seen(NamedTuple):
    """What a box is made of, as of one moment."""

    links: Sequence[LinkState]
    addresses: Sequence[InterfaceAddress]
    routes: Sequence[Route]
    nat: Sequence[NatState]


@dataclass
class _Place:
    """A namespace while it is read: ``far_ends`` are (index, nsid) of the peers of its veths, by name."""

    key: str
    name: str
    netns: Namespace
    runtime: Runtime
    seen: Seen
    far_ends: Mapping[str, tuple[int, int | None]]
    forwards: bool
    only: frozenset[str] | None
    far: dict[str, str] = field(default_factory=dict[str, str])

    def drawn(self) -> list[LinkState]:
        """In the order in which they were made, for the places in a drawing follow it."""
        links = [each for each in self.seen.links if self.only is None or each.name in self.only]
        return sorted(links, key=attrgetter("index"))


def read(
    namespaces: Sequence[tuple[str, Namespace]],
    only: Mapping[tuple[int, int], frozenset[int]] | None = None,
) -> tuple[list[Box], list[Wire]]:
    """Boxes for namespaces with their names, and the veths between them.

    ``only`` are the indexes of the links to draw, of namespaces by their identity. One that cannot be read
    is a box that says why.
    """
    rules = own_rules()
    places: dict[tuple[int, int], _Place] = {}
    boxes: list[Box | _Place] = []
    for number, (name, netns) in enumerate(namespaces):
        found = _place(f"n{number}", name, netns, rules, only or {})
        if isinstance(found, _Place):
            if found.runtime.identity in places:
                continue  # the same namespace by another name
            places[found.runtime.identity] = found
        boxes.append(found)
    wires = _wires(list(places.values()))
    return [_boxed(each) if isinstance(each, _Place) else each for each in boxes], wires


def _boxed(place: _Place) -> Box:
    return box_of(place.key, place.name, place.seen, forwards=place.forwards, only=place.only, far=place.far)


def _place(
    key: str,
    name: str,
    netns: Namespace,
    rules: Mapping[Runtime, Sequence[Own]],
    only: Mapping[tuple[int, int], frozenset[int]],
) -> _Place | Box:
    runtime = netns._runtime_or_none()
    if runtime is None or netns._state not in ("owned", "borrowed"):
        return Box(key, name, state="deleted" if netns._state == "owned" else PHRASE[netns._state])
    try:
        answers = Answers.read(runtime.route)
        nat = _nat(runtime, rules.get(runtime, ()))
    except (NetkitError, OSError) as problem:
        return Box(key, name, state=str(problem))
    seen = Seen(answers.links(), answers.addresses(), answers.routes(), nat)
    indexes = only.get(runtime.identity)
    names = None if indexes is None else frozenset(_of_interest(seen, indexes))
    return _Place(key, name, netns, runtime, seen, answers.far_ends(), _forwards(netns), names)


def _of_interest(seen: Seen, indexes: frozenset[int]) -> list[str]:
    """The links of these indexes, what they are ports of, and the ways out."""
    chosen = [each for each in seen.links if each.index in indexes]
    ways_out = [each.dev for each in seen.routes if each.dst == "default"]
    return [*[each.name for each in chosen], *[each for each in ways_out if each]]


def _nat(runtime: Runtime, own: Sequence[Own]) -> tuple[NatState, ...]:
    try:
        return read_nat(runtime, own)
    except KernelError:
        return ()  # reading others' rules takes CAP_NET_ADMIN; there are none of ours without it


def _forwards(netns: Namespace) -> bool:
    """Whether it is a router, of either family."""
    keys = ("net.ipv4.conf.all.forwarding", "net.ipv6.conf.all.forwarding")
    try:
        return any(netns.sysctl.get(key) == "1" for key in keys)
    except (NetkitError, OSError):
        return False


# -- wires -------------------------------------------------------------------------


def _wires(places: Sequence[_Place]) -> list[Wire]:
    """The veths whose ends are both drawn; of the others it is noted where they lead."""
    ends = {
        (place.key, link.index): (place, link)
        for place in places
        for link in place.drawn()
        if link.kind == "veth"
    }
    by_index: dict[int, list[tuple[_Place, LinkState]]] = {}
    for place, link in ends.values():
        by_index.setdefault(link.index, []).append((place, link))
    asker = _Asker()
    wires: list[Wire] = []
    done: set[End] = set()
    for place, link in ends.values():
        near = End(place.key, link.name)
        peer = _peer(place, link, by_index, asker)
        if peer is None:
            place.far[link.name] = _told(place, link)
        elif near not in done:
            far = End(peer[0].key, peer[1].name)
            done |= {near, far}
            wires.append(Wire(near, far, worse(state_of(link), state_of(peer[1]))))
    return wires


class _Asker:
    """Asks which namespace an id means to another one, each question once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], int | None] = {}

    def nsid(self, here: _Place, other: _Place) -> int | None:
        pair = (here.key, other.key)
        if pair not in self._known:
            try:
                self._known[pair] = nsid_in(here.runtime, other.runtime)
            except (NetkitError, OSError):  # closed just now: it is nobody's peer any more
                self._known[pair] = None
        return self._known[pair]


def _peer(
    place: _Place, link: LinkState, by_index: Mapping[int, list[tuple[_Place, LinkState]]], asker: _Asker
) -> tuple[_Place, LinkState] | None:
    """The other end, which says by index that this one is its peer, in the namespace that this one names."""
    index, nsid = place.far_ends.get(link.name, (0, None))
    for other, candidate in by_index.get(index, ()):
        if other.far_ends.get(candidate.name, (0, None))[0] != link.index:
            continue
        if nsid is None:
            if other is place and candidate is not link:
                return other, candidate
        elif other is not place and asker.nsid(place, other) == nsid:
            return other, candidate
    return None


def _told(place: _Place, link: LinkState) -> str:
    """Where a veth leads that leaves the picture: by name, if this program has that namespace open."""
    index, nsid = place.far_ends.get(link.name, (0, None))
    if nsid is not None and index:
        try:
            other = find_by_nsid(place.runtime, nsid)
            if other is not None:
                return f"{label(other)}:{link_by_index(other, index)._last_name}"
        except (NetkitError, OSError):
            pass  # it is going away just now
    return "a namespace that is not shown" if index else "nowhere"


def label(netns: Namespace) -> str:
    """What to call a namespace."""
    called = netns._called()
    if called.startswith("namespace '") and called.endswith("'"):
        return called[len("namespace '") : -1]
    return called.removeprefix("the ").removesuffix(" namespace") if called.startswith("the ") else called
