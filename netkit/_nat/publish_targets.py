"""The targets of published ports: addresses, or namespaces and links whose addresses are found."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from netkit._link import Link
from netkit._nat.publish_devices import Where, addresses_of
from netkit._nat.publish_specs import Specs
from netkit._spec.addresses import address_of
from netkit._spec.port_mapping import PublishSpec, protocols, refuse_twice
from netkit._spec.value import shown, type_of
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Any, TypeAlias

    from netkit._namespace import Namespace
    from netkit._spec.address import Address
    from netkit._spec.addresses import AddressLike, IPAddress
    from netkit._spec.port_mapping import PortLike

    Target: TypeAlias = Namespace | Link | AddressLike | tuple[Namespace | Link | AddressLike, PortLike]


class Asked:
    """What a mapping was asked for; ``specs`` without the addresses that are found later."""

    def __init__(self, specs: Specs, places: Sequence[Namespace | Link | None] = ()) -> None:
        self.specs = specs
        self._places = places if any(place is not None for place in places) else ()

    def versions(self) -> Collection[int]:
        """The IP versions of its targets, as far as they are known."""
        return (4, 6) if self._places else self.specs.versions()

    def found(self, here: Sequence[tuple[int, Address]], label: str) -> Specs:
        """With the addresses that namespaces and links have now."""
        if not self._places:
            return self.specs
        found = [
            spec if place is None else spec.leading_to(_addresses_in(place, spec, here, label))
            for spec, place in zip(self.specs.all(), self._places, strict=True)
        ]
        refuse_twice(found)
        return Specs(found)


def parse_all(ports: Any, proto: str | Iterable[str], host_ip: AddressLike | None) -> Asked:
    """The same of a mapping or of pairs: in bulk where each is a port and ``ADDRESS:PORT``."""
    from netkit._nat.publish_many import parse_many

    if isinstance(ports, (str, bytes)) or not hasattr(ports, "__iter__"):
        raise SpecError(f"ports {shown(ports)} is {type_of(ports)}: {_MANY}")
    whole: Any = ports if hasattr(ports, "keys") else list(ports)
    protos = protocols(proto)
    many = parse_many(whole, protos, host_ip)
    if many is not None:
        return Asked(many)
    pairs: list[Any] = list(whole.items()) if hasattr(whole, "keys") else whole
    for pair in pairs:
        _require_pair(pair)
    asked = parse_mappings(pairs, protos, host_ip)
    refuse_twice(asked.specs.all())
    return asked


def _require_pair(pair: object) -> None:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise SpecError(f"ports: {shown(pair)} is no pair of a port and its target: {_MANY}")  # pyright: ignore[reportUnknownArgumentType]


_MANY = "give {8080: '172.18.0.2:80', 8081: box}, or pairs such as (8080, '172.18.0.2:80')"


def parse_mappings(
    pairs: Iterable[tuple[PortLike, Target]], proto: str | Iterable[str], host_ip: AddressLike | None
) -> Asked:
    """What is asked for, each with the namespace or link whose addresses are to be found."""
    protos = protocols(proto)
    parsed = [_parse(port, to, protos, host_ip) for port, to in pairs]
    return Asked(Specs([spec for spec, _ in parsed]), [place for _, place in parsed])


def _parse(
    port: PortLike, to: Target, proto: str | Iterable[str], host_ip: AddressLike | None
) -> tuple[PublishSpec, Namespace | Link | None]:
    from netkit._namespace import Namespace

    pair: tuple[object, ...] = to if isinstance(to, tuple) and to else (to,)  # pyright: ignore[reportUnknownVariableType]
    place = pair[0]
    if not isinstance(place, (Namespace, Link)):
        _require_address(place)
        return PublishSpec(port, to=to, proto=proto, host_ip=host_ip), None  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    if len(pair) > 2:
        raise SpecError(f"to {to!r} is no target: give (namespace, port)")
    to_port: object = pair[1] if len(pair) == 2 else None
    return PublishSpec(port, to_port=to_port, proto=proto, host_ip=host_ip), place  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def _require_address(place: object) -> None:
    if not isinstance(place, (str, int, IPv4Address, IPv6Address)):
        raise SpecError(
            f"to {shown(place)} is no target: give 'ADDRESS:PORT', an address, a Namespace, a Link such as "
            "veth.peer, or one of these and a port as a pair"
        )


def _addresses_in(
    target: Namespace | Link, spec: PublishSpec, here: Sequence[tuple[int, Address]], label: str
) -> list[IPAddress]:
    """Of a link, or of a namespace's links: the first address of each family that is connected here."""
    netns = target.netns if isinstance(target, Link) else target
    index = target.ifindex if isinstance(target, Link) else None
    found: dict[int, IPAddress] = {}
    refusal: SpecError | None = None
    for link, address in addresses_of(netns._live_runtime()):
        version = 4 if len(address.packed) == 4 else 6
        wanted = address.scope == "global" and version in spec.versions and index in (None, link)
        if not wanted or version in found:
            continue
        try:
            Where({address.packed}, here, label)
            found[version] = address_of(address.packed)
        except SpecError as problem:
            refusal = refusal or problem
    if found:
        return [found[version] for version in sorted(found)]
    families = " or ".join([f"IPv{version}" for version in spec.versions])
    raise refusal or SpecError(f"to {target!r} has no global address of {families} that could be published")
