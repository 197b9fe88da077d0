"""The forwarding database of a bridge: which MAC is behind which port."""

from __future__ import annotations

from collections.abc import Iterator

from netkit._link import Link, link_by_name, require_device
from netkit._links import read_links
from netkit._netlink.fdb import add_fdb, delete_fdb, list_fdb, parse_fdb_entries
from netkit._shown import Shown
from netkit._spec import names, numbers
from netkit._spec.mac import mac as parse_mac
from netkit._spec.neighbours import FdbEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._spec.routes import DeviceLike


class ForwardingDatabase(Shown):
    """The entries of one bridge: iterate, `add` static ones, `delete`.

    Twin: ``bridge fdb show br BRIDGE``. Source: bridge(8). Changing needs CAP_NET_ADMIN.

    Examples:
        >>> from netkit import Bridge, Namespace
        >>> with Namespace() as host, Namespace() as box, Bridge(host, "br0") as bridge:
        ...     veth = bridge.connect(box, name="veth0")
        ...     bridge.fdb.add("02:00:00:00:00:01", dev="veth0")
        ...     print([str(entry) for entry in bridge.fdb if entry.state == "static"][0])
        02:00:00:00:00:01 dev veth0 master br0 static
    """

    __slots__ = ("_index", "_name", "_netns")

    def __init__(self, netns: Namespace, index: int, name: str) -> None:
        self._netns = netns
        self._index = index
        self._name = name

    def __iter__(self) -> Iterator[FdbEntry]:
        called = {record.index: record.name for record in read_links(self._netns)}
        replies = self._netns._live_runtime().route.dump(list_fdb(self._index))
        return iter(parse_fdb_entries(replies, self._index, called))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, mac: str, *, dev: DeviceLike, vlan: int | None = None) -> None:
        """Add a static entry: frames to ``mac`` leave by port ``dev``.

        Twin: ``bridge fdb add MAC dev DEV master static [vlan ID]``. Raises SpecError for a bad value,
        ExistsError when there is such an entry.
        """
        address, number = parse_mac(mac), None if vlan is None else numbers.vlan(vlan)
        port = self._port(dev)
        operation = f"add forwarding entry {address} on link '{port._last_name}'"
        request = add_fdb(port.ifindex, address, vlan=number, operation=operation)
        self._netns._live_runtime().route.request(request)

    def delete(self, mac: str, *, dev: DeviceLike, vlan: int | None = None) -> None:
        """Delete an entry. Twin: ``bridge fdb del MAC dev DEV master``. Raises NotFoundError without one."""
        address, number = parse_mac(mac), None if vlan is None else numbers.vlan(vlan)
        port = self._port(dev)
        operation = f"delete forwarding entry {address} of link '{port._last_name}'"
        request = delete_fdb(port.ifindex, address, vlan=number, operation=operation)
        self._netns._live_runtime().route.request(request)

    def _port(self, dev: DeviceLike) -> Link:
        require_device(dev, self._netns)
        return link_by_name(self._netns, names.device(dev))

    def __repr__(self) -> str:
        return f"<ForwardingDatabase of bridge '{self._name}' in {self._netns._called()}>"
