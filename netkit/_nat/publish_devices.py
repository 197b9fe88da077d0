"""What a published port needs of devices: where its target is connected, hairpin mode, route_localnet.

Only devices of netkit's are changed: all those of a namespace that this program has made, and elsewhere
those that carry netkit's tag.
"""

from __future__ import annotations

from _thread import RLock

from netkit._lifecycle import ROOT
from netkit._marks import TAG
from netkit._netlink.address import list_addresses, parse_addresses
from netkit._netlink.bridge import set_port
from netkit._netlink.link import get_link, parse_link
from netkit._spec.addresses import address_of
from netkit._veth import VethPair
from netkit.errors import KernelError, NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netkit._namespace import Namespace
    from netkit._runtime import Runtime
    from netkit._spec.address import Address


class Connected:
    """Where a target is: the device's index, and the network it shares with the address there."""

    __slots__ = ("index", "network", "prefixlen")

    def __init__(self, index: int, network: bytes, prefixlen: int) -> None:
        self.index = index
        self.network = network
        self.prefixlen = prefixlen


def addresses_of(runtime: Runtime) -> list[tuple[int, Address]]:
    """All addresses of a namespace, with the indexes of their links."""
    return parse_addresses(runtime.route.dump(list_addresses()))


def connected(
    targets: Iterable[bytes], addresses: Sequence[tuple[int, Address]], label: str
) -> dict[bytes, Connected]:
    """Where each target is connected; SpecError for one that is not."""
    # The longest prefix decides, as for a route.
    networks = {
        (len(a.packed), a.prefixlen, _network(a.packed, a.prefixlen)): index for index, a in addresses
    }
    ordered = [
        (size, size * 8 - length, int.from_bytes(network, "big") >> size * 8 - length,
         Connected(index, network, length))
        for (size, length, network), index in sorted(networks.items(), key=lambda each: -each[0][1])
    ]  # fmt: skip
    found: dict[bytes, Connected] = {}
    for target in targets:
        number, width = int.from_bytes(target, "big"), len(target)
        for size, shift, network, place in ordered:
            if size == width and number >> shift == network:
                found[target] = place
                break
        else:
            raise _not_connected(target, addresses, label)
    return found


def _not_connected(target: bytes, addresses: Sequence[tuple[int, Address]], label: str) -> SpecError:
    size = len(target)
    of_family = [str(a) for _, a in addresses if len(a.packed) == size and a.scope == "global"]
    return SpecError(
        f"to '{address_of(target)}' is in no network that {label} is connected to: its addresses are "
        f"{', '.join(of_family) or 'none of that family'}. Connect it first, as Bridge.connect() does"
    )


def _network(packed: bytes, prefixlen: int) -> bytes:
    width = len(packed) * 8
    number = int.from_bytes(packed, "big") >> width - prefixlen << width - prefixlen
    return number.to_bytes(len(packed), "big")


def is_ours(runtime: Runtime, index: int) -> bool:
    """Whether netkit may change the device."""
    if runtime.ours:
        return True
    try:
        record = parse_link(runtime.route.get(get_link(index)))
    except NotFoundError:
        return False
    return (record.alias or "").startswith(TAG)


# -- hairpin --------------------------------------------------------------------------


def ports_of(netns: Namespace, targets: Iterable[bytes]) -> list[int]:
    """The indexes of our bridge ports behind which these targets are."""
    wanted = set(targets)
    found: set[int] = set()
    for member in ROOT._held_members() if wanted else ():
        if not isinstance(member, VethPair) or not member._is_alive():
            continue
        near, far = member._near, member._far
        if near.netns is None or not near.netns._same_as(netns):
            continue
        if any(address.packed in wanted for address in far.addresses):
            link = member.link
            if link._read().master:
                found.add(link.ifindex)
    return sorted(found)


class Hairpin:
    """A bridge port that sends frames back where they came from, while any mapping needs it."""

    def __init__(self, runtime: Runtime, index: int) -> None:
        self._runtime = runtime
        self._index = index
        self._key = (*runtime.identity, index)

    def begin(self) -> None:
        """Turn it on, unless it is."""
        with _lock:
            self._begin()

    def _begin(self) -> None:
        users, was = _hairpins.get(self._key, (0, False))
        if not users:
            was = _is_hairpin(self._runtime, self._index)
            if not was:
                self._set(True)
        _hairpins[self._key] = users + 1, was

    def end(self, *, leave: bool = False) -> None:
        """The last user turns it off, unless it was on before. Gone already is success."""
        with _lock:
            self._end(leave)

    def _end(self, leave: bool) -> None:
        users, was = _hairpins.pop(self._key, (0, True))
        if users > 1:
            _hairpins[self._key] = users - 1, was or leave
        elif not was and not leave and self._runtime.fd >= 0:
            try:
                self._set(False)
            except (NotFoundError, KernelError):
                return  # no link, or no port any more

    def _set(self, on: bool) -> None:
        operation = f"turn hairpin mode of bridge port {self._index} {'on' if on else 'off'}"
        self._runtime.route.request(set_port(self._index, hairpin=on, operation=operation))


_lock = RLock()
_hairpins: dict[tuple[int, int, int], tuple[int, bool]] = {}


def _is_hairpin(runtime: Runtime, index: int) -> bool:
    return bool(parse_link(runtime.route.get(get_link(index))).port.get("IFLA_BRPORT_MODE"))
