"""What is drawn in a box: links, addresses, routes and NAT rules in few words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from netkit._display.model import Box, Device, State

if TYPE_CHECKING:
    from netkit._snapshot_nat import NatState
    from netkit._snapshot_values import InterfaceAddress, LinkState
    from netkit._spec.address import Address
    from netkit._spec.routes import Route

_MAIN = 254  # RT_TABLE_MAIN of linux/rtnetlink.h
_LOOPBACK = {"127.0.0.1/8", "::1/128"}


class Contents(Protocol):
    """A Snapshot, or what was read to be drawn at once."""

    @property
    def links(self) -> Sequence[LinkState]: ...
    @property
    def addresses(self) -> Sequence[InterfaceAddress]: ...
    @property
    def routes(self) -> Sequence[Route]: ...
    @property
    def nat(self) -> Sequence[NatState]: ...


def box_of(
    key: str,
    name: str,
    contents: Contents,
    *,
    forwards: bool = False,
    only: frozenset[str] | None = None,
    far: dict[str, str] | None = None,
) -> Box:
    """The box of a namespace. ``only`` are the devices to draw, ``far`` says where wires lead that leave."""
    addresses: dict[str, list[str]] = {}
    for each in contents.addresses:
        if is_drawn(each.address):
            addresses.setdefault(each.link, []).append(str(each.address))
    devices = [
        _device(link, tuple(addresses.get(link.name, ())), (far or {}).get(link.name))
        for link in sorted(contents.links, key=attrgetter("index"))
        if only is None or link.name in only
    ]
    defaults, routes = routes_of(contents.routes)
    nat = [each for each in contents.nat if not each.rule.startswith("publish ")]
    published = [each.rule.removeprefix("publish ") for each in contents.nat if each not in nat]
    return Box(
        key,
        name,
        tuple([each for each in devices if not _is_plain_loopback(each)]),
        defaults,
        routes,
        tuple([_nat_text(each) for each in nat]),
        tuple(published),
        forwards,
    )


def is_drawn(address: Address) -> bool:
    """Every device has a link-local IPv6 address, which tells nothing."""
    return address.version == 4 or not address.ip.is_link_local


def _device(link: LinkState, addresses: tuple[str, ...], far: str | None) -> Device:
    kind = link.kind
    if link.peer is not None and kind != "veth":
        kind = f"{kind} on {link.peer}"
    return Device(link.name, kind, state_of(link), addresses, link.master, far)


def state_of(link: LinkState) -> State:
    """Whether it is set up, and has carrier."""
    if not link.up:
        return "down"
    return "up" if link.state in ("up", "unknown") else "no carrier"


def _is_plain_loopback(device: Device) -> bool:
    return device.name == "lo" and device.state == "up" and _LOOPBACK.issuperset(device.addresses)


def _nat_text(rule: NatState) -> str:
    """In nft's words; where it stands is said of others' only."""
    return rule.rule if rule.chain is None else f"{rule.rule} (in {rule.chain})"


def routes_of(routes: Iterable[Route]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The default routes and the others of table main, without those that the kernel adds by itself."""
    chosen = [
        each for each in routes if each.table == _MAIN and each.proto != "kernel" and each.type != "local"
    ]
    chosen = [each for each in chosen if each.dst == "default" or not _is_multicast(each)]
    texts = [(each.dst == "default", route_text(each)) for each in chosen]
    return (
        tuple([text for default, text in texts if default]),
        tuple([text for default, text in texts if not default]),
    )


def _is_multicast(route: Route) -> bool:
    return not isinstance(route.dst, str) and route.dst.is_multicast


def route_text(route: Route) -> str:
    """Where to, by whom, by which device."""
    words = [] if route.type == "unicast" else [route.type]
    words.append(str(route.dst))
    ways = [(hop.via, hop.dev) for hop in route.nexthops] or [(route.via, route.dev)]
    for number, (via, dev) in enumerate(ways):
        words += ["or"] if number else []
        words += [] if via is None else ["via", str(via)]
        words += [] if dev is None else ["dev", dev]
    return " ".join(words)
