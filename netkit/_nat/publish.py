"""PortMapping: ports of a namespace that lead into another one, from wherever they are asked for."""

from __future__ import annotations

from functools import partial

from netkit._known import require_namespace
from netkit._lifecycle import NAT, Holder, Resource, Teardown, Undo
from netkit._nat.backend import check_name
from netkit._nat.backend_rule import NatCounters, detached
from netkit._nat.forward import adopt_or_create
from netkit._nat.publish_backends import add_part, books_of, first_usable
from netkit._nat.publish_devices import Hairpin, Where, addresses_of, is_ours, ports_of
from netkit._nat.publish_filters import strict_devices
from netkit._nat.publish_flush import forget_udp
from netkit._nat.publish_forward import opened_for
from netkit._nat.publish_held import HeldPorts
from netkit._nat.publish_homes import homes_of
from netkit._nat.publish_look import FORWARDING, Look
from netkit._nat.publish_part import Part
from netkit._nat.publish_rules import FAMILIES
from netkit._shown import Shown
from netkit._spec.numbers import boolean
from netkit._spec.value import shown
from netkit._system.signals import deferred_signals
from netkit._system.sysctl_files import key_of
from netkit.errors import SpecError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from netkit._namespace import Namespace
    from netkit._nat.forward import OpenedForward
    from netkit._nat.publish_books import Books
    from netkit._nat.publish_part import Network
    from netkit._nat.publish_targets import Asked
    from netkit._runtime import Runtime
    from netkit._spec.address import Address
    from netkit._spec.port_mapping import PublishSpec
    from netkit._sysctl import SysctlOverride

_VERSIONS = {4: 4, 16: 6}  # by the length of an address
_LOOSE = 2
_OR_THE_OTHER = {4: ", host_ip='::' publishes IPv6 alone", 6: ", host_ip='0.0.0.0' publishes IPv4 alone"}


class PortMapping(Resource, Holder, Shown):
    """Ports of a namespace that lead to an address behind it. Made by `Namespace.publish`.

    It works from outside, from the namespace itself by any of its addresses, 127.0.0.1 and ::1 too, from
    neighbours of the target and from the target itself. `Namespace.publish` says how, what it needs and
    what it raises.

    Twin: ``docker run -p``. Source: nft(8), iptables-extensions(8). Needs CAP_NET_ADMIN.

    Examples:
        >>> from netkit import Bridge, Namespace
        >>> with Namespace() as host, Bridge(host, "br0", address="172.18.0.1/24"):
        ...     with host.publish("8000-8009", to="172.18.0.2") as mapping:
        ...         print(mapping.specs[0], mapping.backend, len(mapping.reserved))
        tcp 8000-8009 -> 172.18.0.2:8000-8009 nftables 10
    """

    _stage = NAT
    _leaving = False  # from when it is being removed: whoever looks after rules leaves it alone

    def __init__(
        self,
        ns: Namespace,
        asked: Asked,
        *,
        hairpin: bool = True,
        reserve: bool = True,
        relay: bool | Literal["helper"] | None = None,
        backend: Literal["nftables", "iptables"] | None = None,
        open_forward: bool | None = None,
    ) -> None:
        Resource.__init__(self)
        self._netns = require_namespace(ns, "ns")
        self._asked = asked
        self._specs = asked.specs
        self._wants_hairpin = boolean(hairpin, "hairpin")
        self._held_ports = _make_held(boolean(reserve, "reserve"), relay)
        self._opens = None if open_forward is None else boolean(open_forward, "open_forward")
        self._runtime: Runtime | None = None
        self._part: Part | None = None
        self._wanted = check_name(backend)
        self._books: Books | None = None
        self._where = ""
        self._hairpins: list[Hairpin] = []

    # -- reading ------------------------------------------------------------------

    @property
    def specs(self) -> tuple[PublishSpec, ...]:
        """What is published, as frozen values; ``str()`` is ``tcp 8080 -> 172.18.0.2:80``."""
        return self._specs.all()

    @property
    def netns(self) -> Namespace:
        """The namespace whose ports they are."""
        return self._netns

    @property
    def counters(self) -> NatCounters:
        """``(packets, bytes)`` of the packets that began connections through it: a fresh read.

        What goes through the relay of ::1 is not among them. NotFoundError when somebody removed a port.
        """
        self._check_live()
        return NatCounters(self._live_books().counters(self._live_part(), self._where))

    @property
    def backend(self) -> str | None:
        """``"nftables"`` or ``"iptables"``; before create(), what was asked for."""
        return self._wanted if self._books is None else self._books.name

    @property
    def reserved(self) -> tuple[tuple[str, int], ...]:
        """Protocol and port of each that this process, or its helper, holds bound."""
        return self._held_ports.reserved

    # -- lifecycle ----------------------------------------------------------------

    def _create(self, undo: Undo) -> None:
        with deferred_signals():
            runtime = self._runtime = self._netns._live_runtime()
            self._leaving = False
            addresses = addresses_of(runtime, self._asked.versions())
            self._specs = self._asked.found(addresses, self._netns._called())
            where = self._connections(addresses)
            look = Look(runtime, self._specs.versions())
            self._check_forwarding(undo, look)
            self._open_forward_chains(undo, where, look)
            undo.add(self._held_ports.let_go)
            self._held_ports.bind(runtime, self._specs)
            devices = self._prepare_devices(undo, where, look)
            part = self._part = self._new_part(where, devices)
            self._books = books = add_part(runtime, self._wanted, part, undo)
            self._where = books.where
            self._forget_udp(part)
            self._held_ports.relay(self._netns, self._specs)

    def _forget_udp(self, part: Part) -> None:
        if part.specs.has_udp():
            forget_udp(self._open(), part.specs.entries())

    def _check_forwarding(self, undo: Undo, look: Look) -> None:
        """Nothing comes from elsewhere without it: in a namespace of ours it is turned on."""
        for version in self._specs.versions():
            key = key_of(FORWARDING[version])
            if self._open().ours:
                self._override(undo, key)  # if it is on as well: of several mappings any may end first
            elif not look.forwards(version):
                raise StateError(
                    f"{self._netns._called()} does not forward IPv{version}, so nobody else would reach a "
                    f"published port: ns.sysctl.override({key!r}, 1) turns it on for a while"
                    f"{_OR_THE_OTHER[version]}"
                )

    def _open_forward_chains(self, undo: Undo, where: Where, look: Look) -> None:
        """A firewall that drops what nobody accepts: an error, or opened for what is published."""
        opened = opened_for(self._netns, self._opens, self._specs, where, look)
        if opened is not None:
            self._hold(opened)
            undo.add(partial(_drop, opened))
            opened.create()

    def _connections(self, addresses: Sequence[tuple[int, Address]]) -> Where:
        return Where(self._specs.targets(), addresses, self._netns._called())

    def _override(self, undo: Undo, key: str, value: int = 1, netns: Namespace | None = None) -> None:
        override = (netns or self._netns).sysctl.override(key, value)
        self._hold(override)
        undo.add(partial(_drop, override))
        override.create()

    def _prepare_devices(self, undo: Undo, where: Where, look: Look) -> list[str]:
        """Hairpin mode, route_localnet, loose rp_filter, where needed; the devices with route_localnet."""
        runtime = self._open()
        names: list[str] = []
        indexes = sorted({each.index for each in where.places(where.targets) if len(each.network) == 4})
        for index in indexes if self._specs.from_loopback() else ():
            if is_ours(runtime, index):
                names.append(runtime.name_of(index))
                self._override(undo, f"net/ipv4/conf/{names[-1]}/route_localnet")
        homes = homes_of(self._netns, where.targets)
        for where_strict, key in strict_devices(self._netns, homes):
            self._override(undo, key, _LOOSE, where_strict)
        ports = ports_of(runtime, homes) if self._wants_hairpin else []
        bridged = look.filters_bridged() if ports else []
        for port in sorted({port for version, port in ports if version in bridged}):
            if is_ours(runtime, port):
                hairpin = Hairpin(runtime, port)
                hairpin.begin()
                undo.add(hairpin.end)
                self._hairpins.append(hairpin)
        return names

    def _new_part(self, where: Where, devices: Sequence[str]) -> Part:
        networks: set[Network] = {
            (FAMILIES[_VERSIONS[len(place.network)]], place.network, place.prefixlen)
            for place in where.places(self._specs.translated_targets())
        }
        return Part(self._specs, networks, devices)

    # -- undoing ------------------------------------------------------------------

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        return (self._runtime,)

    def _remove(self, teardown: Teardown) -> None:
        self._leaving, runtime, part = True, self._runtime, self._part
        self._held_ports.let_go()
        if runtime is None or part is None or runtime.fd < 0 or runtime in teardown.doomed:
            return
        self._live_books().remove(part)
        self._forget_udp(part)
        while self._hairpins:
            self._hairpins.pop().end()

    def _removed(self) -> None:
        super()._removed()
        self._held_ports.let_go()
        self._part = self._books = None

    def _outlived(self) -> None:
        self._held_ports.let_go()
        super()._outlived()

    def _exists(self) -> bool:
        return self._live_books().exists(self._live_part(), self._where)

    def _detach(self) -> None:
        books = self._live_books()
        books.detach(self._live_part())
        detached.add(self)
        self._where = books.plain
        self._held_ports.leave()
        while self._hairpins:
            self._hairpins.pop().end(leave=True)

    def _find(self) -> None:
        """Such ports that were detached; taken over at once, for others may want them."""
        runtime = self._runtime = self._netns._live_runtime()
        addresses = addresses_of(runtime, self._asked.versions())
        self._specs = self._asked.found(addresses, self._netns._called())
        where = self._connections(addresses)
        self._books = books_of(runtime, self._wanted or first_usable(runtime))
        guarded = self._books.guarded_devices()
        devices = {runtime.name_of(each.index) for each in where.places(where.targets)} & guarded
        self._part = self._new_part(where, sorted(devices))
        self._take_over()

    def _lose(self) -> None:
        self._part = self._books = None

    def _adopt(self) -> None:
        if self._where != self._live_books().where:
            self._take_over()

    def _take_over(self) -> None:
        books, part = self._live_books(), self._live_part()
        with deferred_signals():
            books.adopt(part)
            self._where = books.where
            try:
                self._held_ports.adopt(self._open(), self._specs)
                self._held_ports.bind(self._open(), self._specs)
                self._held_ports.relay(self._netns, self._specs)
            except BaseException:  # somebody else has bound a port meanwhile
                self._held_ports.let_go()
                books.detach(part)
                self._where = books.plain
                raise
            self._adopt_localnet(part)
            self._adopt_opened()

    def _adopt_localnet(self, part: Part) -> None:
        """It goes with the last of them, as if it had been set for this one: no guard, no route_localnet."""
        runtime = self._open()
        for name in sorted(part.devices - self._live_books().guarded_devices()):
            key = f"net/ipv4/conf/{name}/route_localnet"
            if is_ours(runtime, runtime.index_of(name)):
                self._netns.sysctl[key] = 0
                self._override(Undo(), key)

    def _restore(self) -> None:
        """Put back what somebody has removed; what is detached goes back to where it was."""
        books = self._live_books()
        if self._where == books.where:
            books.restore()
        else:
            books.mend(self._live_part())

    def _adopt_opened(self) -> None:
        if self._opens:
            where = self._connections(addresses_of(self._open(), self._specs.versions()))
            opened = opened_for(self._netns, True, self._specs, where)
            if opened is not None:
                adopt_or_create(opened)
                self._hold(opened)

    def _live_books(self) -> Books:
        if self._books is None:
            raise StateError(f"{self!r} is not in the kernel")
        return self._books

    def _open(self) -> Runtime:
        if self._runtime is None:
            raise StateError(f"{self!r} is not in the kernel")
        return self._runtime

    def _live_part(self) -> Part:
        if self._part is None:
            raise StateError(f"{self!r} is not in the kernel")
        return self._part

    def __repr__(self) -> str:
        return f"<PortMapping {self._specs} in {self._netns._called()}{self._aside()}>"


def _make_held(reserves: bool, relay: object) -> HeldPorts:
    by_helper = isinstance(relay, str)
    if by_helper and relay != "helper":
        raise SpecError(f"relay {shown(relay)} is unknown: give True, False or 'helper'")
    relays = by_helper or (reserves if relay is None else boolean(relay, "relay"))
    if relays and not reserves:
        raise SpecError(f"relay={relay!r} with reserve=False: the relay listens on the reserved port")
    return HeldPorts(reserves, relays, by_helper)


def _drop(override: SysctlOverride | OpenedForward) -> None:
    """Take back one whose mapping was not made."""
    if override._is_alive():
        override.delete()
    override._let_go()
