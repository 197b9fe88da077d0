"""VethPair: two joined devices, each in a namespace of its own, made in place."""

from __future__ import annotations

from errno import ENODEV
from weakref import ref

from netkit._address import add_requests, parse_addresses, refuse_small_mtu
from netkit._end import End, random_mac, take_back_addresses
from netkit._existing_pair import existing_ends
from netkit._known import require_namespace
from netkit._leftovers import links_collected
from netkit._lifecycle import LINKS, Resource, Teardown, raise_first
from netkit._link import Link, require_link
from netkit._marks import (
    adopt_links,
    ends_of,
    note_link,
    release_links,
    tag_request,
    tag_survivors,
)
from netkit._netlink.link import delete_link, get_link, parse_link, set_link_up, veth
from netkit._netlink.wire import Request
from netkit._readiness import wait_until_heard
from netkit._runtime import Runtime, random_group
from netkit._shown import Shown
from netkit._spec import names, numbers
from netkit._spec.mac import mac as parse_mac
from netkit._spec.value import shown
from netkit.errors import (
    BusyError,
    ExistsError,
    KernelError,
    NotFoundError,
    SpecError,
    UnsupportedError,
    kernel_error,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from netkit._bridge import Bridge
    from netkit._lifecycle.steps import Steps
    from netkit._namespace import Namespace
    from netkit._netlink.link import LinkRecord
    from netkit._spec.addresses import InterfaceLike

    Addresses = InterfaceLike | Iterable[InterfaceLike]


def _no_options(index: int) -> list[Request]:
    return []


class VethPair(Resource, Shown):
    """A virtual Ethernet cable: two devices, each in a namespace, what enters one leaves the other.

    Both ends are made where they belong by one message: nothing is created and then moved.
    With ``up=True`` both are up, have carrier and can send when `create` returns.

    Twin: ``ip link add NAME netns NS type veth peer name PEER netns PEER_NS``, the addresses
    and ``ip link set ... up``. Source: veth(4), rtnetlink(7). Needs CAP_NET_ADMIN over both
    namespaces and CONFIG_VETH.

    Args:
        ns: the namespace of the near end.
        peer_ns: that of the far end; it may be the same one.
        name: device name, 1 to 15 bytes.
        peer_name: the far end's; equal names in two namespaces are fine.
        address: one address with prefix length or several, v4 and v6 mixed.
        peer_address: the same for the far end.
        mtu: in bytes.
        peer_mtu: ``mtu`` when left out.
        master: a bridge of ``ns`` that ``name`` becomes a port of; a Bridge may be created together
            with the pair (`Scope.own` with several).
        mac: link-layer address; a random local one when left out.
        peer_mac: the same for the far end.
        txqlen: transmit queue length in packets.
        peer_txqlen: the same for the far end.
        queues: transmit and receive queues per end. One serves what has no XDP and no threaded NAPI, and is
            made in three quarters of the time of the kernel's own choice, one per processor.
        up: set both ends up.

    Raises SpecError for bad values before any system call; ExistsError when a name is taken,
    saying which and where; UnsupportedError without CONFIG_VETH.

    Examples:
        >>> from netkit import Namespace, VethPair
        >>> with Namespace("red") as red, Namespace("blue") as blue:
        ...     with VethPair(red, blue, name="eth0", peer_name="eth0",
        ...                   address="10.0.0.1/24", peer_address="10.0.0.2/24") as veth:
        ...         print(red.ping("10.0.0.2").loss)
        0.0
    """

    _stage = LINKS
    _by_messages = True

    def __init__(
        self,
        ns: Namespace,
        peer_ns: Namespace,
        *,
        name: str,
        peer_name: str,
        address: Addresses | None = None,
        peer_address: Addresses | None = None,
        mtu: int | None = None,
        peer_mtu: int | None = None,
        mac: str | None = None,
        peer_mac: str | None = None,
        txqlen: int | None = None,
        peer_txqlen: int | None = None,
        master: Bridge | Link | None = None,
        queues: int = 1,
        up: bool = True,
    ) -> None:
        near_mtu = None if mtu is None else numbers.mtu(mtu)
        near = End(
            require_namespace(ns, "ns"),
            names.interface_name(name),
            parse_addresses(address),
            near_mtu,
            None if mac is None else parse_mac(mac),
            None if txqlen is None else numbers.integer(txqlen, "txqlen", 0, 2**31 - 1),
        )
        far = End(
            require_namespace(peer_ns, "peer_ns"),
            names.interface_name(peer_name, "peer_name"),
            parse_addresses(peer_address),
            near_mtu if peer_mtu is None else numbers.mtu(peer_mtu),
            None if peer_mac is None else parse_mac(peer_mac),
            None if peer_txqlen is None else numbers.integer(peer_txqlen, "peer_txqlen", 0, 2**31 - 1),
        )
        refuse_small_mtu(near.mtu, near.addresses)
        refuse_small_mtu(far.mtu, far.addresses, "mtu" if peer_mtu is None else "peer_mtu")
        if ns._same_as(peer_ns) and name == peer_name:
            raise SpecError(f"both ends are called '{name}' in the same namespace: give another peer_name")
        self._fill(
            near,
            far,
            numbers.integer(queues, "queues", 1, 4096),
            numbers.boolean(up, "up"),
            None if master is None else require_master(master, ns),
        )

    def _fill(self, near: End, far: End, queues: int, up: bool, master: Bridge | Link | None) -> None:
        Resource.__init__(self)
        self._near, self._far = near, far
        self._queues, self._up, self._master = queues, up, master
        _remember(self)

    _port_options_of: Callable[[int], list[Request]] = staticmethod(_no_options)

    @classmethod
    def _of(
        cls, near: End, far: End, queues: int = 1, up: bool = True, master: Bridge | Link | None = None
    ) -> VethPair:
        """The pair of two ends that have been checked."""
        pair = cls.__new__(cls)
        pair._fill(near, far, queues, up, master)
        return pair

    @classmethod
    def open(cls, ns: Namespace, name: str, *, peer_ns: Namespace | None = None) -> VethPair:
        """A pair that exists, by its end in ``ns``, borrowed: netkit does not delete it.

        The peer is found in ``peer_ns``, or in whichever namespace this program has open. Where it is in
        another one, ``peer`` is a StateError; the pair can be adopted and deleted nonetheless, for the
        kernel takes both ends with either.

        Twin: ``ip link show NAME type veth``.
        Raises NotFoundError when there is no such link, or its peer is not in ``peer_ns``; SpecError when
        it is no veth. Source: IFLA_LINK and IFLA_LINK_NETNSID in rtnetlink(7).

        Examples:
            >>> from netkit import Namespace, VethPair
            >>> with Namespace() as host, Namespace("box", persistent=True) as box:
            ...     made = VethPair(host, box, name="veth0", peer_name="eth0").create().detach()
            ...     with VethPair.open(host, "veth0").adopt() as veth:  # in another process as well
            ...         print(veth.peer.name)
            ...     print(made.exists)
            eth0
            False
        """
        near, far = existing_ends(
            require_namespace(ns, "ns"),
            names.interface_name(name),
            None if peer_ns is None else require_namespace(peer_ns, "peer_ns"),
        )
        pair = cls._of(near, far)
        pair._state = "borrowed"
        return pair

    @property
    def link(self) -> Link:
        """The end in ``ns``. StateError before create() and after delete()."""
        self._check_live()
        return self._near.link()

    @property
    def peer(self) -> Link:
        """The end in ``peer_ns``. StateError when that is not open here (see `open`)."""
        self._check_live()
        return self._far.link()

    def __iter__(self) -> Iterator[Link]:
        return iter((self.link, self.peer))

    # -- lifecycle ----------------------------------------------------------------

    def _steps(self, quiet: bool = False) -> Steps:
        near, far = self._near, self._far
        near.index = far.index = 0
        here, there = near.open(), far.open()
        near.index, far.index = here.new_index(), there.new_index()
        near.given_mac, far.given_mac = near.mac or random_mac(), far.mac or random_mac()
        self._group = self._group or random_group()
        survives = (here.survives or there.survives) and self._note_ends()
        near.master = None if self._master is None else _index_of(self._master)
        outcomes = yield here, self._near_requests(here, there)
        if outcomes[0] is not None and self._is_free_now(outcomes[0]):
            self._give_up(here, outcomes[1:])
            outcomes = yield here, self._near_requests(here, there)
        if outcomes[0] is not None:
            self._give_up(here, outcomes[1:])
            raise self._name_the_taken(outcomes[0])
        raise_first(outcomes)
        later = [] if here.ours else self._near_options()
        if survives:
            later.append(tag_request(near.index, near.name, self._group))
        if later:
            raise_first((yield here, later))
        requests = self._far_requests()
        if survives:
            requests.append(tag_request(far.index, far.name, self._group))
        if requests:
            raise_first((yield there, requests))

    def _is_free_now(self, refusal: KernelError) -> bool:
        """Whether it is to be sent once more: what the dead had in its way, or its bridge's, is gone."""
        master = self._master
        if master is not None and not isinstance(master, Link) and master._sent_again:
            return True
        return links_collected(refusal, ends_of(self._near, self._far))

    def _near_requests(self, here: Runtime, there: Runtime) -> list[Request]:
        near = self._near
        requests = [self._message(here, there)]
        if near.addresses:
            requests += add_requests(near.index, near.name, near.addresses)
        # Elsewhere a stranger may get our index, and what follows would be done to his link.
        if here.ours:
            requests += self._near_options()
        return requests

    def _near_options(self) -> list[Request]:
        near = self._near
        return [*self._port_options_of(near.index), *near.route_requests()]

    def _give_up(self, here: Runtime, outcomes: Sequence[KernelError | None]) -> None:
        take_back_addresses(here, self._near.index, self._near.addresses, outcomes)

    def _far_requests(self) -> list[Request]:
        far = self._far
        addresses = add_requests(far.index, far.name, far.addresses)
        if not self._up:
            return addresses
        up = set_link_up(far.index, ("set link '", far.name, "' up"))
        return [up, *addresses, *far.route_requests()]

    def _message(self, here: Runtime, there: Runtime) -> Request:
        near, far = self._near, self._far
        return veth(
            near.name,
            far.name,
            index=near.index,
            peer_index=far.index,
            peer_netns_fd=None if there is here else there.check(),
            mtu=near.mtu,
            peer_mtu=far.mtu,
            mac=near.given_mac,
            peer_mac=far.given_mac,
            group=self._group,
            peer_group=self._group,
            master=near.master,
            txqlen=near.txqlen,
            peer_txqlen=far.txqlen,
            queues=self._queues,
            up=self._up,
        )

    def _take_back(self) -> None:
        here = self._near.runtime
        if here is not None and self._near.index and self._is_ours(here, self._near):
            here.route.request(delete_link(index=self._near.index))

    def _wait_usable(self, settled: set[tuple[Runtime, str]]) -> None:
        """Let the kernel act on the carrier that both ends have now, and IPv6 join its groups."""
        if not self._up:
            return
        ends = (self._near, self._far)
        for end in ends:
            if end.runtime is not None:
                end.runtime.sync_carrier(end.name)
        if self._master is not None and self._near.runtime is not None:
            bridge = self._near.runtime, _name_of(self._master)
            if bridge not in settled:
                bridge[0].sync_carrier(bridge[1])
                settled.add(bridge)
        for end in ends:
            if end.addresses and end.runtime is not None:
                wait_until_heard(end.runtime, end.index, end.addresses)

    def _name_the_taken(self, refusal: KernelError) -> KernelError:
        if isinstance(refusal, UnsupportedError) and isinstance(self._master, Link):
            return refusal._hinted(f"Is {self._master._called}, which is to be its master, a bridge?")
        if isinstance(refusal, UnsupportedError):
            return refusal._hinted("A veth needs a kernel with CONFIG_VETH (module `veth`)")
        # EEXIST (EBUSY for the far index) has no text: names and indexes all look the same.
        if not isinstance(refusal, ExistsError | BusyError):
            return refusal
        for end in (self._near, self._far):
            runtime = end.runtime
            if runtime is not None and _find(runtime, end.name) is not None:
                return ExistsError(
                    f"create veth '{self._near.name}' with peer '{self._far.name}'",
                    refusal.errno or 0,
                    netns=runtime.label,
                    hint=f"The name '{end.name}' is taken in {runtime.label}",
                )
        return refusal

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        return (self._near.runtime, self._far.runtime)

    def _places(self) -> list[tuple[Runtime, int]]:
        ends = (self._near, self._far)
        return [(end.runtime, end.index) for end in ends if end.index and end.runtime is not None]

    def _remove(self, teardown: Teardown) -> None:
        # An end in a namespace that is dropped goes with it.
        places = [each for each in self._places() if each[0].fd >= 0 and each[0] not in teardown.doomed]
        teardown.delete_link(self, places, self._is_mine)

    def _is_ours(self, runtime: Runtime, end: End) -> bool:
        return self._read(runtime, end) is not None

    def _read(self, runtime: Runtime, end: End) -> LinkRecord | None:
        try:
            record = parse_link(runtime.route.get(get_link(index=end.index)))
        except NotFoundError:
            return None
        return record if self._is_mine(record) else None

    def _is_mine(self, record: LinkRecord) -> bool:
        """Names and indexes are reused: only a veth with our group or our MAC is what we made."""
        mine = (self._group and record.group == self._group) or (
            record.mac in (self._near.given_mac, self._far.given_mac)
        )
        return record.kind == "veth" and bool(mine)

    def _exists(self) -> bool:
        runtime = self._near.runtime
        return runtime is not None and self._is_ours(runtime, self._near)

    def _detach(self) -> None:
        """Leave our group: the link is nobody's then. A group that the user set stays."""
        release_links(self._present("detach"), self._group)
        self._group = 0

    def _find(self) -> None:
        """The pair that is there under these names."""
        near, far = self._near, self._far
        assert near.netns is not None  # of what was not opened
        found, peer = existing_ends(near.netns, near.name, far.netns)
        if peer.name != far.name:
            raise kernel_error(
                f"adopt veth '{near.name}' with peer '{far.name}'", ENODEV, netns=near.netns._called(),
                hint=f"Its peer is called '{peer.name}'",
            )  # fmt: skip
        for end, there in ((near, found), (far, peer)):
            end.index, end.given_mac, end.runtime = there.index, there.given_mac, there.runtime

    def _note_again(self) -> None:
        self._note_ends()

    def _note_ends(self) -> bool:
        near, far = self._near, self._far
        macs = [near.given_mac, far.given_mac]
        return note_link(self, "veth", self._group or 0, ends_of(near, far), macs)

    def _moving(self, place: tuple[Runtime, int], target: Runtime) -> None:
        near, far = self._near, self._far
        ends = [(target if each[:2] == place else each[0], *each[1:]) for each in ends_of(near, far)]
        note_link(self, "veth", self._group or 0, ends, [near.given_mac, far.given_mac])

    def _moved(self, place: tuple[Runtime, int], netns: Namespace, index: int) -> None:
        end = self._near if (self._near.runtime, self._near.index) == place else self._far
        end.netns, end.runtime, end.index = netns, netns._live_runtime(), index
        self._settle()
        tag_survivors(self._present("move"), self._group or 0)

    def _marking(self, place: tuple[Runtime, int], mac: str) -> None:
        near, far = self._near, self._far
        macs = [near.given_mac, far.given_mac, mac]
        note_link(self, "veth", self._group or 0, ends_of(near, far), macs)

    def _marked(self, place: tuple[Runtime, int], mac: str) -> None:
        end = self._near if (self._near.runtime, self._near.index) == place else self._far
        end.given_mac = mac
        self._settle()

    def _adopt(self) -> None:
        self._group = adopt_links(self, self._present("adopt"))

    def _present(self, verb: str) -> list[tuple[Runtime, LinkRecord]]:
        """Both ends as they are now; NotFoundError if one is not what was made."""
        found: list[tuple[Runtime, LinkRecord]] = []
        for end in (self._near, self._far):
            if end.runtime is None:
                continue
            record = self._read(end.runtime, end)
            if record is None:
                raise kernel_error(f"{verb} link '{end.name}'", ENODEV, netns=end.runtime.label)
            found.append((end.runtime, record))
        return found

    def __repr__(self) -> str:
        near, far = self._near, self._far
        return f"<VethPair {near} - {far}{self._aside()}>"


_all: dict[ref[VethPair], None] = {}
# A function of C: what a signal raises in one of Python's that is called so, Python prints and forgets.
_forget = _all.__delitem__


def _remember(pair: VethPair) -> None:
    _all[ref(pair, _forget)] = None


def living_pairs() -> list[VethPair]:
    """Those of this program that are there, oldest first: among thousands of other things as quickly."""
    return [pair for each in list(_all) if (pair := each()) is not None and pair._is_alive()]


def require_master(master: object, netns: Namespace) -> Bridge | Link:
    """A Bridge or Link of this namespace; anything else is a SpecError that says so."""
    from netkit._bridge import Bridge

    if isinstance(master, Link):
        return require_link(master, netns, "master")
    if not isinstance(master, Bridge):
        raise SpecError(
            f"master takes a Bridge or a Link, not {shown(master)}: Bridge.open(ns, 'br0') opens one"
        )
    if not master._netns._same_as(netns):
        raise SpecError(f"master {master!r} is in another namespace than {netns._called()}")
    return master


def _index_of(master: Bridge | Link) -> int:
    return master.ifindex if isinstance(master, Link) else master._live_index()


def _name_of(master: Bridge | Link) -> str:
    return master._last_name if isinstance(master, Link) else master._name


def _find(runtime: Runtime, name: str) -> int | None:
    try:
        return parse_link(runtime.route.get(get_link(name=name))).index
    except NotFoundError:
        return None
