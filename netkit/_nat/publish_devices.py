"""What a published port needs of devices: where its target is connected, hairpin mode, route_localnet.

Only devices of netkit's are changed: all those of a namespace that this program has made, and elsewhere
those that carry netkit's tag.
"""

from __future__ import annotations

from netkit._lifecycle import ROOT
from netkit._marks import TAG
from netkit._netlink.address import list_addresses, parse_addresses
from netkit._netlink.bridge import set_port
from netkit._netlink.link import get_link, parse_link
from netkit._veth import VethPair
from netkit.errors import KernelError, NotFoundError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from netkit._namespace import Namespace
    from netkit._runtime import Runtime
    from netkit._spec.address import Address
    from netkit._spec.addresses import IPAddress


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


def connected(target: IPAddress, addresses: Sequence[tuple[int, Address]], label: str) -> Connected:
    """Where the target is connected; SpecError where it is not."""
    best: Connected | None = None
    packed = target.packed
    for index, address in addresses:
        if len(address.packed) == len(packed) and (best is None or address.prefixlen > best.prefixlen):
            shared = _network(packed, address.prefixlen)
            if _network(address.packed, address.prefixlen) == shared:
                best = Connected(index, shared, address.prefixlen)
    if best is None:
        of_family = [str(a) for _, a in addresses if len(a.packed) == len(packed) and a.scope == "global"]
        raise SpecError(
            f"to '{target}' is in no network that {label} is connected to: its addresses are "
            f"{', '.join(of_family) or 'none of that family'}. Connect it first, as Bridge.connect() does"
        )
    return best


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


def port_of(netns: Namespace, target: IPAddress) -> int | None:
    """The index of our bridge port behind which the target is; None if it is on no bridge, or not ours."""
    for member in ROOT._held_members():
        if not isinstance(member, VethPair) or not member._is_alive():
            continue
        near, far = member._near, member._far
        if near.netns is None or not near.netns._same_as(netns):
            continue
        if any(address.packed == target.packed for address in far.addresses):
            link = member.link
            return link.ifindex if link._read().master else None
    return None


class Hairpin:
    """A bridge port that sends frames back where they came from, while any mapping needs it."""

    def __init__(self, runtime: Runtime, index: int) -> None:
        self._runtime = runtime
        self._index = index
        self._key = (*runtime.identity, index)

    def begin(self) -> None:
        """Turn it on, unless it is."""
        users, was = _hairpins.get(self._key, (0, False))
        if not users:
            was = _is_hairpin(self._runtime, self._index)
            if not was:
                self._set(True)
        _hairpins[self._key] = users + 1, was

    def end(self, *, leave: bool = False) -> None:
        """The last user turns it off, unless it was on before. Gone already is success."""
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


_hairpins: dict[tuple[int, int, int], tuple[int, bool]] = {}


def _is_hairpin(runtime: Runtime, index: int) -> bool:
    return bool(parse_link(runtime.route.get(get_link(index))).port.get("IFLA_BRPORT_MODE"))
