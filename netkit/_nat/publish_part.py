"""What one PortMapping puts into the kernel's tables, and the requests for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from netkit._nat.publish_rules import (
    FAMILIES,
    LOCALNET,
    device_element,
    guarding,
    key_of,
    masquerading,
    network_element,
    set_of,
    subnets_name,
)
from netkit._netlink.nft import NFPROTO_IPV4
from netkit._netlink.nft_sets import delete_elements, mapped_elements, new_elements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.publish_specs import Specs
    from netkit._netlink.wire import Request
    from netkit._spec.port_mapping import Entry

    # Family of the table, the network's address, its prefix length.
    Network = tuple[int, bytes, int]
    # Family of the table, name of the map.
    Place = tuple[int, str]


class Part:
    """What is published, the networks whose hosts are masqueraded, the devices with route_localnet.

    ``maps`` has what it puts into each map of nf_tables: keys with their data.
    """

    __slots__ = ("devices", "maps", "networks", "specs", "twice", "words")

    def __init__(self, specs: Specs, networks: Iterable[Network] = (), devices: Iterable[str] = ()) -> None:
        self.specs = specs
        self.networks = frozenset(networks)
        self.devices = frozenset(devices)
        self.words = str(specs)
        self.maps, self.twice = specs.maps()  # the latter: an entry that is in it twice

    def __len__(self) -> int:
        return sum(map(len, self.maps.values()))

    def sizes(self) -> dict[int, int]:
        """How many entries it has of each family."""
        found: dict[int, int] = {}
        for (family, _), content in self.maps.items():
            found[family] = found.get(family, 0) + len(content)
        return found

    def families(self) -> set[int]:
        """Those of its tables."""
        return {family for family, _ in self.maps}

    def entry_of(self, place: Place, key: bytes) -> Entry:
        """The entry that has this key in this map."""
        entries = self.specs.entries()
        return next(each for each in entries if place_of(each) == place and key_of(each) == key)


def place_of(entry: Entry) -> Place:
    """The map that an entry belongs into."""
    return FAMILIES[4 if len(entry[3]) == 4 else 6], set_of(entry)


def entries_requests(table: str, maps: Mapping[Place, Mapping[bytes, bytes]], words: str) -> list[Request]:
    """Add the elements of the maps, in as few messages as can be."""
    return [
        request
        for (family, name), content in maps.items()
        for request in new_elements(
            family, table, name, mapped_elements(content), f"publish {words}", exclusive=True
        )
    ]


def entries_deletion(table: str, maps: Mapping[Place, Mapping[bytes, bytes]], words: str) -> list[Request]:
    """Delete the elements of the maps."""
    return [
        request
        for (family, name), content in maps.items()
        for request in delete_elements(family, table, name, mapped_elements(content), f"take back {words}")
    ]


def network_requests(
    table: str, networks: Iterable[Network], known: Collection[tuple[int, int]]
) -> list[Request]:
    """Masquerade within these networks; ``known`` are families and prefix lengths that have their rule."""
    requests: list[Request] = []
    ready = set(known)
    for family, network, length in sorted(networks):
        if (family, length) not in ready:
            ready.add((family, length))
            requests += masquerading(family, table, length)
        elements = [network_element(network)]
        requests += new_elements(family, table, subnets_name(length), elements, "masquerade within a subnet")
    return requests


def network_deletion(table: str, networks: Iterable[Network]) -> list[Request]:
    """Masquerade within these networks no more."""
    return [
        request
        for family, network, length in sorted(networks)
        for request in delete_elements(
            family, table, subnets_name(length), [network_element(network)], "masquerade no more"
        )
    ]


def device_requests(table: str, devices: Collection[str], *, guarded: bool) -> list[Request]:
    """Let no loopback addresses in by these devices."""
    if not devices:
        return []
    elements = [device_element(name) for name in sorted(devices)]
    requests = [] if guarded else guarding(table)
    return requests + new_elements(NFPROTO_IPV4, table, LOCALNET, elements, "guard route_localnet")


def device_deletion(table: str, devices: Collection[str]) -> list[Request]:
    """These devices have route_localnet no more."""
    if not devices:
        return []
    elements = [device_element(name) for name in sorted(devices)]
    return delete_elements(NFPROTO_IPV4, table, LOCALNET, elements, "guard route_localnet no more")
