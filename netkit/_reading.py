"""All links of a namespace with their addresses, in two dumps: `Links.read`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netkit._netlink.address import list_addresses, parse_addresses
from netkit._netlink.bridge_record import bridge_info, port_info
from netkit._netlink.link import IFF_UP, LinkRecord, list_links, parse_link
from netkit._spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.socket import NetlinkSocket
    from netkit._spec.address import Address
    from netkit._spec.bridges import BridgeInfo, PortInfo

_set = object.__setattr__
_OPTIONS = {"bridge": bridge_info, "port": port_info}


class LinkInfo(Value):
    """A link as it was when `Links.read` read it: frozen, and no handle. Two are equal if all of it is.

    The fields mean what `Link`'s properties of the same names do: ``mtu`` in bytes, ``mac`` in lower
    case or None, ``state`` as ``ip link`` prints it but in lower case, ``up`` whether it was set up
    (IFF_UP), ``master`` the name of the bridge it is a port of or None, ``txqlen`` in packets.
    ``bridge`` has the options of a bridge (`BridgeInfo`), ``port`` those of a bridge's port
    (`PortInfo`); None for others. Source: RTM_NEWLINK, RTM_NEWADDR of rtnetlink(7).
    ``addresses`` are in the kernel's order. Twin: an entry of ``ip -d address show``.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     lo = box.links.read()[0]
        ...     print(lo.name, lo.mtu, *lo.addresses)
        lo 65536 127.0.0.1/8 ::1/128
    """

    _fields = (
        "name", "ifindex", "kind", "mtu", "mac", "state", "up", "master", "alias", "altnames", "txqlen",
        "group", "bridge", "port", "addresses",
    )  # fmt: skip
    __slots__ = ("_source", *_fields)

    name: str
    ifindex: int
    kind: str | None
    mtu: int
    mac: str | None
    state: str
    up: bool
    master: str | None
    alias: str | None
    altnames: tuple[str, ...]
    txqlen: int
    group: int
    bridge: BridgeInfo | None
    port: PortInfo | None
    addresses: tuple[Address, ...]

    # What the kernel said is kept, and most of it decoded when first asked for: most programs that
    # read thousands of links look at two fields.
    def __init__(
        self, record: LinkRecord, name: str, names: Mapping[int, str], addresses: Iterable[Address]
    ) -> None:
        _set(self, "name", name)
        _set(self, "addresses", tuple(addresses))
        _set(self, "_source", (record, names))

    if not TYPE_CHECKING:  # to a type checker it would mean that any attribute exists

        def __getattr__(self, name: str) -> object:
            if name not in self._fields:
                raise AttributeError(f"'LinkInfo' object has no attribute {name!r}")
            record, names = self._source
            if name in _OPTIONS:  # many attributes, and few ask for them
                _set(self, name, _OPTIONS[name](record))
            else:
                self._decode(record, names)
            return object.__getattribute__(self, name)

    def _decode(self, record: LinkRecord, names: Mapping[int, str]) -> None:
        master = record.master
        decoded = {
            "ifindex": record.index,
            "kind": record.kind,
            "mtu": record.mtu,
            "mac": record.mac,
            "state": record.state,
            "up": bool(record.flags & IFF_UP),
            "master": names.get(master, f"if{master}") if master else None,
            "alias": record.alias,
            "altnames": record.altnames,
            "txqlen": record.txqlen,
            "group": record.group,
        }
        for name, value in decoded.items():
            _set(self, name, value)


def read_everything(route: NetlinkSocket) -> tuple[LinkInfo, ...]:
    """Two dumps put together. An address of a link that came in between is left out."""
    records = [parse_link(reply) for reply in route.dump(list_links())]
    names = {record.index: record.name for record in records}
    owned: dict[int, list[Address]] = {}
    for index, address in parse_addresses(route.dump(list_addresses())):
        owned.setdefault(index, []).append(address)
    found = zip(records, names.items(), strict=True)
    return tuple([LinkInfo(record, name, names, owned.get(index, ())) for record, (index, name) in found])
