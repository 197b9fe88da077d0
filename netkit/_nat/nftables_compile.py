"""From a NatSpec to rules of nf_tables: which chains, and the expressions nft would compile."""

from __future__ import annotations

from collections.abc import Iterator
from sys import byteorder

from netkit._nat.forward_compile import CHAIN as FORWARD
from netkit._nat.forward_compile import forward_rules
from netkit._netlink import nft_expressions as nft
from netkit._netlink.nft import (
    HOOK_FORWARD,
    HOOK_OUTPUT,
    HOOK_POSTROUTING,
    HOOK_PREROUTING,
    NFPROTO_INET,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    NFPROTO_UNSPEC,
    PRIORITY_DSTNAT,
    PRIORITY_FILTER,
    PRIORITY_MANGLE,
    PRIORITY_SRCNAT,
    new_chain,
    new_nat_chain,
)
from netkit._spec._nat_match import protocol_value
from netkit._spec.forward import ForwardSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from netkit._netlink.wire import Request
    from netkit._spec._nat_match import Match
    from netkit._spec.addresses import IPAddress, IPNetwork
    from netkit._spec.nat import NatSpec

    Registers = tuple[int, int | None]
    Spec: TypeAlias = NatSpec | ForwardSpec

# Each chain's hook and priority. Chain and hook have one name, as in most people's rule sets.
CHAINS = {
    "prerouting": (HOOK_PREROUTING, PRIORITY_DSTNAT),
    "output": (HOOK_OUTPUT, PRIORITY_DSTNAT),
    "postrouting": (HOOK_POSTROUTING, PRIORITY_SRCNAT),
}

_FAMILY = {4: NFPROTO_IPV4, 6: NFPROTO_IPV6}
# Where the addresses stand in the network header, and the ports in the transport header.
_ADDRESS_OFFSETS = {4: {"saddr": 12, "daddr": 16}, 6: {"saddr": 8, "daddr": 24}}
_SPORT, _DPORT = 0, 2
_SEED = 0x6E65746B  # the same for all targets of a rule, or a client would be nobody's; "netk"
_NAMES_ITS_FAMILY = ("icmp", "icmpv6")


TPROXY = "tproxy_prerouting"  # `tproxy` alone is a word of nft's, and could not be read back
CHAIN_NAMES = (*CHAINS, FORWARD, TPROXY)


def chain_request(family: int, table: str, chain: str) -> Request:
    """Make one of our chains, with its hook, if it is not there."""
    if chain == FORWARD:
        return new_chain(family, table, chain, hook=(HOOK_FORWARD, PRIORITY_FILTER))
    if chain == TPROXY:  # before NAT, which would change where the packet goes
        return new_chain(family, table, chain, hook=(HOOK_PREROUTING, PRIORITY_MANGLE))
    return new_nat_chain(family, table, chain, *CHAINS[chain])


def compiled(spec: Spec, families: tuple[int, ...]) -> Iterator[tuple[int, str, bytes]]:
    """The rules that a spec becomes, as ``(family of the table, chain, expressions)``.

    ``families`` are those of the tables: inet alone, or ip and ip6, where a spec of neither needs both.
    """
    if isinstance(spec, ForwardSpec):
        yield from forward_rules(spec, families)
        return
    for part in [each for target in spec.parts() for each in target.one_to_one()]:
        for family in families:
            if family != NFPROTO_INET and part.family not in (None, _VERSION[family]):
                continue
            if part.hook == TPROXY:
                yield family, part.hook, _held_already(part, family)
            content = expressions(part, family)
            yield family, part.hook, content
            if part.local:
                yield family, "output", content
            if part.hook == TPROXY:  # what no socket took would pass: as with iptables, it does not
                yield family, part.hook, _matches(part, family) + nft.verdict(nft.DROP)


_VERSION = {NFPROTO_IPV4: 4, NFPROTO_IPV6: 6}


def expressions(spec: NatSpec, family: int) -> bytes:
    """The rule as ``nft`` compiles its text.

    The order is ``iifname ip saddr ip daddr oifname meta l4proto sport dport SHARE counter ACTION``.
    """
    action = _proxied(spec, family) if spec.hook == TPROXY else _action(spec)
    return _matches(spec, family) + nft.counter() + action


def _matches(spec: NatSpec, family: int) -> bytes:
    return b"".join(
        (
            _device(nft.META_IIFNAME, spec.iif),
            _family(spec) if family == NFPROTO_INET else b"",
            _address(spec, "saddr", spec.saddr),
            _address(spec, "daddr", spec.daddr),
            _device(nft.META_OIFNAME, spec.oif),
            _protocol(spec.proto),
            _ports(spec.sport, spec.dport),
            _share(spec, family),
        )
    )


def _family(spec: NatSpec) -> bytes:
    """An inet chain sees both families: say which, unless the target or the protocol says it."""
    if spec.family is None:
        return b""
    named = spec.hook != TPROXY and (spec.to is not None or _names_family(spec.proto))
    if spec.saddr is None and spec.daddr is None and named:
        return b""
    return nft.match_byte(nft.META_NFPROTO, _FAMILY[spec.family])


def _names_family(proto: Match[str] | None) -> bool:
    return proto is not None and not proto.negated and proto.value in _NAMES_ITS_FAMILY


def _device(key: int, match: Match[str] | None) -> bytes:
    return b"" if match is None else nft.match_device(key, match.value, match.negated)


def _address(spec: NatSpec, which: str, match: Match[IPNetwork] | None) -> bytes:
    if match is None:
        return b""
    others = [_network(net, which, True) for side, net in spec.outside if side == which]
    return b"".join([_network(match.value, which, match.negated), *others])


def _network(network: IPNetwork, which: str, negated: bool) -> bytes:
    offset = _ADDRESS_OFFSETS[network.version][which]
    return nft.match_network(offset, network.network_address.packed, network.prefixlen, negated)


def _protocol(match: Match[str] | None) -> bytes:
    if match is None:
        return b""
    return nft.match_byte(nft.META_L4PROTO, protocol_value(match.value), match.negated)


def _ports(sport: Match[tuple[int, int]] | None, dport: Match[tuple[int, int]] | None) -> bytes:
    if sport is not None and dport is not None and _is_one(sport) and _is_one(dport):
        return nft.match_both_ports(sport.value[0], dport.value[0])
    source = b"" if sport is None else nft.match_ports(_SPORT, *sport.value, sport.negated)
    return source + (b"" if dport is None else nft.match_ports(_DPORT, *dport.value, dport.negated))


def _is_one(match: Match[tuple[int, int]]) -> bool:
    return match.value[0] == match.value[1] and not match.negated


def _share(spec: NatSpec, family: int) -> bytes:
    """Which of the connections a target gets, where there are several."""
    if spec.share is None or spec.to is None:
        return b""
    modulus, remainder = spec.share
    if spec.spread == "jhash":
        plain = spec.saddr is None and spec.daddr is None and not _names_family(spec.proto)
        version, size = spec.to.version, len(spec.to.packed)
        number = (
            nft.match_byte(nft.META_NFPROTO, _FAMILY[version]) if plain and family == NFPROTO_INET else b""
        )
        number += nft.payload(nft.NETWORK_HEADER, _ADDRESS_OFFSETS[version]["saddr"], size, nft.REGISTER_2)
        number += nft.jhash(nft.REGISTER_2, size, modulus, _SEED)
    else:
        kind = nft.NUMGEN_INCREMENTAL if spec.spread == "inc" else nft.NUMGEN_RANDOM
        number = nft.numgen(kind, modulus)
    return number + nft.compare(remainder.to_bytes(4, byteorder))


def _flags(spec: NatSpec) -> int:
    return sum(nft.NAT_FLAGS[word] for word in spec.flags) | (nft.NAT_RANGE_NETMAP if spec.prefix else 0)


def _action(spec: NatSpec) -> bytes:
    if spec.to is not None:
        return _translation(spec, spec.to)
    loads, ports = _load_ports(spec, 1)
    act = nft.masquerade if spec.kind == "masquerade" else nft.redirect
    return loads + act(ports, _flags(spec))


def _proxied(spec: NatSpec, family: int) -> bytes:
    """To the socket of the proxy; marked, for the policy rule that has it delivered here."""
    loads, address, port = b"", None, None
    if spec.to is not None:
        loads, address = nft.immediate(spec.to.packed, 1), 1
    if spec.to_ports is not None:
        port = 1 if address is None else 2
        loads += nft.immediate(spec.to_ports[0].to_bytes(2, "big"), port)
    known = family if spec.family is None else _FAMILY[spec.family]
    proxied = nft.tproxy(NFPROTO_UNSPEC if known == NFPROTO_INET else known, address, port)
    return loads + proxied + _marked(spec)


def _held_already(spec: NatSpec, family: int) -> bytes:
    """What is for a connection of a transparent socket: one that only listens at all addresses has none."""
    one, zero = nft.compare(b"\1"), nft.compare(b"\0")
    return b"".join(
        (
            _family(spec) if family == NFPROTO_INET else b"",
            _protocol(spec.proto),
            nft.socket(nft.SOCKET_TRANSPARENT) + one,
            nft.socket(nft.SOCKET_WILDCARD) + zero,
            _marked(spec),
        )
    )


def _marked(spec: NatSpec) -> bytes:
    bits = (spec.mark or 0).to_bytes(4, byteorder)
    marked = nft.meta(nft.META_MARK) + nft.bitwise(bytes([255 - byte for byte in bits]), flipped=bits)
    return marked + nft.set_meta(nft.META_MARK) + nft.verdict(nft.ACCEPT)


def _translation(spec: NatSpec, to: IPAddress) -> bytes:
    loads = nft.immediate(to.packed, 1)
    address: Registers = (1, None)
    if spec.to_high is not None:
        loads += nft.immediate(spec.to_high.packed, 2)
        address = (1, 2)
    port_loads, ports = _load_ports(spec, 2 if spec.to_high is None else 3)
    kind = nft.SNAT if spec.kind == "snat" else nft.DNAT
    return loads + port_loads + nft.nat(kind, _FAMILY[to.version], address, ports, _flags(spec))


def _load_ports(spec: NatSpec, register: int) -> tuple[bytes, Registers | None]:
    if spec.to_ports is None:
        return b"", None
    low, high = spec.to_ports
    loads = nft.immediate(low.to_bytes(2, "big"), register)
    if low == high:
        return loads, (register, None)
    return loads + nft.immediate(high.to_bytes(2, "big"), register + 1), (register, register + 1)
