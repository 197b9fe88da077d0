"""What a published port needs of devices: where its target is connected, hairpin mode, route_localnet.

Only devices of netkit's are changed: all those of a namespace that this program has made, and elsewhere
those that carry netkit's tag.
"""

from __future__ import annotations

from _thread import RLock

from netkit._marks import TAG
from netkit._netlink.address import list_addresses, parse_addresses
from netkit._netlink.bridge import set_port
from netkit._netlink.link import get_link, parse_link
from netkit._spec.addresses import address_of
from netkit.errors import KernelError, NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from netkit._nat.publish_homes import Home
    from netkit._runtime import Runtime
    from netkit._spec.address import Address


class Connected:
    """Where a target is: the device's index, and the network it shares with the address there."""

    __slots__ = ("index", "network", "prefixlen")

    def __init__(self, index: int, network: bytes, prefixlen: int) -> None:
        self.index = index
        self.network = network
        self.prefixlen = prefixlen

    def has(self, size: int, head: bytes) -> bool:
        """Whether an address of this size that begins so is in it; ``head`` is no shorter than the prefix."""
        spare = len(head) * 8 - self.prefixlen
        beginning = int.from_bytes(self.network[: len(head)], "big")
        return len(self.network) == size and int.from_bytes(head, "big") >> spare == beginning >> spare


def addresses_of(runtime: Runtime, versions: Collection[int] = (4, 6)) -> list[tuple[int, Address]]:
    """A namespace's addresses of these IP versions, with the indexes of their links.

    A host has an IPv6 address on each of a thousand bridge ports: who wants IPv4 alone does not read them.
    """
    family = next(iter(versions)) if len(versions) == 1 else 0
    return parse_addresses(runtime.route.dump(list_addresses(family)))


class Where:
    """Where each of several targets is connected; SpecError for one that is not.

    Thousands of targets are in a few networks. So what is looked up is only as many of their first bytes as
    the longest prefix of their family has.
    """

    __slots__ = ("_cuts", "_found", "targets")

    def __init__(
        self, targets: AbstractSet[bytes], addresses: Sequence[tuple[int, Address]], label: str
    ) -> None:
        self.targets = targets
        self._cuts: dict[int, int] = {4: 0, 16: 0}
        for _, address in addresses:
            size = len(address.packed)
            self._cuts[size] = max(self._cuts[size], (address.prefixlen + 7) // 8)
        networks = _networks(addresses)
        self._found: dict[tuple[int, bytes], Connected] = {}
        for head in self._heads(targets):
            place = next((place for place in networks if place.has(*head)), None)
            if place is None:
                first = next(each for each in targets if head in self._heads([each]))
                raise _not_connected(first, addresses, label)
            self._found[head] = place
        for place in self._found.values():
            for nobody, kind in _of_nobody(place):
                if nobody in targets:
                    network = f"{address_of(place.network)}/{place.prefixlen}"
                    raise SpecError(f"to '{address_of(nobody)}' is the {kind} of {network}: no host has it")

    def _heads(self, targets: Collection[bytes]) -> set[tuple[int, bytes]]:
        """Their sizes, and what of them decides."""
        sizes = set(map(len, targets))
        found: set[tuple[int, bytes]] = set()
        for size in sizes:
            cut, some = self._cuts[size], targets
            if len(sizes) > 1:
                some = [each for each in targets if len(each) == size]
            found.update([(size, head) for head in {each[:cut] for each in some}])
        return found

    def places(self, targets: Collection[bytes]) -> set[Connected]:
        """The networks of some of the targets."""
        heads = self._found if targets is self.targets else self._heads(targets)
        return {self._found[head] for head in heads}

    def of(self, target: bytes) -> Connected:
        """Where one of them is."""
        size = len(target)
        return self._found[size, target[: self._cuts[size]]]


def _of_nobody(place: Connected) -> Iterator[tuple[bytes, str]]:
    """Addresses of a network of IPv4 that are no host's (RFC 1122 3.2.1.3; but RFC 3021)."""
    if len(place.network) == 4 and place.prefixlen < 31:
        hosts = (1 << 32 - place.prefixlen) - 1
        yield place.network, "network address"
        yield (int.from_bytes(place.network, "big") | hosts).to_bytes(4, "big"), "broadcast address"


def _networks(addresses: Iterable[tuple[int, Address]]) -> list[Connected]:
    """The longest prefix first, which decides, as for a route."""
    found: dict[tuple[int, bytes], Connected] = {}
    for index, address in addresses:
        network = _network(address.packed, address.prefixlen)
        found[address.prefixlen, network] = Connected(index, network, address.prefixlen)
    return sorted(found.values(), key=lambda each: -each.prefixlen)


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


def ports_of(runtime: Runtime, homes: Iterable[Home]) -> list[tuple[int, int]]:
    """IP versions of the targets that live there, and the indexes of the bridge ports they are behind."""
    found = {(4 if len(home.target) == 4 else 6, home.port) for home in homes if home.port is not None}
    bridged = {index for index in {port for _, port in found} if _is_port(runtime, index)}
    return sorted([(version, port) for version, port in found if port in bridged])


def _is_port(runtime: Runtime, index: int) -> bool:
    return bool(parse_link(runtime.route.get(get_link(index))).master)


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
