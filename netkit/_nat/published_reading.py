"""Published ports of other processes, as their maps in nf_tables say: a few one by one, of many how many."""

from __future__ import annotations

from struct import unpack_from

from netkit._nat.publish_rules import HOST_PORTS, PORTS, PREROUTING
from netkit._netlink.nft import FAMILY_NAMES, NFPROTO_IPV4
from netkit._netlink.nft_sets import dump_elements, parse_elements
from netkit._spec.addresses import address_of
from netkit._spec.nat_entry import NatEntry
from netkit._spec.port_mapping import PROTOCOLS
from netkit.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from netkit._netlink.socket import Reply
    from netkit._netlink.wire import Request

_FEW = 16
_SHOWN = 3
_NAMES = {number: name for name, number in PROTOCOLS.items()}


def published_entries(
    dump: Callable[[Request], list[Reply]], places: Iterable[tuple[int, str]]
) -> Iterator[NatEntry]:
    """What tables of published ports that are not ours lead where; ``places`` are families and tables."""
    for family, table in places:
        found = [pair for name in (PORTS, HOST_PORTS) for pair in _elements(dump, family, table, name)]
        words = [_words(family, key, data) for key, data in (found[:_SHOWN] if len(found) > _FEW else found)]
        if len(found) > _FEW:
            words = [f"{', '.join(words)} and {len(found) - _SHOWN} more"]
        place = f"{FAMILY_NAMES[family]} {table}"
        for each in words:
            yield NatEntry(f"publish {each}", "nftables", place, PREROUTING, False, "netkit")


def _elements(
    dump: Callable[[Request], list[Reply]], family: int, table: str, name: str
) -> list[tuple[bytes, bytes]]:
    try:
        replies = dump(dump_elements(family, table, name))
    except NotFoundError:
        return []  # gone meanwhile
    return sorted([(each.key, each.data or b"") for each in parse_elements(replies)])


def _words(family: int, key: bytes, data: bytes) -> str:
    """As a PublishSpec has it: ``tcp 8080 -> 172.18.0.2:80``."""
    size = 4 if family == NFPROTO_IPV4 else 16
    host, (number, port) = key[:-8], unpack_from(">BxxxH", key, len(key) - 8)
    target, to_port = data[:size], unpack_from(">H", data, size)[0]
    shown = f"{_bracketed(host)}:{port}" if host else str(port)
    return f"{_NAMES.get(number, number)} {shown} -> {_bracketed(target)}:{to_port}"


def _bracketed(packed: bytes) -> str:
    return f"[{address_of(packed)}]" if len(packed) == 16 else str(address_of(packed))
