"""Published ports in the plain table ``netkit``, where they outlive the process that made them.

All processes share it, and anybody may change it: each change rests on a fresh read, and is made again if
somebody changed anything meanwhile.
"""

from __future__ import annotations

from errno import ENOENT

from netkit._nat.nftables_plain import TABLE
from netkit._nat.nftables_rules import change_what_was_read
from netkit._nat.publish_part import (
    device_requests,
    entries_deletion,
    entries_requests,
    network_deletion,
    network_requests,
)
from netkit._nat.publish_rules import (
    GUARD,
    HOST_PORTS,
    LOCALNET,
    OUTPUT,
    PORTS,
    POSTROUTING,
    PREROUTING,
    foundation,
)
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_IPV4
from netkit._netlink.nft_sets import delete_set, dump_elements, dump_sets, parse_elements, parse_sets
from netkit.errors import BusyError, NotFoundError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._nat.publish_part import Part
    from netkit._nat.publish_tables import PublishedPorts
    from netkit._netlink.nft_sets import Element
    from netkit._netlink.socket import NetlinkSocket
    from netkit._netlink.wire import Request

_SUBNETS = "subnets_"


def detach(ports: PublishedPorts, socket: NetlinkSocket, part: Part) -> None:
    """Move a part there from our tables. ExistsError if another process has detached one of its ports."""

    def build() -> list[Request]:
        requests: list[Request] = []
        for family in sorted(part.families()):
            names = _set_names(socket, family)
            requests.append(nft.new_table(family, TABLE))
            if PORTS not in names:
                requests += foundation(family, TABLE)
            lengths = {
                (family, int(name.removeprefix(_SUBNETS))) for name in names if name.startswith(_SUBNETS)
            }
            networks = [each for each in part.networks if each[0] == family]
            requests += network_requests(TABLE, networks, lengths)
            if family == NFPROTO_IPV4:
                requests += device_requests(TABLE, part.devices, guarded=LOCALNET in names)
        requests += entries_requests(TABLE, part.maps, part.words)
        return [*requests, *ports.deletion(part)]

    change_what_was_read(socket, build)
    ports.unlearn(part)


def adopt(ports: PublishedPorts, socket: NetlinkSocket, part: Part) -> None:
    """Move a part from there into our tables; NotFoundError if an entry is not there, or leads elsewhere."""

    def build() -> list[Request]:
        ports.check_free(part)
        requests: list[Request] = []
        for family in sorted(part.families()):
            present = _elements(socket, family)
            mine = {
                (name, key): data
                for (known, name), content in part.maps.items()
                if known == family
                for key, data in content.items()
            }
            for where, data in mine.items():
                if where not in present or present[where].data != data:
                    raise _missing(part, socket.label)
            left = [each for where, each in present.items() if where not in mine]
            requests += _tidying(socket, family, part, left)
        return [*requests, *ports.creation(part)]

    change_what_was_read(socket, build)
    ports.learn(part)
    for family in sorted(part.families()):
        _delete_unused(socket, family)


def guarded_devices(socket: NetlinkSocket) -> set[str]:
    """The devices that have route_localnet for what is detached."""
    try:
        found = [*parse_elements(socket.dump(dump_elements(NFPROTO_IPV4, TABLE, LOCALNET)))]
    except NotFoundError:
        return set()
    return {each.key.rstrip(b"\0").decode() for each in found}


def _tidying(socket: NetlinkSocket, family: int, part: Part, left: list[Element]) -> list[Request]:
    """Take the part out; with the last entry of a family go the chains and sets too."""
    if not left:
        names = _set_names(socket, family)
        chains = [PREROUTING, OUTPUT, POSTROUTING, *([GUARD] if LOCALNET in names else [])]
        # All rules first: they refer to the sets.
        return [
            *[nft.delete_chain(family, TABLE, chain, with_rules=True) for chain in chains],
            *[delete_set(family, TABLE, name) for name in sorted(names) if _is_ours(name)],
        ]
    maps = {place: content for place, content in part.maps.items() if place[0] == family}
    unused = [
        (known, network, length)
        for known, network, length in part.networks
        if known == family and not any(_within(each.data or b"", network, length) for each in left)
    ]
    return [
        *entries_deletion(TABLE, maps, part.words),
        *network_deletion(TABLE, unused),
    ]


def _is_ours(name: str) -> bool:
    return name in (PORTS, HOST_PORTS, LOCALNET) or name.startswith(_SUBNETS)


def _within(data: bytes, network: bytes, length: int) -> bool:
    shift = len(network) * 8 - length
    address = data[: len(network)]
    return int.from_bytes(address, "big") >> shift == int.from_bytes(network, "big") >> shift


def _set_names(socket: NetlinkSocket, family: int) -> set[str]:
    try:
        found = parse_sets(socket.dump(dump_sets(family, TABLE)))
    except NotFoundError:
        return set()  # no such table
    return {str(each.get("NFTA_SET_NAME")) for each in found}


def _elements(socket: NetlinkSocket, family: int) -> dict[tuple[str, bytes], Element]:
    found: dict[tuple[str, bytes], Element] = {}
    for name in (PORTS, HOST_PORTS):
        try:
            elements = parse_elements(socket.dump(dump_elements(family, TABLE, name)))
            found.update({(name, each.key): each for each in elements})
        except NotFoundError:
            continue
    return found


def _delete_unused(socket: NetlinkSocket, family: int) -> None:
    try:
        socket.transact(nft.transaction([nft.delete_table(family, TABLE, only_empty=True)]))
    except (BusyError, NotFoundError):
        return  # others use it


def _missing(part: Part, label: str | None) -> Exception:
    return kernel_error(
        f"adopt {part.words}", ENOENT, netns=label,
        hint="No such ports were detached here, or somebody else has adopted them",
    )  # fmt: skip
