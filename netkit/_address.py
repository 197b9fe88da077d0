"""The addresses of one link."""

from __future__ import annotations

import os
from _socket import AF_INET6, inet_ntop, inet_pton
from time import monotonic

from netkit._netlink.address import add_address, delete_address, list_addresses, parse_address
from netkit._netlink.link import get_link, parse_link
from netkit._netlink.link_message import IFF_LOOPBACK, IFF_NOARP
from netkit._netlink.wire import Request
from netkit._runtime import Runtime
from netkit._spec import names
from netkit._spec.address import Address, plain
from netkit.errors import KernelError, NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netkit._link import Link
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


def add_requests(index: int, name: str, addresses: tuple[Address, ...]) -> list[Request]:
    """The messages that give a new link its addresses."""
    return [
        add_address(index, address, operation=f"add address {address} on link '{name}'")
        for address in addresses
    ]


def wait_until_heard(runtime: Runtime, index: int, addresses: tuple[Address, ...]) -> None:
    """Return when neighbours can find the IPv6 addresses of a link.

    The kernel answers RTM_NEWADDR first and joins the address's solicited-node group later, on a work
    queue (addrconf_dad_work). A solicitation that comes in between gets no answer, and its sender
    asks again a second later: without this, every tenth pair began with that second.
    """
    wanted = {_solicited_node(address.packed) for address in addresses if address.version == 6}
    if not wanted:
        return
    from netkit._netlink.multicast import list_groups, parse_group

    deadline = monotonic() + _JOIN_PATIENCE
    first = True
    while wanted:
        try:
            joined = {parse_group(reply) for reply in runtime.route.dump(list_groups(index))}
        except KernelError:
            return  # no such list here: nothing to go by
        wanted -= joined
        if not wanted or monotonic() > deadline or (first and _joins_nothing(runtime, index)):
            return
        first = False
        os.sched_yield()


def _joins_nothing(runtime: Runtime, index: int) -> bool:
    flags = parse_link(runtime.route.get(get_link(index=index))).flags
    return bool(flags & (IFF_LOOPBACK | IFF_NOARP))


def _solicited_node(packed: bytes) -> str:
    """RFC 4291, 2.7.1: ff02::1:ffXX:XXXX with the last three bytes of the address."""
    return inet_ntop(AF_INET6, _SOLICITED_NODE + packed[-3:])


_SOLICITED_NODE = inet_pton(AF_INET6, "ff02::1:ff00:0")[:13]
_JOIN_PATIENCE = 1.0  # seconds: what a lost solicitation would cost


class Addresses:
    """The addresses of a link: iterate for a fresh read, `add`, `replace`, `remove`.

    Twin: ``ip address show dev LINK``.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     lo = box.links["lo"]
        ...     added = lo.addresses.add("10.0.0.1/32")
        ...     print(added, added.scope, "10.0.0.1/32" in lo.addresses)
        10.0.0.1/32 global True
    """

    __slots__ = ("_link",)

    def __init__(self, link: Link) -> None:
        self._link = link

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
        """Add an address, or change it when it is there. Twin: ``ip address replace``."""
        return self._send(address, label, scope, nodad, replace=True)

    def remove(self, address: InterfaceLike | Address) -> None:
        """Remove an address. NotFoundError when it is not there. Twin: ``ip address del``."""
        value = address if isinstance(address, Address) else Address.parse(address)
        operation = f"remove address {value} from {self._link._called}"
        self._link._runtime.route.request(delete_address(self._link.ifindex, value, operation=operation))

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
        index = self._link.ifindex
        request = add_address(
            index, value, replace=replace, nodad=nodad,
            label=None if label is None else names.label(label), scope=scope,
            operation=f"{'replace' if replace else 'add'} address {value} on {self._link._called}",
        )  # fmt: skip
        self._link._runtime.route.request(request)
        wait_until_heard(self._link._runtime, index, (value,))
        for each in self:
            if each == value:
                return each
        raise NotFoundError(f"read back address {value}", 99)
