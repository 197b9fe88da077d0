"""Where the targets of published ports live: whose links have their addresses, and what those are joined to.

What a pair was given when it was made costs no look. An address that was added later, or a pair that another
program has made, is found by reading the namespaces that are open here.
"""

from __future__ import annotations

from netkit._known import nsid_in, open_namespaces
from netkit._nat.publish_devices import addresses_of
from netkit._netlink.link import get_link, parse_link
from netkit._veth import living_pairs
from netkit.errors import NetkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from netkit._namespace import Namespace
    from netkit._runtime import Runtime


class Home:
    """One target's: its namespace, and the other end of its link, if that is in the one that publishes."""

    __slots__ = ("netns", "port", "target")

    def __init__(self, target: bytes, netns: Namespace | None, port: int | None) -> None:
        self.target = target
        self.netns = netns
        self.port = port


def homes_of(netns: Namespace, targets: AbstractSet[bytes]) -> list[Home]:
    """Those of these targets; of a target that several have, those that are joined to this namespace."""
    found = [*_given(netns, targets)]
    joined = {home.target for home in found if home.port is not None}
    if not joined >= targets:
        more = [*_read(netns, targets - joined)]
        found += more
        joined |= {home.target for home in more}
    return [home for home in found if home.port is not None or home.target not in joined]


def _given(netns: Namespace, targets: AbstractSet[bytes]) -> Iterator[Home]:
    """Of the pairs of this program, by the addresses that they were made with."""
    for pair in living_pairs():
        for own, other in ((pair._far, pair._near), (pair._near, pair._far)):
            for address in own.addresses:
                if address.packed in targets:
                    joined = other.netns is not None and other.netns._same_as(netns)
                    yield Home(address.packed, own.netns, other.index if joined else None)


def _read(netns: Namespace, missing: AbstractSet[bytes]) -> Iterator[Home]:
    here = netns._live_runtime()
    for other in open_namespaces():
        runtime = other._runtime_or_none()
        if runtime is None or runtime.identity == here.identity:
            continue
        try:
            homes = [*_homes_in(other, runtime, here, missing)]
        except (NetkitError, OSError):
            if other._runtime_or_none() is runtime:
                raise
            continue  # it has ended meanwhile
        yield from homes


def _homes_in(
    other: Namespace, runtime: Runtime, here: Runtime, missing: AbstractSet[bytes]
) -> Iterator[Home]:
    for index, address in addresses_of(runtime):
        if address.packed in missing:
            record = parse_link(runtime.route.get(get_link(index)))
            nsid = record.link_netnsid
            if record.kind == "veth" and nsid is not None and nsid == nsid_in(runtime, here):
                yield Home(address.packed, other, record.link)
