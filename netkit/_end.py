"""What pairs and bridges have in common: an end of a pair, a link-layer address, what a refusal leaves."""

from __future__ import annotations

import os

from netkit._lifecycle import raise_first
from netkit._link import Link
from netkit._netlink.address import delete_address
from netkit.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from netkit._namespace import Namespace
    from netkit._netlink.wire import Request
    from netkit._runtime import Runtime
    from netkit._spec.address import Address
    from netkit._spec.routes import Route
    from netkit.errors import KernelError


class End:
    """One end of the pair as it is asked for: where, what it is called, what it is given.

    ``netns`` is None for the far end of a pair that was found, in a namespace that is not open here.
    """

    __slots__ = (
        "addresses",
        "given_mac",
        "index",
        "mac",
        "master",
        "mtu",
        "name",
        "netns",
        "routes",
        "runtime",
        "txqlen",
    )

    def __init__(
        self,
        netns: Namespace | None,
        name: str,
        addresses: tuple[Address, ...],
        mtu: int | None,
        mac: str | None,
        txqlen: int | None,
    ) -> None:
        self.netns = netns
        self.name = name
        self.addresses = addresses
        self.mtu = mtu
        self.mac = mac
        self.txqlen = txqlen
        self.routes: tuple[Route, ...] = ()
        self.index = 0
        self.master: int | None = None
        self.given_mac: str | None = None
        self.runtime: Runtime | None = None

    def link(self) -> Link:
        """The handle on this end."""
        return Link(self._place(), self.index, self.name)

    def open(self) -> Runtime:
        """The namespace's runtime, kept from creation to deletion."""
        self.runtime = self._place()._live_runtime()
        return self.runtime

    def _place(self) -> Namespace:
        if self.netns is None:
            raise StateError(
                "the peer is in a namespace that this program has not opened: open it, by name or "
                "from_pid(), and give it to VethPair.open() as peer_ns="
            )
        return self.netns

    def route_requests(self) -> list[Request]:
        """The messages that give its namespace its routes."""
        if not self.routes:
            return []
        from netkit._netlink.route import add_route

        return [add_route(route, self.index, []) for route in self.routes]

    def __str__(self) -> str:
        if self.netns is None:
            return f"link {self.index} in a namespace not open here"
        return f"'{self.name}' in {self.netns._called()}"


def take_back_addresses(
    runtime: Runtime, index: int, addresses: tuple[Address, ...], outcomes: Sequence[KernelError | None]
) -> None:
    """Take addresses of a link that was refused back from the stranger who has its index.

    The kernel goes on after a refused message, and has given them to him.
    """
    given = [address for address, outcome in zip(addresses, outcomes, strict=False) if outcome is None]
    if given:
        raise_first(runtime.route.batch([delete_address(index, address) for address in given]))


def random_mac() -> str:
    """A locally administered, unicast address.

    Chosen by us, for udev leaves an address alone that was given in the creating message
    (MACAddressPolicy= changes one that the kernel chose).
    """
    if not _randomness:
        drawn = int.from_bytes(os.urandom(_EACH * _BLOCK), "big")  # one system call for many
        block = (drawn & _ANY | _LOCAL).to_bytes(_EACH * _BLOCK, "big").hex(":")
        _randomness.extend([block[start : start + _WIDTH] for start in range(0, len(block), _WIDTH + 1)])
    return _randomness.pop()


_EACH, _BLOCK, _WIDTH = 6, 64, 17  # bytes of one, how many, characters of one
# The two lowest bits of the first octet: unicast, and locally administered (IEEE 802, section 8.4).
_ANY = int.from_bytes(b"\xfc\xff\xff\xff\xff\xff" * _BLOCK, "big")
_LOCAL = int.from_bytes(b"\x02\0\0\0\0\0" * _BLOCK, "big")
_randomness: list[str] = []
os.register_at_fork(after_in_child=_randomness.clear)  # the parent goes on with the same
