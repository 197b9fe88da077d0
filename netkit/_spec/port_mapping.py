"""What a published port is: which ports of which address lead where. Ranges are mapped one to one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netkit._spec._nat_target import parse_target
from netkit._spec.addresses import ip_address
from netkit._spec.numbers import port_range
from netkit._spec.value import Value, shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from netkit._spec._nat_target import NatTarget
    from netkit._spec.addresses import AddressLike, IPAddress

    PortLike: TypeAlias = str | int | tuple[int | str, int | str]

_set = object.__setattr__
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NAMES = {number: name for name, number in PROTOCOLS.items()}


class Entry(tuple["bytes | None", int, int, bytes, int]):
    """One port that leads to another: host address (None: any), protocol number, port, target, its port."""

    __slots__ = ()

    @property
    def host_ip(self) -> bytes | None:
        """The address that is published, 4 or 16 bytes; None for all of the family."""
        return self[0]

    @property
    def proto(self) -> int:
        """The protocol's number."""
        return self[1]

    @property
    def port(self) -> int:
        """The published port."""
        return self[2]

    @property
    def target(self) -> bytes:
        """Where it leads, 4 or 16 bytes."""
        return self[3]

    @property
    def target_port(self) -> int:
        """The port there."""
        return self[4]

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if len(self[3]) == 4 else 6

    @property
    def proto_name(self) -> str:
        """``tcp``, ``udp`` or ``sctp``."""
        return _NAMES[self[1]]


class PublishSpec(Value):
    """Ports of this namespace that lead to a target; frozen. ``str()`` is ``tcp 8080 -> 172.18.0.2:80``.

    ``ports`` and ``to_ports`` are (low, high) and of one length. ``targets`` are addresses, at most one of
    each family; none where the target is a namespace or link whose addresses are looked up later.
    """

    __slots__ = _fields = ("ports", "protos", "host_ip", "targets", "to_ports")

    ports: tuple[int, int]
    protos: tuple[str, ...]
    host_ip: IPAddress | None
    targets: tuple[IPAddress, ...]
    to_ports: tuple[int, int]

    def __init__(
        self,
        port: PortLike,
        *,
        to: NatTarget | None = None,
        to_port: PortLike | None = None,
        proto: str | Iterable[str] = "tcp",
        host_ip: AddressLike | None = None,
    ) -> None:
        ports = port_range(port, "port")
        target, to_ports = (None, None) if to is None else _one_target(to)
        if to_port is not None:
            to_ports = port_range(to_port, "to: port")
        _set(self, "ports", ports)
        _set(self, "protos", protocols(proto))
        _set(self, "host_ip", None if host_ip is None else _host_address(host_ip))
        _set(self, "targets", () if target is None else (target,))
        _set(self, "to_ports", ports if to_ports is None else to_ports)
        self._check_widths()
        self._check_families()

    def _check_widths(self) -> None:
        asked, given = (high - low + 1 for low, high in (self.ports, self.to_ports))
        if asked != given:
            low = self.to_ports[0]
            raise SpecError(
                f"port {_range(self.ports)} is {_count(asked)}, but the target has {given}: they are mapped "
                f"one to one; give {_range((low, min(low + asked - 1, 65535)))}, or no port in to"
            )

    def _check_families(self) -> None:
        for target in self.targets:
            if self.host_ip is not None and target.version != self.host_ip.version:
                raise SpecError(
                    f"host_ip '{self.host_ip}' is IPv{self.host_ip.version}, but to '{target}' is "
                    f"IPv{target.version}: NAT keeps the family, so publish each family to its own address"
                )

    def leading_to(self, targets: Iterable[IPAddress]) -> PublishSpec:
        """The same to these addresses."""
        copy = PublishSpec.__new__(PublishSpec)
        for name in self._fields:
            _set(copy, name, getattr(self, name))
        _set(copy, "targets", tuple(targets))
        return copy

    def at(self, port: int, target: IPAddress, to_port: int) -> PublishSpec:
        """The same of another port, leading to another one."""
        copy = self.leading_to((target,))
        _set(copy, "ports", (port, port))
        _set(copy, "to_ports", (to_port, to_port))
        return copy

    @property
    def versions(self) -> tuple[int, ...]:
        """The families that a target may have."""
        return (4, 6) if self.host_ip is None else (self.host_ip.version,)

    @property
    def binds_all(self) -> bool:
        """Whether every local address is meant, at least of one family."""
        return self.host_ip is None or self.host_ip.is_unspecified

    @property
    def only_relayed(self) -> bool:
        """Whether ::1 alone is published, which NAT cannot do."""
        return self.host_ip is not None and self.host_ip.version == 6 and self.host_ip.is_loopback

    def entries(self) -> Iterator[Entry]:
        """One for each port, protocol and family."""
        host_ip = None if self.host_ip is None or self.host_ip.is_unspecified else self.host_ip.packed
        low, high = self.ports
        shift = self.to_ports[0] - low
        for target in self.targets:
            packed = target.packed
            for name in self.protos:
                number = PROTOCOLS[name]
                for port in range(low, high + 1):
                    yield Entry((host_ip, number, port, packed, port + shift))

    def __str__(self) -> str:
        port = _range(self.ports)
        if self.host_ip is not None:
            port = f"[{self.host_ip}]:{port}" if self.host_ip.version == 6 else f"{self.host_ip}:{port}"
        ends = _range(self.to_ports)
        targets = [f"[{each}]:{ends}" if each.version == 6 else f"{each}:{ends}" for each in self.targets]
        return f"{'/'.join(self.protos)} {port} -> {' and '.join(targets) or f':{ends}'}"

    def __repr__(self) -> str:
        return f"<PublishSpec {self}>"


def refuse_twice(specs: Iterable[PublishSpec]) -> None:
    """SpecError for a port that leads to two targets of one family; those not known yet are left out."""
    found: dict[tuple[object, ...], PublishSpec] = {}
    for spec in specs:
        host = None if spec.binds_all else spec.host_ip
        for target in spec.targets:
            for proto in spec.protos:
                for port in range(spec.ports[0], spec.ports[1] + 1):
                    other = found.setdefault((host, target.version, proto, port), spec)
                    if other is not spec:
                        raise SpecError(f"{proto} port {port} is given twice: {other} and {spec}")


def _count(ports: int) -> str:
    return "1 port" if ports == 1 else f"{ports} ports"


def _range(ports: tuple[int, int]) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def _one_target(to: NatTarget) -> tuple[IPAddress, tuple[int, int] | None]:
    low, high, ports = parse_target(to, "publish")
    if low is None or high is not None:
        raise SpecError(f"to {shown(to)} is several addresses: a published port leads to one")
    if low.is_loopback:
        raise SpecError(
            f"to '{low}' is a loopback address, which is no other namespace's: "
            "NatRule.redirect(ns, proto=..., dport=..., to=PORT) leads to a port of this one"
        )
    if low.version == 6 and low.is_link_local:
        raise SpecError(
            f"to '{low}' is a link-local address, and NAT names no link: give a global one, such as fd18::2"
        )
    return low, ports


def protocols(proto: object) -> tuple[str, ...]:
    """One or several, each once."""
    text = shown(proto)
    if isinstance(proto, (bytes, Mapping)) or not isinstance(proto, Iterable):
        raise SpecError(f"proto {text} is no protocol: give 'tcp', 'udp', 'sctp' or several of them")
    given: list[object] = [proto] if isinstance(proto, str) else [*proto]  # pyright: ignore[reportUnknownArgumentType]
    if not given:
        raise SpecError("proto is empty: give 'tcp', 'udp', 'sctp' or several of them")
    found: dict[str, None] = {}
    for each in given:
        if not isinstance(each, str) or each not in PROTOCOLS:
            raise SpecError(
                f"proto {shown(each)} has no ports to publish: give 'tcp', 'udp', 'sctp' or several"
            )
        found[each] = None
    return tuple(found)


def _host_address(value: AddressLike) -> IPAddress:
    address = ip_address(value, "host_ip")
    if address.is_multicast or str(address) == "255.255.255.255":
        raise SpecError(f"host_ip '{address}' is no address of a host: give one of this namespace's")
    if address.version == 6 and address.is_link_local:
        raise SpecError(
            f"host_ip '{address}' is a link-local address, and a published port names no link: give a global "
            "one, or '::' for all, which has those, too"
        )
    mapped = address.ipv4_mapped if address.version == 6 else None
    if mapped is not None:
        raise SpecError(f"host_ip '{address}' is an IPv4 address that is written as IPv6: write '{mapped}'")
    return address
