"""What a NAT rule is to do, whichever backend does it. The keywords are nft's."""

from __future__ import annotations

from netkit._spec._family import found_family
from netkit._spec._nat_match import (
    Match,
    address_matches,
    checked_protocol,
    device_match,
    port_match,
    protocol_family,
)
from netkit._spec._nat_options import nat_flags, parse_prefix, parse_targets
from netkit._spec._nat_target import Target, parse_ports, parse_target, target_text
from netkit._spec.numbers import boolean
from netkit._spec.value import Value, shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._spec._nat_match import AddressMatch, NatPort
    from netkit._spec._nat_options import Spread, Targets
    from netkit._spec._nat_target import NatTarget
    from netkit._spec.addresses import IPAddress, IPNetwork
    from netkit._spec.routes import DeviceLike

_set = object.__setattr__

POSTROUTING = ("masquerade", "snat")


class NatSpec(Value):
    """One NAT rule, frozen. ``str()`` is its text in nft's words. Twin: a line of ``nft list ruleset``.

    Source: nft(8), iptables-extensions(8).

    ``kind`` is ``masquerade``, ``snat``, ``dnat``, ``redirect`` or ``tproxy``. What it matches is a Match or
    None; a port Match holds (low, high). ``to`` is the target address (or the low end of a range that ends
    with ``to_high``), ``to_ports`` is (low, high). ``family`` is 4, 6, or None where nothing says so:
    both with nft, IPv4 with iptables.

    ``outside`` are the networks to leave out beyond the first one, as ("daddr", network). ``flags`` are
    nft's: ``random``, ``fully-random``, ``persistent``. With ``prefix``, ``to`` to ``to_high`` is a network.
    With ``spread``, ``others`` are the targets besides the first, and ``share``, in what `parts` returns,
    says which connections one of them gets: (modulus, remainder). ``mark`` is the bits that tproxy sets.
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
        "outside",
        "flags",
        "prefix",
        "spread",
        "others",
        "share",
        "mark",
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
    outside: tuple[tuple[str, IPNetwork], ...]
    flags: tuple[str, ...]
    prefix: bool
    spread: str | None
    others: tuple[Target, ...]
    share: tuple[int, int] | None
    mark: int | None

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
        flags: tuple[str, ...] = (),
        spread: str | None = None,
        others: tuple[Target, ...] = (),
        mark: int | None = None,
    ) -> None:
        _check_devices(kind, iif, oif, local)
        _set(self, "kind", kind)
        sources, destinations = address_matches(saddr, "saddr"), address_matches(daddr, "daddr")
        _set(self, "saddr", sources[0] if sources else None)
        _set(self, "daddr", destinations[0] if destinations else None)
        outside = [("saddr", match.value) for match in sources[1:]]
        outside += [("daddr", match.value) for match in destinations[1:]]
        _set(self, "outside", tuple(outside))
        _set(self, "sport", port_match(sport, "sport"))
        _set(self, "dport", port_match(dport, "dport"))
        _set(self, "iif", device_match(iif, "iif"))
        _set(self, "oif", device_match(oif, "oif"))
        _set(self, "proto", checked_protocol(proto))
        _set(self, "to", target[0])
        _set(self, "to_high", target[1])
        _set(self, "to_ports", target[2])
        _set(self, "local", boolean(local, "local"))
        _set(self, "flags", flags)
        _set(self, "prefix", False)
        _set(self, "spread", spread)
        _set(self, "others", others)
        _set(self, "share", None)
        _set(self, "mark", mark)
        _set(self, "family", self._family(family))
        self._check_ports()

    def _family(self, asked: int | None) -> int | None:
        found = found_family(
            asked,
            ("saddr", None if self.saddr is None else self.saddr.value),
            ("daddr", None if self.daddr is None else self.daddr.value),
            *self.outside,
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
        if self.dport is not None and self.hook == "prerouting":
            for ports in (self.to_ports, *[target[2] for target in self.others]):
                if ports is not None:
                    _check_widths(self.dport, ports)

    @property
    def hook(self) -> str:
        """The chain it belongs to: ``postrouting`` or ``prerouting`` (``local`` adds ``output``)."""
        if self.kind == "tproxy":
            return "tproxy_prerouting"  # the same hook, but before that of NAT
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
        return tuple(
            [
                self._with(dport=Match((low + step,) * 2), to_ports=(ports[0] + step,) * 2)
                for step in range(high - low + 1)
            ]
        )

    def parts(self) -> tuple[NatSpec, ...]:
        """One spec per target where connections are spread over several, else this one alone.

        Those that the first one leaves go to the second one: of three targets the first gets one in three,
        the second one in two of the rest. By ``jhash`` each gets the clients of one remainder.
        """
        targets = ((self.to, self.to_high, self.to_ports), *self.others)
        count = len(targets)
        if count == 1:
            return (self,)
        return tuple(
            [
                self._with(
                    to=low, to_high=high, to_ports=ports, others=(),
                    share=(count, n) if self.spread == "jhash" else (count - n, 0) if n < count - 1 else None,
                )
                for n, (low, high, ports) in enumerate(targets)
            ]
        )  # fmt: skip

    def _to_prefix(self, to: object, family: int | None) -> NatSpec:
        """The same, with a network as its target."""
        match = self.saddr if self.kind == "snat" else self.daddr
        low, high, _ = parse_prefix(to, self.kind, match)
        spec = self._with(to=low, to_high=high, prefix=True)
        _set(spec, "family", spec._family(family))
        return spec

    def _with(self, **changes: object) -> NatSpec:
        """A copy; what changes has been checked."""
        copy = NatSpec.__new__(NatSpec)
        for name in self._fields:
            _set(copy, name, changes.get(name, getattr(self, name)))
        return copy

    def __str__(self) -> str:
        words = _device_words(self.iif, "iifname") + _device_words(self.oif, "oifname")
        ip = "ip6" if self.family == 6 else "ip"
        for name in ("saddr", "daddr"):
            match: Match[IPNetwork] | None = getattr(self, name)
            words += [] if match is None else [ip, name, str(match)]
            words += [word for side, net in self.outside if side == name for word in (ip, name, f"!= {net}")]
        if self.proto is not None and self.sport is None and self.dport is None:
            words += ["meta l4proto", str(self.proto)]
        for name in ("sport", "dport"):
            ports: Match[tuple[int, int]] | None = getattr(self, name)
            words += [] if ports is None else [self.proto.value if self.proto else "", name, str(ports)]
        if self.share is not None:
            words.append(share_text(self))
        words.append(self.kind)
        if self.to is not None or self.to_ports is not None:
            words += ["prefix to" if self.prefix else "to", self._target_words()]
        if self.mark is not None:
            words.append(f"meta mark set meta mark or {self.mark:#x}")
        return " ".join([*words, ",".join(self.flags)]).rstrip()

    def _target_words(self) -> str:
        """Where to, as nft writes it; several as the map it would take."""
        if self.prefix and self.to is not None and self.to_high is not None:
            changing = (int(self.to) ^ int(self.to_high)).bit_length()
            return f"{self.to}/{self.to.max_prefixlen - changing}"
        target = (self.to, self.to_high, self.to_ports)
        if not self.others:
            return target_text(target)
        listed = [f"{n} : {target_text(each)}" for n, each in enumerate((target, *self.others))]
        return f"{spread_words(self)} mod {len(listed)} map {{ {', '.join(listed)} }}"

    def __repr__(self) -> str:
        return f"<NatSpec {self}{' local' if self.local else ''}>"


_SPREAD_WORDS = {"inc": "numgen inc", "random": "numgen random", "jhash": "jhash ip saddr"}


def spread_words(spec: NatSpec) -> str:
    """What chooses among the targets, as nft writes it."""
    words = _SPREAD_WORDS[spec.spread or ""]
    return words.replace("ip ", "ip6 ") if spec.family == 6 else words


def share_text(spec: NatSpec) -> str:
    """Which share of the connections a part gets, as nft writes it."""
    assert spec.share is not None
    modulus, remainder = spec.share
    return f"{spread_words(spec)} mod {modulus} {remainder}"


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
    random: bool = False,
    fully_random: bool = False,
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
        flags=nat_flags(False, random, fully_random),
    )


def snat(
    *,
    to: NatTarget | IPNetwork | None = None,
    saddr: AddressMatch | None = None,
    daddr: AddressMatch | None = None,
    oif: DeviceLike | None = None,
    iif: DeviceLike | None = None,
    proto: str | int | None = None,
    sport: NatPort | None = None,
    dport: NatPort | None = None,
    family: int | None = None,
    persistent: bool = False,
    random: bool = False,
    fully_random: bool = False,
    prefix: bool = False,
) -> NatSpec:
    """Packets get the source address ``to``: an address, a range of them, with ports or without.

    Examples:
        >>> from netkit._spec.nat import snat
        >>> str(snat(saddr="10.0.0.0/8", oif="!= br0", to="192.0.2.1-192.0.2.4"))
        'oifname != "br0" ip saddr 10.0.0.0/8 snat to 192.0.2.1-192.0.2.4'
    """
    spec = NatSpec(
        "snat",
        saddr=saddr,
        daddr=daddr,
        sport=sport,
        dport=dport,
        iif=iif,
        oif=oif,
        proto=proto,
        target=(None, None, None) if prefix else parse_target(to, "snat"),
        family=family,
        flags=nat_flags(persistent, random, fully_random),
    )
    return spec._to_prefix(to, family) if boolean(prefix, "prefix") else spec


def dnat(
    *,
    to: Targets | IPNetwork | None = None,
    saddr: AddressMatch | None = None,
    daddr: AddressMatch | None = None,
    iif: DeviceLike | None = None,
    oif: DeviceLike | None = None,
    proto: str | int | None = None,
    sport: NatPort | None = None,
    dport: NatPort | None = None,
    local: bool = False,
    family: int | None = None,
    persistent: bool = False,
    random: bool = False,
    prefix: bool = False,
    spread: Spread | None = None,
) -> NatSpec:
    """Packets get the destination ``to``: ``"172.18.0.2:80"``, ``"[fd00::2]:80"``, an address, a tuple.

    Examples:
        >>> from netkit._spec.nat import dnat
        >>> str(dnat(proto="tcp", dport=80, to="172.18.0.2:8080"))
        'tcp dport 80 dnat to 172.18.0.2:8080'
    """
    if prefix and spread is not None:
        raise SpecError(
            f"spread={shown(spread)} with prefix=True: each address has one other, give one of them"
        )
    target, others = ((None, None, None), ()) if prefix else parse_targets(to, spread)
    spec = NatSpec(
        "dnat",
        saddr=saddr,
        daddr=daddr,
        sport=sport,
        dport=dport,
        iif=iif,
        oif=oif,
        proto=proto,
        target=target,
        local=local,
        family=family,
        spread=spread,
        others=others,
        flags=nat_flags(persistent, random, False),
    )
    return spec._to_prefix(to, family) if boolean(prefix, "prefix") else spec


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
    random: bool = False,
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
        flags=nat_flags(False, random, False),
    )
