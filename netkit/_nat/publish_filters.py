"""Strict reverse-path filtering, where the target of a published port has several ways out.

Its answer leaves by the default route, which need not be the way by which the request came. With rp_filter=1
the kernel drops a packet that comes by another device than the way back to its sender (RFC 3704): the request
in the target's namespace, or the answer at the host's other bridge. With 2 any device will do.
"""

from __future__ import annotations

from netkit._nat.publish_devices import is_ours
from netkit._veth import living_pairs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netkit._end import End
    from netkit._namespace import Namespace
    from netkit._nat.publish_homes import Home
    from netkit._veth import VethPair

_STRICT = 1


def strict_devices(netns: Namespace, homes: Iterable[Home]) -> list[tuple[Namespace, str]]:
    """Devices of ours on the ways to and from such targets that are strict: where, and the sysctl's key."""
    found: dict[tuple[Namespace, str], None] = {}
    for ways in _ways_out(netns, homes):
        if len(ways) < 2:
            continue
        for own, other in ways:
            assert own.netns is not None
            found[own.netns, own.link().name] = None
            if _is_in(other, netns):
                found.update(dict.fromkeys(_at_host(netns, other)))
    return [(where, key) for where, name in found if (key := _key(name)) and _is_strict(where, key)]


def _ways_out(netns: Namespace, targets: Iterable[Home]) -> Iterable[list[tuple[End, End]]]:
    """Of each other namespace that has a target of IPv4: its ends of pairs, with the far ones.

    There is no rp_filter for the others.
    """
    homes = {
        home.netns._identity_or_none() for home in targets if len(home.target) == 4 and home.netns is not None
    }
    homes.discard(netns._identity_or_none())
    ways_of: dict[object, list[tuple[End, End]]] = {home: [] for home in homes}
    for own, other in [end for pair in living_pairs() for end in _ends(pair)] if homes else ():
        ways = None if own.netns is None else ways_of.get(own.netns._identity_or_none())
        if ways is not None:
            ways.append((own, other))
    return ways_of.values()


def _ends(pair: VethPair) -> Iterator[tuple[End, End]]:
    yield pair._near, pair._far
    yield pair._far, pair._near


def _is_in(end: End, netns: Namespace) -> bool:
    return end.netns is not None and end.netns._same_as(netns)


def _at_host(netns: Namespace, end: End) -> list[tuple[Namespace, str]]:
    """The device that the host's side of a way has its address on, if it is ours."""
    link = end.link()
    master = link.master
    device = link if master is None else master
    return [(netns, device.name)] if is_ours(netns._live_runtime(), device.ifindex) else []


def _key(name: str) -> str:
    return f"net/ipv4/conf/{name}/rp_filter"


def _is_strict(netns: Namespace, key: str) -> bool:
    """The larger one of the device's value and that for all holds: ip-sysctl.rst."""
    values = (netns.sysctl.get(key, "0"), netns.sysctl.get(_key("all"), "0"))
    return max(int(value or 0) for value in values) == _STRICT
