"""A veth pair that exists, found by one of its ends."""

from __future__ import annotations

from errno import ENODEV

from netkit._end import End
from netkit._known import find_by_nsid, nsid_in
from netkit._link import Link
from netkit._netlink.link import get_link, parse_link
from netkit.errors import NotFoundError, SpecError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._netlink.link import LinkRecord


def existing_ends(netns: Namespace, name: str, peer_netns: Namespace | None) -> tuple[End, End]:
    """Both ends of the pair that this link of a namespace is one of.

    Without ``peer_netns`` the far end is looked for in the namespaces that this program has open; where it
    is in none of them, only its index is known.
    """
    record = parse_link(netns._live_runtime().route.get(get_link(name=name)))
    if record.kind != "veth":
        raise SpecError(f"'{name}' is a {record.kind or 'device'}, not a veth: use ns.links['{name}']")
    near = _end(netns, record)
    place = _place_of_peer(netns, record, peer_netns)
    if place is None:
        far = End(None, "?", (), None, None, None)
        far.index = record.link or 0
        return near, far
    peer = parse_link(place._live_runtime().route.get(get_link(index=record.link)))
    if peer.kind != "veth" or peer.link != record.index:  # deleted, and the index used again, since the look
        raise kernel_error(f"find the peer of link '{name}'", ENODEV, netns=place._called())
    return near, _end(place, peer)


def _end(netns: Namespace, record: LinkRecord) -> End:
    present = Link(netns, record.index, record.name).addresses
    addresses = tuple([address for address in present if address.scope != "link"])
    end = End(netns, record.name, addresses, record.mtu, record.mac, record.txqlen)
    end.index, end.given_mac, end.runtime = record.index, record.mac, netns._live_runtime()
    return end


def _place_of_peer(netns: Namespace, record: LinkRecord, given: Namespace | None) -> Namespace | None:
    here, nsid = netns._live_runtime(), record.link_netnsid
    if given is None:
        return netns if nsid is None else find_by_nsid(here, nsid)
    there = given._live_runtime()
    if there is here if nsid is None else nsid_in(here, there) == nsid:
        return given
    raise NotFoundError(
        f"find the peer of link '{record.name}' of {here.label}: it is not in {there.label}", ENODEV
    )
