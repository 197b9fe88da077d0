"""Which box stands beside which: a network in layers, each wired to the ones beside it only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from netkit._display.model import Box, Wire

Neighbours = Mapping[str, Mapping[str, int]]  # how many wires to each
_SWEEPS = 4


def neighbours_of(boxes: Sequence[Box], wires: Iterable[Wire]) -> dict[str, dict[str, int]]:
    """By key, in the order of the wires."""
    found: dict[str, dict[str, int]] = {each.key: {} for each in boxes}
    for wire in wires:
        one, other = wire.near.box, wire.far.box
        found[one][other] = found[one].get(other, 0) + 1
        if one != other:
            found[other][one] = found[other].get(one, 0) + 1
    return found


def components(boxes: Sequence[Box], beside: Neighbours) -> list[list[str]]:
    """What hangs together, in the order of the boxes."""
    left = dict.fromkeys([each.key for each in boxes])
    found: list[list[str]] = []
    while left:
        reached = _distances(next(iter(left)), beside)
        found.append([key for key in left if key in reached])
        for key in reached:
            del left[key]
    return found


def layers_of(component: Sequence[str], beside: Neighbours) -> tuple[list[list[str]], bool]:
    """The layers from left to right, and whether the first one is of leaves that hang on the second."""
    root = _root(component, beside)
    distances = _distances(root, beside)
    layers: list[list[str]] = [[] for _ in range(max(distances.values()) + 1)]
    for key in distances:  # in the order in which they were reached
        layers[distances[key]].append(key)
    hanging = [key for key in (layers[1] if len(layers) > 1 else []) if is_leaf(key, root, beside)]
    mirrored = len(layers) > 2 and bool(hanging) and len(beside[root]) > 2
    if mirrored:
        layers[1] = [key for key in layers[1] if key not in hanging]
        layers.insert(0, hanging)
    _order(layers, beside)
    return layers, mirrored


def is_leaf(key: str, parent: str, beside: Neighbours) -> bool:
    """Whether it is wired to that one only."""
    return list(beside[key]) == [parent]


def _root(component: Sequence[str], beside: Neighbours) -> str:
    """An end of a chain; else what is in the middle, of several what is wired to most others."""
    degrees = {key: len([other for other in beside[key] if other != key]) for key in component}
    ends = [key for key, degree in degrees.items() if degree < 2]
    if ends and max(degrees.values()) < 3:
        return ends[0]
    far = {key: max(_distances(key, beside).values()) for key in component}
    return min(component, key=lambda key: (far[key], -degrees[key]))


def _distances(root: str, beside: Neighbours) -> dict[str, int]:
    found = {root: 0}
    waiting = deque([root])
    while waiting:
        key = waiting.popleft()
        for other in beside[key]:
            if other not in found:
                found[other] = found[key] + 1
                waiting.append(other)
    return found


def _order(layers: list[list[str]], beside: Neighbours) -> None:
    """Each beside those that it is wired to: sorted by their middle, to and fro."""
    for sweep in range(_SWEEPS):
        way = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        for number in way:
            fixed = layers[number - 1 if sweep % 2 == 0 else number + 1]
            places = {key: place / len(fixed) for place, key in enumerate(fixed)}
            middles = {key: _middle(key, places, beside) for key in layers[number]}
            known = [key for key in layers[number] if middles[key] is not None]
            if len(known) == len(layers[number]):
                layers[number].sort(key=lambda key: middles[key] or 0.0)


def _middle(key: str, places: Mapping[str, float], beside: Neighbours) -> float | None:
    found = [places[other] for other in beside[key] if other in places]
    return sum(found) / len(found) if found else None
