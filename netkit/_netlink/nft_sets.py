"""nf_tables: sets and maps, and the elements in them.

A lookup costs the same however many elements there are. What a set holds is given by the names that nft
uses, ``("ipv4_addr", "inet_service")``: more than one is a concatenation. A map gives each key data, or a
verdict. Intervals: of one field, an element begins a range and another one (`interval`) ends it; of
several, one element has both ends.

Sources: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nf_tables_api.c (nf_tables_newset,
nft_add_set_elem), libnftnl's include/libnftnl/udata.h, nft(8) "SETS" and "MAPS".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from sys import byteorder

from netkit._netlink.nft import NFTABLES, nft_request, nft_values, table_words
from netkit._netlink.nft_elements import parse_elements_list
from netkit._netlink.nft_expressions import be32, be64
from netkit._netlink.nft_policy import ELEMENTS_POLICY, SET_POLICY
from netkit._netlink.wire import NLM_F_CREATE, NLM_F_EXCL, attribute, nested, text
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.nft_elements import ElementValues
    from netkit._netlink.socket import Reply
    from netkit._netlink.wire import Request

_NEW_SET, _GET_SET, _DELETE_SET = NFTABLES + 9, NFTABLES + 10, NFTABLES + 11
_NEW_ELEMENTS, _GET_ELEMENTS, _DELETE_ELEMENTS = NFTABLES + 12, NFTABLES + 13, NFTABLES + 14

ANONYMOUS, CONSTANT, INTERVAL, MAP, CONCATENATED = 0x1, 0x2, 0x4, 0x8, 0x80

# nft's number of a type (src/datatype.c), and its size in bytes.
TYPES = {
    "ipv4_addr": (7, 4),
    "ipv6_addr": (8, 16),
    "inet_proto": (12, 1),
    "inet_service": (13, 2),
    "ct_state": (26, 4),
    "ifname": (41, 16),
}
_VERDICT_TYPE = 0xFFFFFF00  # NFT_DATA_VERDICT
_TYPE_BITS = 6  # of each type in the number of a concatenation
_VERDICTS: tuple[str, ...] = ()  # as the fields of data
_IN_MACHINE_ORDER = ("ct_state", "ifname")  # BYTEORDER_HOST_ENDIAN

_INTERVAL_END = 1
_LIST_ELEMENT = 1
_DATA_VALUE = 1
_DATA_VERDICT = 2
_COUNTER = nested(17, text(1, "counter"), nested(2, be64(1, 0), be64(2, 0)))  # NFTA_SET_EXPR
_LARGEST_LIST = 60 * 1024  # the length of an attribute has 16 bits


def size_of(fields: Sequence[str]) -> int:
    """Bytes of a key or of data: in a concatenation, each field fills whole registers of 4 bytes."""
    if len(fields) == 1:
        return TYPES[fields[0]][1]
    return sum(_padded(TYPES[field][1]) for field in fields)


def _padded(size: int) -> int:
    return (size + 3) & ~3


def concatenated(*values: bytes) -> bytes:
    """A key or data of several fields."""
    return b"".join([value.ljust(_padded(len(value)), b"\0") for value in values])


def _type_of(fields: Sequence[str]) -> int:
    number = 0
    for field in fields:
        number = number << _TYPE_BITS | TYPES[field][0]
    return number


# -- sets -----------------------------------------------------------------------------


def new_set(
    family: int,
    table: str,
    name: str,
    key: Sequence[str],
    *,
    data: Sequence[str] | None = None,
    verdicts: bool = False,
    interval: bool = False,
    counted: bool = False,
    anonymous_size: int | None = None,
    number: int = 0,
    exclusive: bool = False,
) -> Request:
    """``nft add set`` and ``nft add map``; ``counted`` gives each element a counter.

    ``data`` or ``verdicts`` make it a map. ``anonymous_size`` is for the set inside a rule, ``{ 80, 90 }``:
    so many elements, which never change; its name is ``__set%d``. ``number`` is how the rules of the
    same transaction refer to it.
    """
    flags = _flags(key, data is not None or verdicts, interval, anonymous_size is not None)
    body = text(1, table) + text(2, name) + be32(3, flags) + be32(4, _type_of(key)) + be32(5, size_of(key))
    if verdicts:
        body += be32(6, _VERDICT_TYPE) + be32(7, 0)
    elif data is not None:
        body += be32(6, _type_of(data)) + be32(7, size_of(data))
    body += _description(key, flags, anonymous_size)
    body += be32(10, number) + attribute(13, _byte_orders(key, data if not verdicts else _VERDICTS))
    if counted:
        body += _COUNTER
    message_flags = NLM_F_CREATE | (NLM_F_EXCL if exclusive else 0)
    words = f"create nft {'map' if flags & MAP else 'set'} '{table_words(family, table)} {name}'"
    return nft_request(_NEW_SET, message_flags, family, body, words, SET_POLICY)


def _flags(key: Sequence[str], is_map: bool, interval: bool, anonymous: bool) -> int:
    flags = MAP if is_map else 0
    if interval:
        flags |= INTERVAL | (CONCATENATED if len(key) > 1 else 0)
    return flags | (ANONYMOUS | CONSTANT if anonymous else 0)


def _description(key: Sequence[str], flags: int, size: int | None) -> bytes:
    """How many there will be, and where the fields of a concatenation of intervals begin."""
    members = b"" if size is None else be32(1, size)
    if flags & CONCATENATED:
        members += nested(2, *[nested(_LIST_ELEMENT, be32(1, TYPES[field][1])) for field in key])
    return nested(9, members)


def _byte_orders(key: Sequence[str], data: Sequence[str] | None) -> bytes:
    """User data by which ``nft list`` reads numbers: type, length, value; 1 is the machine's order."""
    return _udata(0, _order(key)) + (b"" if data is None else _udata(1, _order(data)))


def _order(fields: Sequence[str]) -> int:
    if len(fields) != 1:
        return 0  # BYTEORDER_INVALID: each field has its own
    return 1 if fields[0] in _IN_MACHINE_ORDER else 2


def _udata(kind: int, value: int) -> bytes:
    return bytes((kind, 4)) + value.to_bytes(4, byteorder)


def delete_set(family: int, table: str, name: str) -> Request:
    """``nft delete set``; BusyError while a rule uses it."""
    words = f"delete nft set '{table_words(family, table)} {name}'"
    return nft_request(_DELETE_SET, 0, family, text(1, table) + text(2, name), words, SET_POLICY)


def dump_sets(family: int, table: str) -> Request:
    """Ask for the sets and maps of a table."""
    words = f"list sets of nft table '{table_words(family, table)}'"
    return nft_request(_GET_SET, 0, family, text(1, table), words, SET_POLICY)


def parse_sets(replies: Iterable[Reply]) -> list[dict[str, object]]:
    """The sets among replies, each as attributes by their kernel names."""
    return [nft_values(SET_POLICY, reply) for reply in replies if reply[0] == _NEW_SET]


# -- elements -------------------------------------------------------------------------


def element(
    key: bytes,
    data: bytes | None = None,
    *,
    verdict: int | None = None,
    jump: str | None = None,
    key_end: bytes | None = None,
    ends_interval: bool = False,
    userdata: bytes = b"",
) -> bytes:
    """One element; ``verdict`` is its value in a map of verdicts, with a chain to ``jump`` to or without."""
    members = be32(3, _INTERVAL_END) if ends_interval else b""
    members += nested(1, attribute(_DATA_VALUE, key))
    if key_end is not None:
        members += nested(10, attribute(_DATA_VALUE, key_end))
    if verdict is not None:
        members += nested(2, nested(_DATA_VERDICT, be32(1, verdict), b"" if jump is None else text(2, jump)))
    elif data is not None:
        members += nested(2, attribute(_DATA_VALUE, data))
    if userdata:
        members += attribute(6, userdata)
    return nested(_LIST_ELEMENT, members)


def mapped_elements(pairs: Mapping[bytes, bytes]) -> list[bytes]:
    """Elements of a map, thousands of them, many in one piece: keys of one size, data of one size, both whole
    registers."""
    for key, data in pairs.items():
        whole = element(key, data)
        before = whole.index(key, 4)
        first, between = whole[:before], whole[before + len(key) : len(whole) - len(data)]
        elements = [first + key + between + data for key, data in pairs.items()]
        count = _LARGEST_LIST // len(whole)
        return [b"".join(elements[at : at + count]) for at in range(0, len(elements), count)]
    return []


def interval(low: bytes, high: bytes) -> list[bytes]:
    """A range, both ends in it, as the elements of a set of one field; nothing ends the highest one."""
    after = int.from_bytes(high, "big") + 1
    if after >= 1 << 8 * len(high):
        return [element(low, userdata=_udata(1, 1))]  # NFTNL_UDATA_SET_ELEM_FLAGS: SET_ELEM_F_INTERVAL_OPEN
    return [element(low), element(after.to_bytes(len(high), "big"), ends_interval=True)]


def new_elements(
    family: int,
    table: str,
    name: str,
    elements: Iterable[bytes],
    operation: str,
    *,
    number: int | None = None,
    exclusive: bool = False,
) -> list[Request]:
    """``nft add element``; with ``exclusive`` ``nft create element``: ExistsError where a key is there."""
    flags = NLM_F_CREATE | (NLM_F_EXCL if exclusive else 0)
    return _by_lists(_NEW_ELEMENTS, flags, family, table, name, elements, operation, number)


def delete_elements(
    family: int, table: str, name: str, elements: Iterable[bytes], operation: str
) -> list[Request]:
    """``nft delete element``: NotFoundError where a key is not there; of a map, data does not count."""
    return _by_lists(_DELETE_ELEMENTS, 0, family, table, name, elements, operation, None)


def _by_lists(
    kind: int,
    flags: int,
    family: int,
    table: str,
    name: str,
    elements: Iterable[bytes],
    operation: str,
    number: int | None,
) -> list[Request]:
    """Messages of elements, as few as the length of an attribute allows."""
    head = text(1, table) + text(2, name) + (b"" if number is None else be32(4, number))
    return [
        nft_request(kind, flags, family, head + nested(3, *part), operation, ELEMENTS_POLICY)
        for part in _lists(elements)
    ]


def _lists(elements: Iterable[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for each in elements:
        if size + len(each) > _LARGEST_LIST:
            yield part
            part, size = [], 0
        part.append(each)
        size += len(each)
    if part:
        yield part


def dump_elements(family: int, table: str, name: str) -> Request:
    """Ask for all elements of a set. Twin: ``nft list set``."""
    words = f"list elements of nft set '{table_words(family, table)} {name}'"
    body = text(1, table) + text(2, name)
    return nft_request(_GET_ELEMENTS, 0, family, body, words, ELEMENTS_POLICY)


def get_element(family: int, table: str, name: str, key: bytes) -> Request:
    """Ask for one element by its key. Twin: ``nft get element``."""
    words = f"read an element of nft set '{table_words(family, table)} {name}'"
    body = text(1, table) + text(2, name) + nested(3, element(key))
    return nft_request(_GET_ELEMENTS, 0, family, body, words, ELEMENTS_POLICY)


class Element:
    """An element as the kernel told it."""

    __slots__ = ("bytes", "data", "key", "packets")

    def __init__(self, values: ElementValues) -> None:
        key, data, counter = values
        if key is None:
            raise ProtocolError("an element of a set came without a key")
        self.key = key
        self.data = data
        self.packets, self.bytes = counter

    @property
    def counters(self) -> tuple[int, int]:
        """Packets and bytes that met it; zeros in a set without counters."""
        return self.packets, self.bytes


def parse_elements(replies: Iterable[Reply]) -> Iterator[Element]:
    """The elements among replies to dump_elements and get_element."""
    for reply in replies:
        if reply[0] == _NEW_ELEMENTS:
            listed = nft_values(ELEMENTS_POLICY, reply).get("NFTA_SET_ELEM_LIST_ELEMENTS", b"")
            assert isinstance(listed, bytes)
            yield from (Element(values) for values in parse_elements_list(listed))
