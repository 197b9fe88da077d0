"""The options of kinds of links that need a few (IFLA_INFO_DATA), as tables.

Names and values are those of ip-link(8). dummy and ifb have none; veth and bridge are in link.py
and bridge.py; what is not here goes through longtail.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from struct import pack

from netkit._netlink.wire import attribute, u8, u16, u32
from netkit._spec.value import shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Option: TypeAlias = int | str | bool
    Writer: TypeAlias = Callable[[int, Option], bytes]


def _u8(kind: int, value: Option) -> bytes:
    return u8(kind, int(value))


def _u16(kind: int, value: Option) -> bytes:
    return u16(kind, int(value))


def _u32(kind: int, value: Option) -> bytes:
    return u32(kind, int(value))


def _be16(kind: int, value: Option) -> bytes:
    return attribute(kind, pack(">H", int(value)))


def _ip(v4: int, v6: int) -> Writer:
    def write(kind: int, value: Option) -> bytes:
        address = ipaddress.ip_address(value)
        return attribute(v4 if address.version == 4 else v6, address.packed)

    return write


def _word(words: Mapping[str, int], writer: Writer) -> Writer:
    def write(kind: int, value: Option) -> bytes:
        if value not in words:
            raise ValueError(f"not one of {', '.join(words)}")
        return writer(kind, words[str(value)])

    return write


_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16}
_VLAN_PROTOCOLS = {"802.1q": 0x8100, "802.1ad": 0x88A8}
_MACVLAN: Mapping[str, tuple[int, Writer]] = {"mode": (1, _word(_MACVLAN_MODES, _u32))}

# kind: option: number of the attribute and how it is written
_OPTIONS: Mapping[str, Mapping[str, tuple[int, Writer]]] = {
    "dummy": {},
    "ifb": {},
    "macvlan": _MACVLAN,
    "macvtap": _MACVLAN,
    "vlan": {"id": (1, _u16), "protocol": (5, _word(_VLAN_PROTOCOLS, _be16))},
    "vxlan": {
        "id": (1, _u32),
        "group": (2, _ip(2, 16)),
        "remote": (2, _ip(2, 16)),
        "link": (3, _u32),
        "local": (4, _ip(4, 17)),
        "ttl": (5, _u8),
        "tos": (6, _u8),
        "learning": (7, _u8),
        "ageing": (8, _u32),
        "maxaddress": (9, _u32),
        "dstport": (15, _be16),
    },
}


def has_table(kind: str) -> bool:
    """Whether ``kind_data`` can write the options of this kind."""
    return kind in _OPTIONS


def kind_data(kind: str, options: Mapping[str, Option]) -> bytes:
    """The content of IFLA_INFO_DATA, for ``link.new_link``. Raises SpecError.

    Examples:
        >>> from netkit._netlink.link_kinds import kind_data
        >>> kind_data("macvlan", {"mode": "bridge"}).hex()
        '0800010004000000'
    """
    table = _OPTIONS.get(kind)
    if table is None:
        raise SpecError(f"kind {shown(kind)} is none of {', '.join(_OPTIONS)}")
    parts: list[bytes] = []
    for name, value in options.items():
        if name not in table:
            raise SpecError(f"a {kind} has no option {shown(name)}: {', '.join(table) or 'it has none'}")
        number, write = table[name]
        try:
            parts.append(write(number, value))
        except Exception as problem:  # struct.error, ValueError, TypeError: the value does not fit
            raise SpecError(f"option {name}={shown(value)} of a {kind}: {problem}") from problem
    return b"".join(parts)
