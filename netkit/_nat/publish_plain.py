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
    PORT_SIZE,
    PORTS,
    POSTROUTING,
    PREROUTING,
    foundation,
)
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_IPV4
from netkit._netlink.nft_sets import (
    delete_set,
    dump_elements,
    dump_sets,
    get_element,
    parse_elements,
    parse_sets,
)
from netkit._spec.addresses import address_of
from netkit.errors import BusyError, NotFoundError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from netkit._nat.publish_part import Part
    from netkit._nat.publish_tables import PublishedPorts
    from netkit._netlink.nft_sets import Element
    from netkit._netlink.socket import NetlinkSocket
    from netkit._netlink.wire import Request

SUBNETS = "subnets_"
FEW = 16  # each costs a request; beyond, a dump costs less


def detach(ports: PublishedPorts, socket: NetlinkSocket, part: Part) -> None:
    """Move a part there from our tables. ExistsError if another process has detached one of its ports."""

    def build() -> list[Request]:
        requests: list[Request] = []
        for family in sorted(part.families()):
            names = set_names(socket, family)
            requests.append(nft.new_table(family, TABLE))
            if PORTS not in names:
                requests += foundation(family, TABLE)
            lengths = {
                (family, int(name.removeprefix(SUBNETS))) for name in names if name.startswith(SUBNETS)
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
            present = elements_of(socket, family)
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


def detached_of(socket: NetlinkSocket, part: Part) -> tuple[bytes, str] | None:
    """A port of the part that is detached, as the end of its key, and where it leads, in words.

    Of all addresses and of one are the same port: which table is asked first is a matter of their age.
    """
    for (family, name), content in part.maps.items():
        for other in (PORTS, HOST_PORTS):
            ends = None if name == other else PORT_SIZE
            keys: Collection[bytes] = ()
            found: Iterable[Element]
            if len(content) <= FEW and (ends is None or other == PORTS):
                keys = _ends_of(content, ends)
                found = _some_elements(socket, family, other, keys)
            else:
                found = all_elements(socket, family, other)
            for each in found:
                keys = keys or _ends_of(content, ends)
                if (each.key if ends is None else each.key[-ends:]) in keys:
                    return each.key[-PORT_SIZE:], _target(each.data or b"")
    return None


def _ends_of(content: Mapping[bytes, bytes], size: int | None) -> Collection[bytes]:
    return content.keys() if size is None else {key[-size:] for key in content}


def _some_elements(socket: NetlinkSocket, family: int, name: str, keys: Iterable[bytes]) -> Iterator[Element]:
    for key in keys:
        try:
            yield from parse_elements([socket.get(get_element(family, TABLE, name, key))])
        except NotFoundError:
            continue


def all_elements(socket: NetlinkSocket, family: int, name: str) -> list[Element]:
    """What a map or a set of the plain table has; nothing where there is none."""
    try:
        return [*parse_elements(socket.dump(dump_elements(family, TABLE, name)))]
    except NotFoundError:
        return []  # no such table


def _target(data: bytes) -> str:
    """The address and the port that an element leads to."""
    address, port = address_of(data[: len(data) - 4]), int.from_bytes(data[-4:-2], "big")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def guarded_devices(socket: NetlinkSocket) -> set[str]:
    """The devices that have route_localnet for what is detached."""
    found = all_elements(socket, NFPROTO_IPV4, LOCALNET)
    return {each.key.rstrip(b"\0").decode() for each in found}


def _tidying(socket: NetlinkSocket, family: int, part: Part, left: list[Element]) -> list[Request]:
    """Take the part out; with the last entry of a family go the chains and sets too."""
    if not left:
        names = set_names(socket, family)
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
    return name in (PORTS, HOST_PORTS, LOCALNET) or name.startswith(SUBNETS)


def _within(data: bytes, network: bytes, length: int) -> bool:
    shift = len(network) * 8 - length
    address = data[: len(network)]
    return int.from_bytes(address, "big") >> shift == int.from_bytes(network, "big") >> shift


def set_names(socket: NetlinkSocket, family: int) -> set[str]:
    """The sets and maps that the plain table of a family has."""
    try:
        found = parse_sets(socket.dump(dump_sets(family, TABLE)))
    except NotFoundError:
        return set()  # no such table
    return {str(each.get("NFTA_SET_NAME")) for each in found}


def elements_of(socket: NetlinkSocket, family: int) -> dict[tuple[str, bytes], Element]:
    """What is detached of a family, by the map and the key."""
    return {
        (name, each.key): each for name in (PORTS, HOST_PORTS) for each in all_elements(socket, family, name)
    }


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
