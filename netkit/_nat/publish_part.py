"""What one PortMapping puts into the kernel's tables, and the requests for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from netkit._nat.publish_rules import (
    FAMILIES,
    LOCALNET,
    device_element,
    element_of,
    guarding,
    key_of,
    masquerading,
    network_element,
    set_of,
    subnets_name,
)
from netkit._netlink.nft import NFPROTO_IPV4
from netkit._netlink.nft_sets import delete_elements, new_elements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.wire import Request
    from netkit._spec.port_mapping import Entry

    # Family of the table, the network's address, its prefix length.
    Network = tuple[int, bytes, int]
    # Family of the table, name of the map, key.
    Place = tuple[int, str, bytes]


class Part:
    """The entries of a mapping, the networks whose hosts are masqueraded, the devices with route_localnet."""

    __slots__ = ("devices", "entries", "networks", "words")

    def __init__(
        self,
        entries: Iterable[Entry],
        networks: Iterable[Network] = (),
        devices: Iterable[str] = (),
        words: str = "published ports",
    ) -> None:
        self.entries = tuple(entries)
        self.networks = frozenset(networks)
        self.devices = frozenset(devices)
        self.words = words

    def places(self) -> Iterator[tuple[Place, Entry]]:
        """Where in the kernel each entry is."""
        for entry in self.entries:
            yield place_of(entry), entry

    def families(self) -> set[int]:
        """Those of its tables."""
        return {FAMILIES[entry.version] for entry in self.entries}


def place_of(entry: Entry) -> Place:
    """Where in the kernel an entry is."""
    return FAMILIES[entry.version], set_of(entry), key_of(entry)


def entries_requests(table: str, entries: Iterable[Entry], words: str, *, adding: bool) -> list[Request]:
    """Add or delete the elements of the maps, in as few messages as can be."""
    by_map: dict[tuple[int, str], list[bytes]] = {}
    for entry in entries:
        by_map.setdefault((FAMILIES[entry.version], set_of(entry)), []).append(element_of(entry))
    requests: list[Request] = []
    for (family, name), elements in by_map.items():
        if adding:
            requests += new_elements(family, table, name, elements, f"publish {words}", exclusive=True)
        else:
            requests += delete_elements(family, table, name, elements, f"take back {words}")
    return requests


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
