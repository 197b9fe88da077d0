"""The addresses of one link."""

from __future__ import annotations

from errno import EINVAL

from netkit._additions import Additions
from netkit._leftovers import message_collected
from netkit._netlink.address import (
    add_address,
    add_plain,
    delete_address,
    get_address,
    list_addresses,
    parse_address,
)
from netkit._netlink.wire import Request
from netkit._readiness import wait_until_heard
from netkit._shown import Shown
from netkit._spec import names, numbers
from netkit._spec.address import Address, plain
from netkit._system.signals import held_signals
from netkit.errors import ExistsError, KernelError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netkit._link import Link
    from netkit._runtime import Runtime
    from netkit._spec.addresses import InterfaceLike

    OneOrMany = InterfaceLike | Iterable[InterfaceLike] | None


def parse_addresses(value: OneOrMany) -> tuple[Address, ...]:
    """The Address values of an ``address=`` parameter: None, one, or several, v4 and v6 mixed."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (Address.parse(value),)
    if isinstance(value, (list, tuple)):
        quick = [plain(each) for each in value if isinstance(each, str)]
        if len(quick) == len(value) == len(set(quick)) and None not in quick:
            return tuple([Address(*each) for each in quick if each is not None])
    from netkit._spec.addresses import one_or_many

    return tuple([Address.parse(each) for each in one_or_many(value)])


def refuse_small_mtu(mtu: int | None, addresses: tuple[Address, ...], what: str = "mtu") -> None:
    """IPv6 is off on a device whose MTU is below 1280 (RFC 8200, section 5): EINVAL, and no more words."""
    if mtu is not None and mtu < 1280:
        for address in addresses:
            if address.version == 6:
                raise SpecError(f"{what} {mtu} is too small for {address}: IPv6 needs 1280")


def add_requests(index: int, name: str, addresses: tuple[Address, ...]) -> list[Request]:
    """The messages that give a new link its addresses."""
    return [
        add_address(index, address, operation=("add address ", address, " on link '", name, "'"))
        for address in addresses
    ]


class Addresses(Additions, Shown):
    """The addresses of a link: iterate for a fresh read, `add`, `replace`, `remove`.

    In ``with link.addresses as addresses:``, or owned by a Scope, it is a scope: what was added through it
    is removed at the end (what `replace` changed stays as it is). Otherwise what is added stays.

    Twin: ``ip address show dev LINK``. Source: rtnetlink(7), ip-address(8). Changing needs CAP_NET_ADMIN.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     lo = box.links["lo"]
        ...     added = lo.addresses.add("10.0.0.1/32")
        ...     print(added, added.scope, "10.0.0.1/32" in lo.addresses)
        10.0.0.1/32 global True
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def _place(self) -> Runtime:
        return self._link._runtime

    def __iter__(self) -> Iterator[Address]:
        index = self._link.ifindex
        replies = self._link._runtime.route.dump(list_addresses(0, index))
        parsed = [parse_address(reply) for reply in replies]
        return iter([address for owner, address in parsed if owner == index])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, address: object) -> bool:
        return any(each == address for each in self)

    def __repr__(self) -> str:
        return f"<Addresses of {self._link!r}>"

    def add(
        self,
        address: InterfaceLike,
        *,
        label: str | None = None,
        scope: str | int | None = None,
        nodad: bool = True,
    ) -> Address:
        """Add an address with its prefix length, such as ``"10.0.0.1/24"``.

        An IPv6 address can be used at once (``nodad=True``: the kernel does not look for
        duplicates first, which takes up to two seconds). ``label`` is for IPv4 only.

        Twin: ``ip address add 10.0.0.1/24 dev LINK``. Needs CAP_NET_ADMIN over the namespace.
        Raises SpecError without a prefix length, ExistsError when it is there already.
        Source: rtnetlink(7), RTM_NEWADDR.
        """
        return self._send(address, label, scope, nodad, replace=False)

    def replace(
        self,
        address: InterfaceLike,
        *,
        label: str | None = None,
        scope: str | int | None = None,
        nodad: bool = True,
    ) -> Address:
        """Add an address, or change it when it is there. Twin: ``ip address replace``.

        Parameters are those of `add`. Raises what that does, but ExistsError.
        """
        return self._send(address, label, scope, nodad, replace=True)

    def remove(self, address: InterfaceLike | Address) -> None:
        """Remove an address. Twin: ``ip address del``. Raises NotFoundError when it is not there."""
        link = self._link
        value = address if isinstance(address, Address) else Address.parse(address)
        operation = ("remove address ", value, " from link '", link._last_name, "'")
        request = delete_address(link._ifindex, value, operation=operation)
        if self._state != "open":
            link._runtime.route.request(request)
            return
        with held_signals():
            link._runtime.route.request(request)
            self._forget(value)

    def _send(
        self,
        address: InterfaceLike | Address,
        label: str | None,
        scope: str | int | None,
        nodad: bool,
        replace: bool,
    ) -> Address:
        value = address if isinstance(address, Address) else Address.parse(address)
        if label is not None and value.version == 6:
            raise SpecError(f"label= with {value}: only IPv4 addresses have labels")
        if nodad is not True:
            numbers.boolean(nodad, "nodad")
        link = self._link
        what = ("replace address " if replace else "add address ", value, " on link '", link._last_name, "'")
        if label is scope is None and len(value.packed) == 4:
            request = add_plain(link._ifindex, value.packed, value.prefixlen, what, replace)
        else:
            request = add_address(
                link._ifindex, value, replace=replace, nodad=nodad,
                label=None if label is None else names.label(label), scope=scope, operation=what,
            )  # fmt: skip
        if replace:
            return self._sent(request, value)
        if self._state != "new":
            return self._adding(value, lambda: self._deletion(value), lambda: self._sent(request, value))
        try:  # as _adding does, by fewer calls
            return self._sent(request, value)
        except ExistsError:
            if not message_collected(link._runtime, lambda: self._deletion(value)):
                raise
        return self._sent(request, value)

    def _deletion(self, value: Address) -> Request:
        return delete_address(self._link.ifindex, value)

    def _sent(self, request: Request, value: Address) -> Address:
        link, runtime = self._link, self._link._runtime
        try:
            if len(value.packed) == 4:
                return parse_address(runtime.route.make(request))[1]  # rtmsg_ifa of net/ipv4/devinet.c
            runtime.route.request(request)
        except KernelError as refusal:
            raise _explained(refusal, value, link) from None
        # net/ipv6 tells the groups of a new address, not who asked for it
        wait_until_heard(runtime, link.ifindex, (value,))
        return parse_address(runtime.route.get(get_address(link.ifindex, value)))[1]


def _explained(refusal: KernelError, address: Address, link: Link) -> KernelError:
    """What the kernel refuses with a bare EINVAL: IPv6 is off where the MTU is below 1280 (RFC 8200)."""
    if refusal.errno != EINVAL or refusal.extack or address.version == 4:
        return refusal
    mtu = link.mtu
    return (
        refusal._hinted(f"IPv6 needs an MTU of 1280, and it is {mtu}: set(mtu=1280)")
        if mtu < 1280
        else refusal
    )
