"""Bridge: a software switch, its ports, and what it connects."""

from __future__ import annotations

from netkit._address import add_requests, parse_addresses, refuse_small_mtu
from netkit._bridge_options import BridgeOptions
from netkit._bridge_reading import BridgeReading
from netkit._end import take_back_addresses
from netkit._gateway import Gateways
from netkit._known import require_namespace
from netkit._leftovers import links_collected
from netkit._lifecycle import LINKS, PHRASE, Holder, Resource, Teardown, raise_first
from netkit._link import Link, link_by_name
from netkit._marks import adopt_links, note_link, release_links, tag_request
from netkit._netlink.link import delete_link, get_link, parse_link
from netkit._ports import Ports, port_requests
from netkit._readiness import wait_until_heard
from netkit._runtime import Runtime, random_group
from netkit._shown import Shown
from netkit._spec import numbers
from netkit._spec.address import Address
from netkit._spec.forward import forward_options
from netkit._veth import VethPair
from netkit.errors import ExistsError, NotFoundError, SpecError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from netkit._fdb import ForwardingDatabase
    from netkit._lifecycle.steps import Steps
    from netkit._namespace import Namespace
    from netkit._netlink.link import LinkRecord
    from netkit._veth import Addresses
    from netkit.errors import KernelError


class Bridge(Resource, Ports, BridgeReading, Holder, Shown):
    """A software Ethernet switch in a namespace (IEEE 802.1D), whose ports are links.

    The MAC is pinned at creation: a bridge that chooses its own takes the lowest of its
    ports', and changes it when a port comes or goes. Ports that are not ours are released
    at the end, never deleted. Its options can be read by the same names: ``bridge.stp``, or all
    of them by `read`.

    Twin: ``ip link add NAME type bridge ...``. Source: ip-link(8), bridge(8). Needs
    CAP_NET_ADMIN over the namespace and CONFIG_BRIDGE.

    Args:
        ns: the namespace it lives in.
        name: 1 to 15 bytes.
        address: one address with prefix length or several, v4 and v6 mixed.
        mac: link-layer address; a random local one when left out.
        mtu: in bytes.
        stp: the spanning tree protocol (off: a port forwards at once).
        forward_delay: in seconds.
        hello_time: in seconds.
        max_age: in seconds.
        ageing_time: in seconds.
        mcast_snooping: forward multicast only where it is asked for.
        vlan_filtering: needs CONFIG_BRIDGE_VLAN_FILTERING.
        up: set it up.
        internal: forward nothing into its network or out of it, as ``docker network create --internal``.
        isolate: forward nothing between it and other bridges, but for what is published, as podman's option
            ``isolate``. For both, rules in a chain of netkit's drop; whatever else accepts does not help.
        open_forward: where a firewall drops what it does not accept (on a host with Docker), insert accepts
            for what comes from the bridge and what answers it, in the chains that drop.

    Raises SpecError for bad values before any system call; ExistsError when the name is taken;
    UnsupportedError for what the kernel lacks.

    Examples:
        >>> from netkit import Bridge, Namespace
        >>> with Namespace() as host, Namespace("box") as box:
        ...     with Bridge(host, "br0", address="10.0.0.1/24") as bridge:
        ...         veth = bridge.connect(box, name="veth0", peer_name="eth0",
        ...                               peer_address="10.0.0.2/24", default_route=True)
        ...         print(box.ping("10.0.0.1").received)
        1
    """

    _stage = LINKS
    _by_messages = True

    def __init__(
        self,
        ns: Namespace,
        name: str,
        *,
        address: Addresses | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        stp: bool = False,
        forward_delay: float | None = None,
        hello_time: float | None = None,
        max_age: float | None = None,
        ageing_time: float | None = None,
        mcast_snooping: bool | None = None,
        vlan_filtering: bool | None = None,
        up: bool = True,
        internal: bool = False,
        isolate: bool = False,
        open_forward: bool = False,
    ) -> None:
        Resource.__init__(self)
        self._netns = require_namespace(ns, "ns")
        self._options = BridgeOptions(
            name, mac, mtu, stp, forward_delay, hello_time, max_age, ageing_time,
            mcast_snooping, vlan_filtering, up,
        )  # fmt: skip
        self._name = self._options.name
        self._addresses: tuple[Address, ...] = parse_addresses(address)
        refuse_small_mtu(self._options.mtu, self._addresses)
        self._index = 0
        self._runtime: Runtime | None = None
        self._strangers: set[int] = set()
        self._gateways = Gateways(self._name)
        self._forwarding = forward_options(self._name, internal, isolate, open_forward)

    @classmethod
    def open(cls, ns: Namespace, name: str) -> Bridge:
        """A bridge that exists, borrowed: netkit does not delete it.

        Twin: ``ip link show NAME type bridge``. Raises NotFoundError when there is none of this name,
        SpecError when it is no bridge.

        Examples:
            >>> from netkit import Bridge, Namespace
            >>> with Namespace() as host, Bridge(host, "br0"):
            ...     print(Bridge.open(host, "br0").ports)
            []
        """
        bridge = cls(ns, name)
        bridge._find()
        bridge._state = "borrowed"
        bridge._addresses = tuple([a for a in bridge.link.addresses if a.scope != "link"])
        return bridge

    # -- reading ------------------------------------------------------------------

    @property
    def link(self) -> Link:
        """The bridge's own device."""
        self._check_live()
        return Link(self._netns, self._index, self._name)

    @property
    def fdb(self) -> ForwardingDatabase:
        """The forwarding database: iterate, ``.add(mac, dev=)``, ``.delete(mac, dev=)``.

        Twin: ``bridge fdb show br BRIDGE``.
        """
        self._check_live()
        from netkit._fdb import ForwardingDatabase

        return ForwardingDatabase(self._netns, self._index, self._name)

    # -- what it connects ---------------------------------------------------------

    def connect(
        self,
        ns: Namespace,
        *,
        name: str,
        peer_name: str = "eth0",
        peer_address: Addresses | None = None,
        default_route: bool = False,
        mtu: int | None = None,
        mac: str | None = None,
        peer_mac: str | None = None,
        queues: int = 1,
        hairpin: bool | None = None,
        isolated: bool | None = None,
        learning: bool | None = None,
        flood: bool | None = None,
        cost: int | None = None,
        priority: int | None = None,
    ) -> VethPair:
        """Join a namespace to the bridge with a veth: ``name`` is the port, ``peer_name`` is in ``ns``.

        The pair is created, belongs to the bridge and is deleted with it, unless a Scope or
        `detach` takes it. ``default_route=True`` gives ``ns`` one default route per address
        family by the bridge's first address of it. If any part fails, all of it is undone.

        Twin: ``ip link add NAME master BRIDGE type veth peer name PEER netns NS``, and the rest typed there.
        Raises what VethPair and `add_port` raise; SpecError for ``default_route=True`` on a
        bridge without addresses.

        Examples:
            >>> from netkit import Bridge, Namespace
            >>> with Namespace() as host, Namespace() as box, Bridge(host, "br0") as bridge:
            ...     veth = bridge.connect(box, name="veth0", peer_address="10.0.0.2/24", isolated=True)
            ...     print(bridge.ports == [veth.link], veth.link.port.isolated)
            True True
        """
        self._check_live()
        pair = self.pair(
            ns, name=name, peer_name=peer_name, peer_address=peer_address, default_route=default_route,
            mtu=mtu, mac=mac, peer_mac=peer_mac, queues=queues, hairpin=hairpin, isolated=isolated,
            learning=learning, flood=flood, cost=cost, priority=priority,
        )  # fmt: skip
        pair._group = self._group
        if self._state == "owned":  # a borrowed bridge is never undone: the pair is, at exit
            self._hold(pair)
        pair.create()
        return pair

    def pair(
        self,
        ns: Namespace,
        *,
        name: str,
        peer_name: str = "eth0",
        peer_address: Addresses | None = None,
        default_route: bool = False,
        mtu: int | None = None,
        mac: str | None = None,
        peer_mac: str | None = None,
        queues: int = 1,
        hairpin: bool | None = None,
        isolated: bool | None = None,
        learning: bool | None = None,
        flood: bool | None = None,
        cost: int | None = None,
        priority: int | None = None,
    ) -> VethPair:
        """The pair that `connect` would make, not created yet: to be created together with others.

        The bridge may be new as well; ``default_route=True`` goes by the addresses it is to have then.
        Parameters are those of `connect`. Twin: that of `connect`. Raises what that does.

        Examples:
            >>> from netkit import Bridge, Namespace, Scope
            >>> with Scope() as lab:
            ...     host, boxes = Namespace(), [Namespace() for _ in range(3)]
            ...     bridge = Bridge(host, "br0", address="10.0.0.1/24")
            ...     pairs = [bridge.pair(box, name=f"veth{n}", peer_address=f"10.0.0.{n}/24",
            ...                          default_route=True) for n, box in enumerate(boxes, 2)]
            ...     made = lab.own(host, *boxes, bridge, *pairs)
            ...     print(boxes[0].ping("10.0.0.4").received)
            1
        """
        pair = VethPair(
            self._netns, ns, name=name, peer_name=peer_name, peer_address=peer_address,
            mtu=mtu, mac=mac, peer_mac=peer_mac, queues=queues,
        )  # fmt: skip
        pair._master = self
        options = (hairpin, isolated, learning, flood, cost, priority)
        if any(option is not None for option in options):
            pair._port_options_of = lambda index: port_requests(index, f"link '{name}'", *options)
            pair._port_options_of(0)  # bad values are found before anything is made
        if numbers.boolean(default_route, "default_route"):
            pair._far.routes = self._gateways.routes(self._present_addresses(), pair._far.addresses)
        return pair

    def _present_addresses(self) -> list[Address]:
        """What it has now, as given at creation: the kernel lists IPv6 addresses last first."""
        if self._state not in ("owned", "borrowed"):
            return [*self._addresses]
        present = [a for a in self.link.addresses if a.scope != "link"]
        given = [a for a in self._addresses if a in present]
        return given + [a for a in present if a not in given]

    # -- lifecycle ----------------------------------------------------------------

    _sent_again = False  # a dead process's was in its place: whoever was to be a port of it could not

    def _steps(self, quiet: bool = False) -> Steps:
        self._index, self._sent_again = 0, False
        runtime = self._runtime = self._netns._live_runtime()
        self._group = self._group or random_group()
        self._given_mac = self._options.chosen_mac()
        self._index = runtime.new_index()
        ends = [(runtime, self._index, self._name)]
        survives = note_link(self, "bridge", self._group, ends, [self._given_mac])
        addresses = add_requests(self._index, self._name, self._addresses)
        # Elsewhere a stranger may get our index, and what follows would be done to his link.
        more = self._options.mtu_requests(self._index)
        rest = more if runtime.ours else []
        message = self._options.message(self._index, self._given_mac, self._group, quiet)
        first, *outcomes = yield runtime, [message, *addresses, *rest]
        if links_collected(first, ends):
            self._sent_again = True
            take_back_addresses(runtime, self._index, self._addresses, outcomes)
            first, *outcomes = yield runtime, [message, *addresses, *rest]
        if first is not None:
            take_back_addresses(runtime, self._index, self._addresses, outcomes)
            raise self._explained(runtime, first)
        raise_first(outcomes)
        later = [] if rest else more
        if survives:
            later = [*later, tag_request(self._index, self._name, self._group)]
        if later:
            raise_first((yield runtime, later))

    def _explained(self, runtime: Runtime, refusal: KernelError) -> KernelError:
        """EEXIST has no text: it may be the name, or the index."""
        if not isinstance(refusal, ExistsError):
            return self._options.explained(refusal)
        try:
            runtime.route.get(get_link(name=self._name))
        except NotFoundError:
            return refusal
        name = self._name
        taken = f"The name '{name}' is taken in {runtime.label}"
        return refusal._hinted(f"{taken}; Bridge.open(ns, '{name}') opens a bridge that is there")

    _ends_last = True  # see BridgeOptions.loud_requests

    def _last_steps(self) -> Steps:
        if self._runtime is None:
            return
        requests = self._options.loud_requests(self._index)
        if requests:
            raise_first((yield self._runtime, requests))

    def _wait_usable(self, settled: set[tuple[Runtime, str]]) -> None:
        if self._runtime is not None:
            wait_until_heard(self._runtime, self._index, self._addresses)
        self._set_forwarding()

    def _set_forwarding(self) -> None:
        """What is to be dropped or accepted of what it forwards; one is adopted where it was detached."""
        if not self._forwarding:
            return
        from netkit._nat.forward import forwarding_of

        for each in forwarding_of(self._netns, self._forwarding):
            self._hold(each)
            each.create()

    def _live_index(self) -> int:
        """Its index, also while it is being created with others."""
        if not self._index or self._state in ("deleted", "closed"):
            raise StateError(f"{self!r} is {PHRASE[self._state]}")
        return self._index

    def _take_back(self) -> None:
        runtime = self._runtime
        if runtime is not None and self._index and self._is_ours(runtime):
            runtime.route.request(delete_link(index=self._index))

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        return (self._runtime,)

    def _places(self) -> list[tuple[Runtime, int]]:
        return [] if self._runtime is None else [(self._runtime, self._index)]

    def _remove(self, teardown: Teardown) -> None:
        runtime = self._runtime
        if runtime is None or runtime.fd < 0 or runtime in teardown.doomed or not self._index:
            return
        if self._strangers and self._is_ours(runtime):
            self._release_strangers(runtime)
        teardown.delete_link(self, [(runtime, self._index)], self._is_mine)

    def _is_ours(self, runtime: Runtime) -> bool:
        try:
            return self._is_mine(parse_link(runtime.route.get(get_link(index=self._index))))
        except NotFoundError:
            return False

    def _is_mine(self, record: LinkRecord) -> bool:
        mine = (self._group and record.group == self._group) or record.mac == self._given_mac
        return record.kind == "bridge" and bool(mine or self._state == "borrowed")

    def _exists(self) -> bool:
        return self._runtime is not None and self._is_ours(self._runtime)

    def _detach(self) -> None:
        release_links([(self._open(), self.link._read())], self._group)
        self._group = 0

    def _find(self) -> None:
        name = self._name
        link = link_by_name(self._netns, name)
        kind = link.kind
        if kind != "bridge":
            raise SpecError(f"'{name}' is a {kind or 'device'}, not a bridge: use ns.links['{name}']")
        self._index = link.ifindex
        self._runtime = self._netns._live_runtime()

    def _lose(self) -> None:
        self._index, self._runtime = 0, None

    def _note_again(self) -> None:
        ends = [(self._open(), self._index, self._name)]
        note_link(self, "bridge", self._group or 0, ends, [self._given_mac])

    def _marking(self, place: tuple[Runtime, int], mac: str) -> None:
        ends = [(self._open(), self._index, self._name)]
        note_link(self, "bridge", self._group or 0, ends, [self._given_mac, mac])

    def _marked(self, place: tuple[Runtime, int], mac: str) -> None:
        self._given_mac = mac
        self._settle()

    def _adopt(self) -> None:
        record = self.link._read()
        self._given_mac = record.mac
        self._group = adopt_links(self, [(self._open(), record)])
        if self._forwarding:
            from netkit._nat.forward import adopt_or_create, forwarding_of

            for each in forwarding_of(self._netns, self._forwarding):
                adopt_or_create(each)
                self._hold(each)

    def _open(self) -> Runtime:
        assert self._runtime is not None  # _check_live() came first
        return self._runtime

    _given_mac: str | None = None

    def __iter__(self) -> Iterator[Link]:
        return iter(self.ports)

    def __repr__(self) -> str:
        return f"<Bridge '{self._name}' in {self._netns._called()}{self._aside()}>"
