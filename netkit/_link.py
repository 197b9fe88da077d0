"""Link: a handle on one network device of a namespace.

A handle keeps who the device is (namespace and index), not what it is like: each property
is a fresh read.
"""

from __future__ import annotations

from netkit._address import Addresses
from netkit._altnames import AlternativeNames
from netkit._known import find_by_nsid, runtime_of
from netkit._leftovers import links_collected
from netkit._lifecycle import owner_of
from netkit._netlink.link import (
    IFF_UP,
    LinkRecord,
    LinkStats,
    delete_link,
    get_link,
    parse_identity,
    parse_link,
    set_link,
)
from netkit._netlink.wire import Request
from netkit._readiness import settle_carrier
from netkit._runtime import Runtime
from netkit._shown import Shown
from netkit._spec import names, numbers
from netkit._spec.mac import mac as parse_mac
from netkit._spec.value import shown
from netkit.errors import BusyError, ExistsError, NotFoundError, SpecError, naming_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._adopted_link import AdoptedLink
    from netkit._capture import Capture
    from netkit._namespace import Namespace
    from netkit._spec.bridges import PortInfo
    from netkit._spec.routes import DeviceLike


class Link(Shown):
    """One network device of a namespace, found by ``ns.links[name]``.

    It follows the device through renames. When the device is gone, each use is a
    NotFoundError; after `move`, the handle refers to the device in its new namespace.

    Twin: ``ip link show dev NAME``. Reading needs no capability; changing needs
    CAP_NET_ADMIN over the namespace. Source: rtnetlink(7), ip-link(8).

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     print(box.links["lo"].mtu)
        65536
    """

    __slots__ = ("__weakref__", "_ifindex", "_last_name", "_netns")

    def __init__(self, netns: Namespace, ifindex: int, name: str) -> None:
        self._netns = netns
        self._ifindex = ifindex
        self._last_name = name

    # -- who it is --------------------------------------------------------------

    @property
    def netns(self) -> Namespace:
        """The namespace it is in: the identical object it was asked of."""
        return self._netns

    @property
    def ifindex(self) -> int:
        """The kernel's number for it, unique in its namespace."""
        return self._ifindex

    @property
    def name(self) -> str:
        """Its name now."""
        self._last_name = self._read().name
        return self._last_name

    @property
    def kind(self) -> str | None:
        """What the kernel calls its type: ``veth``, ``bridge``, ``vxlan``; None for hardware and ``lo``."""
        return self._read().kind

    @property
    def exists(self) -> bool:
        """Whether the device is still there."""
        try:
            self._read()
        except NotFoundError:
            return False
        return True

    # -- what it is like ----------------------------------------------------------

    @property
    def mtu(self) -> int:
        """The largest packet in bytes, without the Ethernet header."""
        return self._read().mtu

    @property
    def mac(self) -> str | None:
        """The link-layer address in lower case, such as ``02:00:00:00:00:01``; None if it has none."""
        return self._read().mac

    @property
    def state(self) -> str:
        """The operational state in lower case, as ``ip link`` prints it: ``up``, ``down``, ``unknown``,
        ``lowerlayerdown`` (up, but without carrier) ... (RFC 2863, IFLA_OPERSTATE)."""
        return self._read().state

    @property
    def is_up(self) -> bool:
        """Whether it was set up (IFF_UP), carrier or not."""
        return bool(self._read().flags & IFF_UP)

    @property
    def carrier(self) -> bool:
        """Whether it can send: up, and so is what it is connected to."""
        return bool(self._read().carrier)

    @property
    def group(self) -> int:
        """The group it is in (``ip link set group``); 0 is the default group."""
        return self._read().group

    @property
    def txqlen(self) -> int:
        """The length of the transmit queue in packets."""
        return self._read().txqlen

    @property
    def alias(self) -> str | None:
        """The free text of ``ip link set alias``, or None."""
        return self._read().alias

    @property
    def altnames(self) -> AlternativeNames:
        """Its alternative names: iterate, ``.add(name)``, ``.remove(name)``."""
        return AlternativeNames(self)

    @property
    def addresses(self) -> Addresses:
        """Its addresses: iterate, ``.add()``, ``.remove()``, ``.replace()``."""
        return Addresses(self)

    @property
    def stats(self) -> LinkStats:
        """Packets and bytes counted so far (IFLA_STATS64)."""
        return self._read().stats

    @property
    def master(self) -> Link | None:
        """The bridge (or other master) it is a port of, or None."""
        index = self._read().master
        return None if not index else link_by_index(self._netns, index)

    @property
    def port(self) -> PortInfo | None:
        """Its options as a port of a bridge, frozen, from one fresh read; None if it is no such port.

        Twin: ``bridge -d link show dev NAME``.

        Examples:
            >>> from netkit import Bridge, Namespace
            >>> with Namespace() as host, Namespace() as box, Bridge(host, "br0") as bridge:
            ...     veth = bridge.connect(box, name="veth0", hairpin=True, cost=7)
            ...     port = veth.link.port
            ...     print(port.state, port.hairpin, port.cost, veth.peer.port)
            forwarding True 7 None
        """
        from netkit._netlink.bridge_record import port_info

        return port_info(self._read())

    @property
    def peer(self) -> Link | None:
        """The other end of a veth; None for other kinds, and when that end is in a namespace
        this program has not opened."""
        record = self._read()
        if record.kind != "veth" or not record.link:
            return None
        if record.link_netnsid is None:
            return link_by_index(self._netns, record.link)
        other = find_by_nsid(self._runtime, record.link_netnsid)
        return None if other is None else link_by_index(other, record.link)

    # -- changing it ------------------------------------------------------------------

    def up(self) -> Link:
        """Set it up; returns self, when it has its carrier. Twin: ``ip link set NAME up``.

        Raises NotFoundError when it is gone. Its IPv6 addresses went when it was set down: add them again.

        Examples:
            >>> from netkit import Namespace, VethPair
            >>> with Namespace() as a, Namespace() as b, VethPair(a, b, name="x", peer_name="y") as veth:
            ...     print(veth.link.down().state, veth.link.up().state)
            down up
        """
        self._change(set_link(self._ifindex, up=True, operation=f"set {self._called} up"))
        settle_carrier(self._runtime, self._ifindex)
        return self

    def capture(
        self,
        filter: str | None = None,
        *,
        snaplen: int = 262_144,
        buffer: int = 64 << 20,
        limit: int = 1 << 30,
    ) -> Capture:
        """Capture the packets that pass it, in both directions: a Capture, which begins with its ``with``.

        Twin: ``tcpdump -i NAME 'FILTER'``. Needs CAP_NET_RAW and CONFIG_PACKET; for a filter also libpcap.

        Args:
            filter: in pcap's language, see pcap-filter(7); None is everything.
            snaplen: how many bytes of each packet are kept.
            buffer: bytes of the ring in which the kernel puts them; it is emptied by a thread.
            limit: bytes of packets that are kept in a file without a name.

        Raises SpecError for a filter that is not understood.

        Examples:
            >>> from netkit import Namespace, VethPair
            >>> with Namespace() as one, Namespace() as two:
            ...     with VethPair(one, two, name="a", peer_name="b", address="10.0.0.1/24",
            ...                   peer_address="10.0.0.2/24") as veth:
            ...         with veth.peer.capture("icmp[icmptype] == icmp-echo") as packets:
            ...             one.ping("10.0.0.2").received
            ...         [str(packet.src) for packet in packets]
            1
            ['10.0.0.1']
        """
        with naming_limits("capture packets"):
            from netkit._capture import Capture

            return Capture(self.netns, self, filter, snaplen=snaplen, buffer=buffer, limit=limit)

    def down(self) -> Link:
        """Set it down; returns self. Its routes and IPv6 addresses go. Twin: ``ip link set NAME down``.

        Raises NotFoundError when it is gone.
        """
        self._change(set_link(self._ifindex, up=False, operation=f"set {self._called} down"))
        return self

    def set(
        self,
        *,
        mtu: int | None = None,
        mac: str | None = None,
        alias: str | None = None,
        txqlen: int | None = None,
        group: int | None = None,
    ) -> Link:
        """Change what is given, in one message; returns self.

        ``mtu`` in bytes, ``mac`` as text, ``alias`` at most 255 bytes (``""`` removes it),
        ``txqlen`` in packets, ``group`` a number. Twin: ``ip link set NAME mtu ... address ...``.
        Raises SpecError for a bad value, KernelError with the kernel's words for what this
        device does not take.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     lo = box.links["lo"].set(mtu=9000, alias="to itself")
            ...     print(lo.mtu, lo.alias)
            9000 to itself
        """
        if all(value is None for value in (mtu, mac, alias, txqlen, group)):
            raise SpecError("nothing to set: give mtu=, mac=, alias=, txqlen= or group=")
        address = None if mac is None else parse_mac(mac)
        request = set_link(
            self._ifindex,
            mtu=None if mtu is None else numbers.mtu(mtu),
            mac=address,
            alias=None if alias is None else names.alias(alias),
            txqlen=None if txqlen is None else numbers.integer(txqlen, "txqlen", 0, 2**31 - 1),
            group=None if group is None else numbers.integer(group, "group", 0, 2**32 - 1),
            operation=f"set {self._called}",
        )
        if address is None:
            self._change(request)
        else:
            self._change_mac(request, address)
        return self

    def rename(self, name: str) -> Link:
        """Give it another name; returns self. Twin: ``ip link set OLD name NEW``.

        A link that is up can be renamed since Linux 6.2. Raises ExistsError when the name is taken,
        BusyError for one that is up on an older kernel.

        Examples:
            >>> from netkit import Namespace, VethPair
            >>> with Namespace() as a, Namespace() as b, VethPair(a, b, name="x", peer_name="y") as veth:
            ...     print(veth.link.down().rename("uplink").name)
            uplink
        """
        new = names.interface_name(name)
        request = set_link(self._ifindex, name=new, operation=f"rename {self._called} to '{new}'")
        try:
            self._change_name(request, self._runtime, new)
        except BusyError as refusal:
            raise refusal._hinted("Before Linux 6.2 a link is renamed only while it is down") from None
        self._last_name = new
        return self

    def move(self, netns: Namespace) -> Link:
        """Move it to another namespace; returns self, which is then there.

        What owns it follows: a VethPair is undone wherever its ends are. The kernel sets it down and drops
        its addresses and routes. Costs about 16 ms: it is much faster to create a link where it is to be.
        Twin: ``ip link set NAME netns NS``.
        Raises ExistsError when the name is taken there, KernelError for what stays where it is, such as
        ``lo``.

        Examples:
            >>> from netkit import Namespace, VethPair
            >>> with Namespace() as a, Namespace() as b:
            ...     link = VethPair(a, a, name="x", peer_name="y").create().link.move(b)
            ...     print(link.netns is b, [each.name for each in b.links])
            True ['lo', 'x']
        """
        target = runtime_of(netns)
        name = self.name
        place = (self._runtime, self._ifindex)
        owner = owner_of(place)
        if owner is not None:
            owner._moving(place, target)
        operation = f"move {self._called} to {target.label}"
        request = set_link(self._ifindex, netns_fd=target.check(), operation=operation)
        try:
            self._change_name(request, target, name)
        except ExistsError as refusal:
            if refusal.extack:
                raise
            raise refusal._hinted("A link of the same name exists there") from None  # Linux 6.1 is silent
        moved = link_by_name(netns, name)
        self._netns, self._ifindex, self._last_name = netns, moved._ifindex, name
        if owner is not None:
            owner._moved(place, netns, moved._ifindex)
        return self

    def delete(self) -> None:
        """Delete the device; for a veth, both ends. Twin: ``ip link del NAME``.

        Raises NotFoundError when it is gone already, UnsupportedError for what cannot be deleted, as ``lo``.
        """
        self._change(delete_link(index=self._ifindex, operation=f"delete {self._called}"))

    def adopt(self) -> AdoptedLink:
        """Own it: whatever made it, it is deleted at the end of a ``with`` or of the Scope that owns it.

        For links that netkit does not make itself. Pairs and bridges have `VethPair.open` and
        `Bridge.open`. Twin: ``ip link set NAME group``, with a group of netkit's. Raises SpecError for a
        device of the machine, which nobody can delete, StateError for what somebody owns already.

        Examples:
            >>> from netkit import Namespace, Scope
            >>> with Namespace() as box, Scope() as lab:
            ...     with box.pyroute2() as ipr:
            ...         _ = ipr.link("add", ifname="vx0", kind="vxlan", vxlan_id=7, vxlan_port=4789)
            ...     tunnel = lab.own(box.links["vx0"].adopt())
            ...     print(tunnel.link.kind)
            vxlan
        """
        from netkit._adopted_link import AdoptedLink

        return AdoptedLink(self).adopt()

    # -- inside -------------------------------------------------------------------------

    @property
    def _runtime(self) -> Runtime:
        return self._netns._live_runtime()

    @property
    def _called(self) -> str:
        return f"link '{self._last_name}'"

    def _read(self) -> LinkRecord:
        request = get_link(self._ifindex, operation=("read link '", self._last_name, "'"))
        return parse_link(self._runtime.route.get(request))

    def _change_mac(self, request: Request, mac: str) -> None:
        place = (self._runtime, self._ifindex)
        owner = owner_of(place)
        if owner is not None:
            owner._marking(place, mac)
        self._change(request)
        if owner is not None:
            owner._marked(place, mac)

    def _change_name(self, request: Request, there: Runtime, name: str) -> None:
        """A change after which it has this name there; what a dead process has left there gives way."""
        try:
            self._change(request)
            return
        except ExistsError as refusal:
            if not links_collected(refusal, [(there, 0, name)]):
                raise
        self._change(request)

    def _change(self, request: Request) -> None:
        self._runtime.route.request(request)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Link):
            return NotImplemented
        return self._ifindex == other._ifindex and self._netns._same_as(other._netns)

    def __hash__(self) -> int:
        return hash((self._ifindex, self._netns._identity_or_none()))

    def __repr__(self) -> str:
        return f"<Link {self._last_name!r} index {self._ifindex} in {self._netns._called()}>"


def link_by_name(netns: Namespace, name: str) -> Link:
    """The link of this name; NotFoundError names it and the namespace."""
    index, real_name = parse_identity(netns._live_runtime().route.get(get_link(name=name)))
    return Link(netns, index, real_name)


def link_by_index(netns: Namespace, index: int) -> Link:
    """The link of this index."""
    _, name = parse_identity(netns._live_runtime().route.get(get_link(index)))
    return Link(netns, index, name)


def require_link(link: object, netns: Namespace, what: str) -> Link:
    """A Link of this namespace; anything else is a SpecError that says so."""
    if not isinstance(link, Link):
        raise SpecError(f"{what} takes a Link, such as ns.links['eth0'], not {shown(link)}")
    if not link.netns._same_as(netns):
        raise SpecError(f"{link!r} is in another namespace than {netns._called()}")
    return link


def require_device(dev: DeviceLike | None, netns: Namespace, what: str = "dev") -> None:
    """A device given as a Link must be one of this namespace: elsewhere its name means another."""
    if isinstance(dev, Link) and dev._netns is not netns and not dev._netns._same_as(netns):
        raise SpecError(f"{what}={dev!r} is in another namespace than {netns._called()}")
