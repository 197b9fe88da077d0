"""What a namespace is to forward or not, for the sake of NAT: rules of the hook `forward`, as values."""

from __future__ import annotations

from netkit._spec.numbers import boolean
from netkit._spec.value import Value
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._spec._nat_match import Match
    from netkit._spec.addresses import IPAddress, IPNetwork

_set = object.__setattr__

ACCEPT, DROP = "accept", "drop"


class ForwardLine(Value):
    """One rule: what it matches, in nft's words, and ``accept`` or ``drop``.

    ``iif_bridge`` and ``oif_bridge``: the other device is a bridge. ``state`` is ``dnat`` (the connection was
    translated by DNAT), ``plain`` (it was not) or ``established`` (or related).
    """

    __slots__ = _fields = ("verdict", "iif", "oif", "iif_bridge", "oif_bridge", "saddr", "daddr", "state")

    verdict: str
    iif: Match[str] | None
    oif: Match[str] | None
    iif_bridge: bool
    oif_bridge: bool
    saddr: IPNetwork | None
    daddr: IPNetwork | None
    state: str | None

    def __init__(
        self,
        verdict: str,
        *,
        iif: Match[str] | None = None,
        oif: Match[str] | None = None,
        iif_bridge: bool = False,
        oif_bridge: bool = False,
        saddr: IPNetwork | None = None,
        daddr: IPNetwork | None = None,
        state: str | None = None,
    ) -> None:
        for name, value in (
            ("verdict", verdict),
            ("iif", iif),
            ("oif", oif),
            ("iif_bridge", iif_bridge),
            ("oif_bridge", oif_bridge),
            ("saddr", saddr),
            ("daddr", daddr),
            ("state", state),
        ):
            _set(self, name, value)

    @property
    def family(self) -> int | None:
        """4 or 6, where an address says so."""
        network = self.saddr or self.daddr
        return None if network is None else network.version

    def __str__(self) -> str:
        words: list[str] = []
        for word, match in (("iifname", self.iif), ("oifname", self.oif)):
            if match is not None:
                words.append(f'{word} {"!= " if match.negated else ""}"{match.value}"')
        words += [
            f'meta {word} "bridge"' for word in ("iifkind", "oifkind") if getattr(self, f"{word[:3]}_bridge")
        ]
        ip = "ip6" if self.family == 6 else "ip"
        words += [f"{ip} {word} {net}" for word, net in (("saddr", self.saddr), ("daddr", self.daddr)) if net]
        words += [_STATES[self.state]] if self.state else []
        return " ".join([*words, self.verdict])


_STATES = {
    "dnat": "ct status dnat",
    "plain": "ct status & dnat == 0",
    "established": "ct state established,related",
}


class ForwardSpec(Value):
    """Rules that belong together, in words, and one by one."""

    __slots__ = _fields = ("words", "lines")

    words: str
    lines: tuple[ForwardLine, ...]

    def __init__(self, words: str, lines: Iterable[ForwardLine]) -> None:
        _set(self, "words", words)
        _set(self, "lines", tuple(lines))

    @property
    def drops(self) -> bool:
        """Whether it drops; else it accepts."""
        return self.lines[0].verdict == DROP

    @property
    def family(self) -> int | None:
        """4 or 6 where all of them say the same one, else None: both."""
        families = {line.family for line in self.lines}
        return families.pop() if len(families) == 1 else None

    def __str__(self) -> str:
        return self.words


def forward_internal(bridge: str) -> ForwardSpec:
    """Nothing is forwarded into the bridge's network, or out of it."""
    from netkit._spec._nat_match import Match

    ours, others = Match(bridge), Match(bridge, True)
    return ForwardSpec(
        f"bridge '{bridge}' is internal",
        (ForwardLine(DROP, iif=ours, oif=others), ForwardLine(DROP, iif=others, oif=ours)),
    )


def forward_isolated(bridge: str) -> ForwardSpec:
    """Nothing is forwarded between this bridge and others, but for what is published."""
    from netkit._spec._nat_match import Match

    ours, others = Match(bridge), Match(bridge, True)
    return ForwardSpec(
        f"bridge '{bridge}' is isolated",
        (
            ForwardLine(DROP, iif=ours, oif=others, oif_bridge=True, state="plain"),
            ForwardLine(DROP, iif=others, oif=ours, iif_bridge=True, state="plain"),
        ),
    )


def forward_outward(bridge: str) -> ForwardSpec:
    """What comes from the bridge is forwarded, and what answers it."""
    from netkit._spec._nat_match import Match

    return ForwardSpec(
        f"forward for bridge '{bridge}'",
        (
            ForwardLine(ACCEPT, iif=Match(bridge)),
            ForwardLine(ACCEPT, oif=Match(bridge), state="established"),
        ),
    )


def forward_options(
    bridge: str, internal: bool, isolate: bool, open_forward: bool
) -> tuple[ForwardSpec, ...]:
    """The options of a bridge that are about forwarding, as specs; SpecError for what contradicts itself."""
    asked = (
        (boolean(internal, "internal"), forward_internal),
        (boolean(isolate, "isolate"), forward_isolated),
        (boolean(open_forward, "open_forward"), forward_outward),
    )
    if internal and open_forward:
        raise SpecError("internal=True with open_forward=True: of an internal network nothing is forwarded")
    return tuple([make(bridge) for is_asked, make in asked if is_asked])


def forward_published(networks: Iterable[IPNetwork]) -> ForwardSpec:
    """What DNAT leads into these networks is forwarded, and what answers it."""
    lines: list[ForwardLine] = []
    for network in networks:
        lines.append(ForwardLine(ACCEPT, daddr=network, state="dnat"))
        lines.append(ForwardLine(ACCEPT, saddr=network, state="dnat"))
    return ForwardSpec("forward for published ports", lines)


_FEW = 8  # targets that get rules of their own; beyond, their networks do


def networks_of(targets: Iterable[tuple[IPAddress, IPNetwork]]) -> list[IPNetwork]:
    """What to accept for targets, each with the network it is in: each alone, of many the networks."""
    from netkit._spec.addresses import ip_network

    found = dict(targets)
    chosen = set(found.values()) if len(found) > _FEW else {ip_network(str(each)) for each in found}
    return sorted(chosen, key=lambda net: (net.version, int(net.network_address), net.prefixlen))
