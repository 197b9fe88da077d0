"""What a NAT rule is to do, whichever backend does it. The keywords are nft's."""

from __future__ import annotations

from netkit._spec._family import found_family
from netkit._spec._nat_match import (
    Match,
    address_match,
    checked_protocol,
    device_match,
    port_match,
    protocol_family,
)
from netkit._spec._nat_target import Target, parse_ports, parse_target, target_text
from netkit._spec.numbers import boolean
from netkit._spec.value import Value
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._spec._nat_match import AddressMatch, NatPort
    from netkit._spec._nat_target import NatTarget
    from netkit._spec.addresses import IPAddress, IPNetwork
    from netkit._spec.routes import DeviceLike

_set = object.__setattr__

POSTROUTING = ("masquerade", "snat")


class NatSpec(Value):
    """One NAT rule, frozen. ``str()`` is its text in nft's words.

    ``kind`` is ``masquerade``, ``snat``, ``dnat`` or ``redirect``. What it matches is a Match or None;
    a port Match holds (low, high). ``to`` is the target address (or the low end of a range that ends
    with ``to_high``), ``to_ports`` is (low, high). ``family`` is 4, 6, or None where nothing says so:
    both with nft, IPv4 with iptables.
    """

    __slots__ = _fields = (
        "kind",
        "saddr",
        "daddr",
        "sport",
        "dport",
        "iif",
        "oif",
        "proto",
        "to",
        "to_high",
        "to_ports",
        "local",
        "family",
    )

    kind: str
    saddr: Match[IPNetwork] | None
    daddr: Match[IPNetwork] | None
    sport: Match[tuple[int, int]] | None
    dport: Match[tuple[int, int]] | None
    iif: Match[str] | None
    oif: Match[str] | None
    proto: Match[str] | None
    to: IPAddress | None
    to_high: IPAddress | None
    to_ports: tuple[int, int] | None
    local: bool
    family: int | None

    def __init__(
        self,
        kind: str,
        *,
        saddr: AddressMatch | None = None,
        daddr: AddressMatch | None = None,
        sport: NatPort | None = None,
        dport: NatPort | None = None,
        iif: DeviceLike | None = None,
        oif: DeviceLike | None = None,
        proto: str | int | None = None,
        target: Target = (None, None, None),
        local: bool = False,
        family: int | None = None,
    ) -> None:
        _check_devices(kind, iif, oif, local)
        _set(self, "kind", kind)
        _set(self, "saddr", address_match(saddr, "saddr"))
        _set(self, "daddr", address_match(daddr, "daddr"))
        _set(self, "sport", port_match(sport, "sport"))
        _set(self, "dport", port_match(dport, "dport"))
        _set(self, "iif", device_match(iif, "iif"))
        _set(self, "oif", device_match(oif, "oif"))
        _set(self, "proto", checked_protocol(proto))
        _set(self, "to", target[0])
        _set(self, "to_high", target[1])
        _set(self, "to_ports", target[2])
        _set(self, "local", boolean(local, "local"))
        _set(self, "family", self._family(family))
        self._check_ports()

    def _family(self, asked: int | None) -> int | None:
        found = found_family(
            asked,
            ("saddr", None if self.saddr is None else self.saddr.value),
            ("daddr", None if self.daddr is None else self.daddr.value),
            ("to", self.to),
        )
        return protocol_family(self.proto, found)

    def _check_ports(self) -> None:
        given = [word for word in ("sport", "dport") if getattr(self, word) is not None]
        given += ["a port in to"] if self.to_ports else []
        if given and (self.proto is None or self.proto.negated or not has_ports(self.proto.value)):
            proto = "no proto" if self.proto is None else f"proto {str(self.proto)!r}"
            raise SpecError(
                f"{' and '.join(given)} with {proto}: ports without a protocol that has ports; "
                "give proto='tcp', 'udp' or 'sctp'"
            )
        if self.dport is not None and self.to_ports is not None and self.hook == "prerouting":
            _check_widths(self.dport, self.to_ports)

    @property
    def hook(self) -> str:
        """The chain it belongs to: ``postrouting`` or ``prerouting`` (``local`` adds ``output``)."""
        return "postrouting" if self.kind in POSTROUTING else "prerouting"

    def one_to_one(self) -> tuple[NatSpec, ...]:
        """One spec per port where a range of ports is moved, else this one alone.

        The kernel does not keep the offset within a range: ``dport 9000-9002`` to ``:100-102``
        sent 9001 to another port than 101. So a backend is given one rule per port.
        """
        dport, ports = self.dport, self.to_ports
        if dport is None or ports is None or self.hook != "prerouting" or ports[0] == ports[1]:
            return (self,)
        low, high = dport.value
        if dport.negated or low == high or ports == dport.value:
            return (self,)
        return tuple([self._moved(low + step, ports[0] + step) for step in range(high - low + 1)])

    def _moved(self, dport: int, to_port: int) -> NatSpec:
        copy = NatSpec.__new__(NatSpec)
        for name in self._fields:
            _set(copy, name, getattr(self, name))
        _set(copy, "dport", Match((dport, dport)))
        _set(copy, "to_ports", (to_port, to_port))
        return copy

    def __str__(self) -> str:
        words = _device_words(self.iif, "iifname") + _device_words(self.oif, "oifname")
        ip = "ip6" if self.family == 6 else "ip"
        for name in ("saddr", "daddr"):
            match: Match[IPNetwork] | None = getattr(self, name)
            words += [] if match is None else [ip, name, str(match)]
        if self.proto is not None and self.sport is None and self.dport is None:
            words += ["meta l4proto", str(self.proto)]
        for name in ("sport", "dport"):
            ports: Match[tuple[int, int]] | None = getattr(self, name)
            words += [] if ports is None else [self.proto.value if self.proto else "", name, str(ports)]
        words.append(self.kind)
        if self.to is not None or self.to_ports is not None:
            words += ["to", target_text((self.to, self.to_high, self.to_ports))]
        return " ".join(words)

    def __repr__(self) -> str:
        return f"<NatSpec {self}{' local' if self.local else ''}>"


def has_ports(protocol: str) -> bool:
    """Whether packets of the protocol have ports that NAT can match and change."""
    return protocol in ("tcp", "udp", "sctp")


def _device_words(match: Match[str] | None, word: str) -> list[str]:
    if match is None:
        return []
    return [word, f'{"!= " if match.negated else ""}"{match.value}"']


def _check_widths(dport: Match[tuple[int, int]], ports: tuple[int, int]) -> None:
    many = ports[1] - ports[0]
    asked = dport.value[1] - dport.value[0]
    if many and asked and not dport.negated and many != asked:
        raise SpecError(
            f"dport {dport} is {asked + 1} ports, but the target has {many + 1}: "
            "give as many, one port, or none"
        )


def _check_devices(kind: str, iif: object, oif: object, local: bool) -> None:
    if kind in POSTROUTING and iif is not None:
        raise SpecError(
            f"iif= with {kind}: it is in postrouting, where a packet leaves; "
            "use oif= for the way out, or saddr= for where it comes from"
        )
    if kind not in POSTROUTING and oif is not None:
        raise SpecError(
            f"oif= with {kind}: it is in prerouting, where the way out is not known yet; "
            "use iif= for the way in, or daddr= for where it goes"
        )
    if local and iif is not None:
        raise SpecError(
            "iif= with local=True: what this machine sends comes in by no device; "
            "make one rule with iif= and another with local=True and daddr="
        )


def masquerade(
    *,
    saddr: AddressMatch | None = None,
    daddr: AddressMatch | None = None,
    oif: DeviceLike | None = None,
    iif: DeviceLike | None = None,
    proto: str | int | None = None,
    sport: NatPort | None = None,
    dport: NatPort | None = None,
    to: NatPort | None = None,
    family: int | None = None,
) -> NatSpec:
    """Packets get the address of the device they leave by; ``to`` is a range of ports, if any.

    Examples:
        >>> from netkit._spec.nat import masquerade
        >>> str(masquerade(saddr="172.18.0.0/24", oif="eth0"))
        'oifname "eth0" ip saddr 172.18.0.0/24 masquerade'
    """
    return NatSpec(
        "masquerade",
        saddr=saddr,
        daddr=daddr,
        sport=sport,
        dport=dport,
        iif=iif,
        oif=oif,
        proto=proto,
        target=(None, None, parse_ports(to, "masquerade")),
        family=family,
    )


def snat(
    *,
    to: NatTarget | None = None,
    saddr: AddressMatch | None = None,
    daddr: AddressMatch | None = None,
    oif: DeviceLike | None = None,
    iif: DeviceLike | None = None,
    proto: str | int | None = None,
    sport: NatPort | None = None,
    dport: NatPort | None = None,
    family: int | None = None,
) -> NatSpec:
    """Packets get the source address ``to``: an address, a range of them, with ports or without.

    Examples:
        >>> from netkit._spec.nat import snat
        >>> str(snat(saddr="10.0.0.0/8", oif="!= br0", to="192.0.2.1-192.0.2.4"))
        'oifname != "br0" ip saddr 10.0.0.0/8 snat to 192.0.2.1-192.0.2.4'
    """
    return NatSpec(
        "snat",
        saddr=saddr,
        daddr=daddr,
        sport=sport,
        dport=dport,
        iif=iif,
        oif=oif,
        proto=proto,
        target=parse_target(to, "snat"),
        family=family,
    )


def dnat(
    *,
    to: NatTarget | None = None,
    saddr: AddressMatch | None = None,
    daddr: AddressMatch | None = None,
    iif: DeviceLike | None = None,
    oif: DeviceLike | None = None,
    proto: str | int | None = None,
    sport: NatPort | None = None,
    dport: NatPort | None = None,
    local: bool = False,
    family: int | None = None,
) -> NatSpec:
    """Packets get the destination ``to``: ``"172.18.0.2:80"``, ``"[fd00::2]:80"``, an address, a tuple.

    Examples:
        >>> from netkit._spec.nat import dnat
        >>> str(dnat(proto="tcp", dport=80, to="172.18.0.2:8080"))
        'tcp dport 80 dnat to 172.18.0.2:8080'
    """
    return NatSpec(
        "dnat",
        saddr=saddr,
        daddr=daddr,
        sport=sport,
        dport=dport,
        iif=iif,
        oif=oif,
        proto=proto,
        target=parse_target(to, "dnat"),
        local=local,
        family=family,
    )


def redirect(
    *,
    to: NatPort | None = None,
    saddr: AddressMatch | None = None,
    daddr: AddressMatch | None = None,
    iif: DeviceLike | None = None,
    oif: DeviceLike | None = None,
    proto: str | int | None = None,
    sport: NatPort | None = None,
    dport: NatPort | None = None,
    local: bool = False,
    family: int | None = None,
) -> NatSpec:
    """Packets go to this machine, to port ``to`` (or the port they were for).

    Examples:
        >>> from netkit._spec.nat import redirect
        >>> str(redirect(proto="tcp", dport=80, to=8080))
        'tcp dport 80 redirect to :8080'
    """
    return NatSpec(
        "redirect",
        saddr=saddr,
        daddr=daddr,
        sport=sport,
        dport=dport,
        iif=iif,
        oif=oif,
        proto=proto,
        target=(None, None, parse_ports(to, "redirect")),
        local=local,
        family=family,
    )
