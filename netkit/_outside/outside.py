"""Outside: a namespace's way to the machine's outside network, by pasta or slirp4netns."""

from __future__ import annotations

from errno import EEXIST, EOPNOTSUPP
from functools import partial

from netkit._address import add_requests, parse_addresses, refuse_small_mtu
from netkit._known import require_namespace
from netkit._lifecycle import LINKS, Holder, Resource, Teardown, Undo, raise_first
from netkit._link import Link
from netkit._netlink.link import get_link, parse_link, set_link
from netkit._outside.left import Told, find_left, listen
from netkit._outside.ports import choose_ports
from netkit._outside.redirects import redirects, unchanged
from netkit._outside.view import OutsideView, view_outside
from netkit._readiness import wait_until_heard
from netkit._runtime import Runtime
from netkit._shown import Shown
from netkit._spec import names, numbers
from netkit._spec.address import Address
from netkit._spec.publish import PublishedPort, published_ports
from netkit._spec.routes import Route
from netkit._system import sysctl_files
from netkit._system.keeper import Keeper
from netkit._system.outside_programs import (
    ADDRESS6,
    GATEWAY6,
    PACKAGES,
    Errand,
    check_device,
    find_program,
    loses_answers,
)
from netkit._system.signals import deferred_signals
from netkit.errors import BackendError, ExistsError, KernelError, NotFoundError, SpecError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address
    from typing import Literal

    from netkit._namespace import Namespace
    from netkit._nat.rule import NatRule
    from netkit._spec.addresses import AddressLike, InterfaceLike, IPAddress
    from netkit._spec.publish import Publish

    BackendName = Literal["pasta", "slirp4netns"]

MTU, _LARGEST_MTU = 65520, 65521  # of both programs: 65535 less an Ethernet header
_PATIENCE = 30.0  # seconds, for a program that is ready in 50 ms
_LONGEST_PREFIX = 25  # slirp4netns takes no smaller network


class Outside(Resource, Holder, Shown):
    """A namespace's way to the outside: a TAP device whose packets a helper program sends on.

    The outside is the network namespace of the thread that creates it, the machine's own usually. The
    program (pasta, else slirp4netns) makes the namespace's connections anew there with ordinary sockets,
    so it needs no capability, no bridge and no NAT rule, and works without root. When `create` returns,
    the device is up, has its address and the default route, and published ports answer.

    Usually made by `Namespace.connect_outside`. The program ends with it, with the namespace, and with
    this process, even on ``kill -9``. With root `detach` lets it go on by itself, until any process says
    ``Outside(ns, name="tap0").adopt()``: then it is that one's, and says what it was made with.

    Twins: ``pasta --config-net``, ``slirp4netns -c``, and ``-p`` of podman. Source: pasta(1),
    slirp4netns(1). Needs Debian's ``passt`` or ``slirp4netns``, /dev/net/tun, and CAP_SYS_ADMIN and
    CAP_NET_ADMIN over the namespace, or none of them for one that netkit made without root.

    Args:
        ns: the namespace.
        publish: ports of the outside that lead to ports inside: ``{8080: 80}`` (TCP), or texts as after
            ``-p`` of podman and docker: ``"8080:80"``, ``"127.0.0.1:5353:53/udp"``, ``"[::1]:8080:80"``,
            ``"8000-8010:80-90"``; ``"80"`` is published at a free port. Inside, the server is to listen on
            all addresses: pasta comes by the loopback, slirp4netns by ``address``.
        host_ip: the outside's address for those that name none.
        name: the device, made in ``ns``.
        address: its address; the second of its network is the gateway, the third the DNS forwarder.
        ipv6: give it fd00::100/64 as well, with gateway fd00::2; None: if the outside has an IPv6
            default route.
        mtu: of the device, in bytes.
        dns: forward queries that are sent to the network's third address (UDP with pasta) to the
            outside's resolver (its /etc/resolv.conf); a resolv.conf inside is yours to write.
        default_route: one per family by the gateway.
        host_loopback: what is sent to the gateway's address arrives at the outside's loopback.
        backend: ``"pasta"`` or ``"slirp4netns"``; None: whichever is installed, pasta first.

    Raises SpecError for bad values before any system call; BackendError when no program is installed,
    naming the packages, or /dev/net/tun is missing; CommandError with the program's own words when it
    fails; ExistsError when a host port is taken, the device's name or the default route.

    Examples:
        >>> from netkit import Namespace, Outside
        >>> with Namespace() as box, Outside(box, publish=["80"]) as outside:
        ...     print(outside.exists, outside.gateway, box.routes.get("192.0.2.1").dev)
        True 10.0.2.2 tap0
    """

    _stage = LINKS

    def __init__(
        self,
        ns: Namespace,
        *,
        publish: Publish = (),
        host_ip: AddressLike = "127.0.0.1",
        name: str = "tap0",
        address: InterfaceLike = "10.0.2.100/24",
        ipv6: bool | None = None,
        mtu: int = MTU,
        dns: bool = True,
        default_route: bool = True,
        host_loopback: bool = False,
        backend: BackendName | None = None,
    ) -> None:
        Resource.__init__(self)
        self._netns = require_namespace(ns, "ns")
        self._publish = published_ports(publish, host_ip)
        self._name = names.interface_name(name)
        self._address = _checked_address(address)
        self._ipv6 = None if ipv6 is None else numbers.boolean(ipv6, "ipv6")
        self._mtu = numbers.mtu(mtu, high=_LARGEST_MTU)
        self._dns = numbers.boolean(dns, "dns")
        self._default_route = numbers.boolean(default_route, "default_route")
        self._host_loopback = numbers.boolean(host_loopback, "host_loopback")
        self._wanted = _checked_backend(backend)
        refuse_small_mtu(self._mtu, parse_addresses(f"{ADDRESS6}/64") if ipv6 else ())
        self._refuse_publishing(self._wanted, SpecError)
        self._redirects: list[NatRule] = []
        self._runtime: Runtime | None = None
        self._keeper: Keeper | None = None
        self._published = self._publish
        self._lost: Sequence[PublishedPort] = ()
        self._backend: str | None = self._wanted
        self._has_v6 = False
        self._index = 0

    # -- reading ------------------------------------------------------------------

    @property
    def netns(self) -> Namespace:
        """The namespace that it leads out of."""
        return self._netns

    @property
    def link(self) -> Link:
        """The device in the namespace. StateError before create() and after delete()."""
        self._check_live()
        return Link(self._netns, self._index, self._name)

    @property
    def backend(self) -> str | None:
        """``"pasta"`` or ``"slirp4netns"``; before create(), what was asked for."""
        return self._backend

    @property
    def gateway(self) -> IPv4Address:
        """The next hop of the default route; with ``host_loopback=True`` the outside's loopback."""
        return self._nth(2)

    @property
    def dns(self) -> IPv4Address | None:
        """Where the namespace's programs are to send DNS queries; None with ``dns=False``."""
        return self._nth(3) if self._dns else None

    @property
    def published(self) -> tuple[PublishedPort, ...]:
        """The published ports; once it is created, with the free ports that the kernel chose."""
        return self._published

    def _nth(self, number: int) -> IPv4Address:
        from ipaddress import IPv4Address

        return IPv4Address(int(self._address.network.network_address) + number)

    # -- lifecycle ----------------------------------------------------------------

    def _create(self, undo: Undo) -> None:
        runtime = self._runtime = self._netns._live_runtime()
        home = runtime.opener.helper_home(runtime.check())
        with deferred_signals():  # it opens a handle for a moment
            view = view_outside()
        self._check_place(runtime, view)
        program, path = find_program(self._wanted)
        check_device()
        self._refuse_publishing(program, BackendError)
        self._has_v6 = self._decide_v6(program, view)
        template = self._template(program, view)
        undo.add(self._take_back)
        self._backend = program
        self._published = choose_ports(self._publish)
        self._lost = loses_answers(path, self._published) if program == "pasta" else []
        order = self._errand(unchanged(self._published, self._lost)).order(program, path, template)
        with deferred_signals():
            self._keeper = Keeper(runtime.check(), home, order)
        self._keeper.wait_ready(_PATIENCE)
        self._index = runtime.index_of(self._name)
        self._configure(runtime)
        self._redirects = redirects(self._netns, self._lost, str(self._address.ip))
        for rule in self._redirects:
            self._hold(rule)
            undo.add(partial(_drop, rule))
            rule.create()

    def _check_place(self, runtime: Runtime, view: OutsideView) -> None:
        if runtime.identity == view.identity:
            raise SpecError(
                f"{runtime.label} is the outside: connect_outside() is for another namespace, such as "
                "Namespace('box')"
            )
        try:
            runtime.index_of(self._name)
        except NotFoundError:
            return
        hint = f"The name '{self._name}' is taken in {runtime.label}: give another name="
        raise ExistsError(f"create link '{self._name}'", EEXIST, netns=runtime.label, hint=hint)

    def _errand(self, published: Sequence[PublishedPort]) -> Errand:
        return Errand(
            name=self._name,
            address=str(self._address.ip),
            prefixlen=self._address.prefixlen,
            network=str(self._address.network),
            gateway=str(self.gateway),
            dns=None if self.dns is None else str(self.dns),
            mtu=self._mtu,
            ipv6=self._has_v6,
            host_loopback=self._host_loopback,
            published=published,
        )

    def _configure(self, runtime: Runtime) -> None:
        """By us, not by the program: it is done when the kernel has answered, and refusals are explained."""
        if self._has_v6:  # addresses and routes are those given here, none from router advertisements
            runtime.inside(lambda: sysctl_files.write(f"net/ipv6/conf/{self._name}/accept_ra", "0"))
        addresses = [self._address, *(parse_addresses(f"{ADDRESS6}/64") if self._has_v6 else ())]
        up = set_link(self._index, up=True, mtu=self._mtu, operation=f"set link '{self._name}' up")
        raise_first(runtime.route.batch([up, *add_requests(self._index, self._name, tuple(addresses))]))
        wait_until_heard(runtime, self._index, tuple(addresses))
        if self._default_route:
            self._add_default_routes(runtime)

    def _add_default_routes(self, runtime: Runtime) -> None:
        from netkit._netlink.route import add_route

        gateways: list[IPAddress | str] = [self.gateway, *([GATEWAY6] if self._has_v6 else [])]
        routes = [Route.build("default", via=gateway) for gateway in gateways]
        try:
            raise_first(runtime.route.batch([add_route(route, self._index) for route in routes]))
        except ExistsError as refusal:
            raise refusal._hinted(
                f"{runtime.label} has a default route already: default_route=False leaves it as it is"
            ) from None

    def _decide_v6(self, program: str, view: OutsideView) -> bool:
        if self._ipv6 is not None:
            return self._ipv6
        return view.has_v6 and self._mtu >= 1280 and (program != "pasta" or view.template6 is not None)

    def _template(self, program: str, view: OutsideView) -> str:
        """The outside's device that pasta looks at; all that it could take from there is given to it."""
        if program != "pasta" or not self._has_v6:
            return "lo"
        if view.template6 is None:
            raise BackendError(
                "pasta has IPv6 only where a device outside has a link-local address (fe80::/10), and none "
                'has: take backend="slirp4netns"'
            )
        return view.template6

    def _refuse_publishing(self, program: str | None, kind: Callable[[str], Exception]) -> None:
        for each in self._publish:
            if each.host_ip.version == 6 and self._ipv6 is False:
                raise kind(f"publish {each} needs IPv6 inside, too: not ipv6=False")
            if program != "slirp4netns":
                continue
            if each.host_ip.version == 6:
                raise kind(
                    f"slirp4netns publishes IPv4 addresses only, not {each}: pasta (Debian package passt) "
                    "does"
                )
            if each.proto == "udp" and each.host_ip.is_loopback and not self._host_loopback:
                raise kind(
                    f"slirp4netns sends no UDP to the loopback without host_loopback=True, and so no answers "
                    f"of {each}: give that, or take pasta (Debian package passt)"
                )

    def _take_back(self) -> None:
        keeper, self._keeper = self._keeper, None
        self._published = self._publish
        self._backend = self._wanted
        if keeper is not None:
            keeper.close()

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        return (self._runtime,)

    def _remove(self, teardown: Teardown) -> None:
        # Also where the namespace ends: the program would keep it alive.
        self._take_back()

    def _outlived(self) -> None:
        if self._state == "owned":
            self._take_back()
        super()._outlived()

    def _exists(self) -> bool:
        runtime = self._runtime
        if runtime is None or self._keeper is None or not self._keeper.running:
            return False
        try:
            return parse_link(runtime.route.get(get_link(index=self._index))).kind == "tun"
        except KernelError:
            return False

    def _detach(self) -> None:
        runtime = self._outliving("detach")
        if self._keeper is None:
            return
        told = Told(
            self._backend or "", str(self._address), self._dns, self._has_v6, self._published, self._lost
        )
        with listen(runtime, self._name) as listener:
            self._keeper.stay(listener.fileno(), told.fields())

    def _find(self) -> None:
        """The one that was detached there, by this process or another one, with all that it was given."""
        self._runtime = self._netns._live_runtime()
        runtime = self._outliving("adopt")
        with deferred_signals():
            self._keeper, told = find_left(runtime, self._name)
        self._index = runtime.index_of(self._name)
        self._backend, self._dns, self._has_v6 = told.backend, told.dns, told.has_v6
        self._address = Address.parse(told.address)
        self._published, self._lost = told.published, told.lost
        self._redirects = redirects(self._netns, self._lost, str(self._address.ip))

    def _lose(self) -> None:
        if self._keeper is not None:
            self._detach()
            keeper, self._keeper = self._keeper, None
            keeper.forget()

    def _adopt(self) -> None:
        self._outliving("adopt")
        if self._keeper is not None:
            self._keeper.belong()
        for rule in self._redirects:
            self._hold(rule.adopt())

    def _outliving(self, what: Literal["detach", "adopt"]) -> Runtime:
        runtime = self._runtime or self._netns._live_runtime()
        if not runtime.opener.outlives_process:
            raise UnsupportedError(
                f"{what} {self!r}", EOPNOTSUPP, hint="Without root nothing outlives the process that made it"
            )
        return runtime

    def __repr__(self) -> str:
        by = f" by {self._backend}" if self._backend else ""
        return f"<Outside of {self._netns._called()}{by}>"


def _drop(rule: NatRule) -> None:
    if rule._is_alive():
        rule.delete()


def _checked_address(value: object) -> Address:
    address = Address.parse(value)  # pyright: ignore[reportArgumentType]
    if address.version != 4:
        raise SpecError(f"address {address} is IPv6: address= is the IPv4 one, ipv6=True adds {ADDRESS6}/64")
    if not 8 <= address.prefixlen <= _LONGEST_PREFIX:
        raise SpecError(
            f"address {address}: the network has a prefix length of 8 to {_LONGEST_PREFIX}, as slirp4netns "
            "wants it; 10.0.2.100/24 is the usual one"
        )
    network = address.network
    place = int(address.ip) - int(network.network_address)
    if place < 4 or address.ip == network.broadcast_address:
        what = {0: "the network itself", 2: "the gateway", 3: "the DNS forwarder"}.get(place, "reserved")
        what = "the broadcast address" if place >= 4 else what
        raise SpecError(f"address {address} is {what}: take one from {network.network_address + 4} on")
    return address


def _checked_backend(value: object) -> str | None:
    if value is not None and value not in PACKAGES:
        raise SpecError(f"backend {value!r} is none: {' or '.join(map(repr, PACKAGES))}, or None for either")
    return None if value is None else str(value)
