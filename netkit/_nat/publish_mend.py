"""What is left of detached ports in the plain table of nf_tables when somebody has removed some of it."""

from __future__ import annotations

from errno import EEXIST

from netkit._nat.nftables_plain import TABLE
from netkit._nat.nftables_rules import change_what_was_read
from netkit._nat.publish_part import device_requests, entries_requests, network_requests
from netkit._nat.publish_plain import SUBNETS, all_elements, elements_of, set_names
from netkit._nat.publish_rules import (
    GUARD,
    LOCALNET,
    OUTPUT,
    PORTS,
    POSTROUTING,
    PREROUTING,
    foundation,
    guarding,
    masquerading,
    subnets_name,
)
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_IPV4
from netkit._netlink.nft_marked import rules_of_chain
from netkit.errors import kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from netkit._nat.publish_part import Part, Place
    from netkit._netlink.socket import NetlinkSocket
    from netkit._netlink.wire import Request


def is_whole(socket: NetlinkSocket, part: Part) -> bool:
    """Whether all is there that a part needs besides its ports: rules, its subnets and devices."""
    for family in part.families():
        names = set_names(socket, family)
        if not _has_rules(socket, family, names):
            return False
    wanted = {(family, subnets_name(length), network + network) for family, network, length in part.networks}
    wanted |= {(NFPROTO_IPV4, LOCALNET, name.encode().ljust(16, b"\0")) for name in part.devices}
    places = {(family, name) for family, name, _ in wanted}
    found = {(*place, each.key) for place in places for each in all_elements(socket, *place)}
    return wanted <= found


def mend(socket: NetlinkSocket, part: Part) -> None:
    """Put back what is missing of the part; ExistsError if one of its ports leads elsewhere now."""

    def build() -> list[Request]:
        requests: list[Request] = []
        for family in sorted(part.families()):
            names = set_names(socket, family)
            requests.append(nft.new_table(family, TABLE))
            if not _has_rules(socket, family, names):
                requests += _chains_anew(socket, family, names)
            networks = [each for each in part.networks if each[0] == family]
            requests += network_requests(TABLE, networks, {(family, each) for each in _lengths(names)})
            if family == NFPROTO_IPV4:
                requests += device_requests(TABLE, part.devices, guarded=LOCALNET in names)
        return requests + entries_requests(TABLE, _missing(socket, part), part.words)

    change_what_was_read(socket, build)


def _missing(socket: NetlinkSocket, part: Part) -> dict[Place, dict[bytes, bytes]]:
    found: dict[Place, dict[bytes, bytes]] = {}
    present = {family: elements_of(socket, family) for family in part.families()}
    for (family, name), content in part.maps.items():
        for key, data in content.items():
            element = present[family].get((name, key))
            if element is None:
                found.setdefault((family, name), {})[key] = data
            elif element.data != data:
                hint = "Somebody else has detached one of these ports, which leads elsewhere now"
                raise kernel_error(f"put back {part.words}", EEXIST, netns=socket.label, hint=hint)
    return found


def _lengths(names: Collection[str]) -> list[int]:
    """The prefix lengths that have a set of subnets."""
    return sorted([int(name.removeprefix(SUBNETS)) for name in names if name.startswith(SUBNETS)])


def _has_rules(socket: NetlinkSocket, family: int, names: Collection[str]) -> bool:
    found = {chain: len(rules_of_chain(socket, family, TABLE, chain)) for chain in _chains(names)}
    sent = 2 if family == NFPROTO_IPV4 else 3
    wanted = {PREROUTING: 2, OUTPUT: sent, POSTROUTING: len(_lengths(names)) + 1}
    if GUARD in found:
        wanted[GUARD] = 2
    return PORTS in names and found == wanted


def _chains(names: Collection[str]) -> list[str]:
    return [PREROUTING, OUTPUT, POSTROUTING, *([GUARD] if LOCALNET in names else [])]


def _chains_anew(socket: NetlinkSocket, family: int, names: Collection[str]) -> list[Request]:
    """The chains with their rules; the sets, and what is in them, stay."""
    present = {
        chain.name
        for chain in nft.parse_chains(socket.dump(nft.dump_chains()))
        if chain.family == family and chain.table == TABLE
    }
    gone = [chain for chain in _chains(names) if chain in present]
    requests = [nft.delete_chain(family, TABLE, chain, with_rules=True) for chain in gone]
    requests += foundation(family, TABLE)
    for length in _lengths(names):
        requests += masquerading(family, TABLE, length)
    return requests + (guarding(TABLE) if LOCALNET in names else [])
