"""Published ports in nf_tables: one map finds any of them, however many there are. What nft would show:

    map ports { type inet_proto . inet_service : ipv4_addr . inet_service; counter; }
    map host_ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; counter; }
    chain publish_prerouting { type nat hook prerouting priority dstnat;     # and publish_output
      fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @host_ports
      fib daddr type local dnat ip to meta l4proto . th dport map @ports
    }
    set subnets_24 { type ipv4_addr . ipv4_addr; }
    chain publish_postrouting { type nat hook postrouting priority srcnat;
      ct status dnat ip saddr 127.0.0.0/8 masquerade
      ct status dnat ip saddr & 255.255.255.0 . ip daddr & 255.255.255.0 @subnets_24 masquerade
    }
    set localnet { type ifname; }
    chain publish_guard { type filter hook prerouting priority raw;
      iifname @localnet ip daddr 127.0.0.0/8 drop
      iifname @localnet ip saddr 127.0.0.0/8 drop
    }

Who asks from the target's own subnet must be masqueraded, or the answer would go to him directly, from an
address that he did not ask; so must who asks from 127.0.0.1, or from an IPv6 link-local address (``ip6 saddr
fe80::/10``), as who asks the host's does. A device with route_localnet lets packets with
loopback addresses in from its wire as well: those are dropped, before anything else sees them.
"""

from __future__ import annotations

from struct import Struct
from sys import byteorder

from netkit._netlink import nft
from netkit._netlink import nft_expressions as e
from netkit._netlink.nft import NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.nft_sets import element, new_set
from netkit._spec.port_mapping import PROTOCOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.wire import Request
    from netkit._spec.port_mapping import Entry

PORTS, HOST_PORTS, LOCALNET = "ports", "host_ports", "localnet"
PREROUTING, OUTPUT = "publish_prerouting", "publish_output"
POSTROUTING, GUARD = "publish_postrouting", "publish_guard"

FAMILIES = {4: NFPROTO_IPV4, 6: NFPROTO_IPV6}
_ADDRESS = {NFPROTO_IPV4: ("ipv4_addr", 4), NFPROTO_IPV6: ("ipv6_addr", 16)}
_OFFSETS = {NFPROTO_IPV4: (12, 16), NFPROTO_IPV6: (8, 24)}  # of source and destination in the header
_KEY = Struct(">BxxxHxx").pack  # protocol and port, each in a register of 4 bytes
PORT_SIZE = 8  # of that: what keys end with, whether an address comes before or not
_PORT = Struct(">Hxx").pack
_LOOPBACK6 = bytes(15) + b"\x01"
_LINK_LOCAL = b"\xfe\x80" + bytes(14)


def set_of(entry: Entry) -> str:
    """The map that an entry belongs into."""
    return PORTS if entry.host_ip is None else HOST_PORTS


def key_of(entry: Entry) -> bytes:
    """What is looked up for it."""
    key = _KEY(entry[1], entry[2])
    host_ip = entry[0]
    return key if host_ip is None else host_ip + key


def port_of(key: bytes) -> tuple[str, int]:
    """The protocol and the port that a key ends with."""
    proto, number = key[-PORT_SIZE], int.from_bytes(key[-4:-2], "big")
    return next(name for name, known in PROTOCOLS.items() if known == proto), number


def data_of(entry: Entry) -> bytes:
    """What is found."""
    return entry[3] + _PORT(entry[4])


def network_element(network: bytes) -> bytes:
    """A subnet, as source and as destination."""
    return element(network + network)


def device_element(name: str) -> bytes:
    """A device that has route_localnet."""
    return element(name.encode().ljust(16, b"\0"))


# -- what a table is made of ----------------------------------------------------------


def foundation(family: int, table: str) -> list[Request]:
    """The maps, and the chains that look into them."""
    address = _ADDRESS[family][0]
    key, data = ("inet_proto", "inet_service"), (address, "inet_service")
    requests = [
        new_set(family, table, PORTS, key, data=data, counted=True),
        new_set(family, table, HOST_PORTS, (address, *key), data=data, counted=True),
        nft.new_nat_chain(family, table, PREROUTING, nft.HOOK_PREROUTING, nft.PRIORITY_DSTNAT),
        nft.new_nat_chain(family, table, OUTPUT, nft.HOOK_OUTPUT, nft.PRIORITY_DSTNAT),
        nft.new_nat_chain(family, table, POSTROUTING, nft.HOOK_POSTROUTING, nft.PRIORITY_SRCNAT),
    ]
    rules = [(PREROUTING, rule) for rule in (_by_address(family), _by_port(family))]
    if family == NFPROTO_IPV6:  # DNAT would send ::1 as the source: who connects to ::1 gets to our relay
        rules.append((OUTPUT, _to(family, _LOOPBACK6) + e.verdict(e.RETURN)))
    rules += [(OUTPUT, rule) for rule in (_by_address(family), _by_port(family))]
    from_link = _loopback(12) if family == NFPROTO_IPV4 else e.match_network(8, _LINK_LOCAL, 10)
    rules.append((POSTROUTING, _WAS_DNAT + from_link + e.masquerade()))
    return requests + [_rule(family, table, chain, content) for chain, content in rules]


def masquerading(family: int, table: str, prefix_length: int) -> list[Request]:
    """A set for the subnets of one prefix length, and the rule that looks into it."""
    address, size = _ADDRESS[family]
    source, destination = _OFFSETS[family]
    name = subnets_name(prefix_length)
    mask = ((1 << prefix_length) - 1 << size * 8 - prefix_length).to_bytes(size, "big")
    first, second = e.field_registers(size, size)
    rule = (
        _WAS_DNAT
        + e.payload(e.NETWORK_HEADER, source, size, first)
        + e.bitwise(mask, first)
        + e.payload(e.NETWORK_HEADER, destination, size, second)
        + e.bitwise(mask, second)
        + e.lookup(name, first)
        + e.masquerade()
    )
    return [new_set(family, table, name, (address, address)), _rule(family, table, POSTROUTING, rule)]


def subnets_name(prefix_length: int) -> str:
    """The set of the subnets of one prefix length."""
    return f"subnets_{prefix_length}"


def guarding(table: str) -> list[Request]:
    """A set for the devices that have route_localnet, and what it must not let in."""
    family = NFPROTO_IPV4
    by_localnet = e.meta(e.META_IIFNAME) + e.lookup(LOCALNET)
    drop = e.verdict(e.DROP)
    return [
        new_set(family, table, LOCALNET, ("ifname",)),
        nft.new_chain(family, table, GUARD, hook=(nft.HOOK_PREROUTING, nft.PRIORITY_RAW)),
        _rule(family, table, GUARD, by_localnet + _loopback(16) + drop),
        _rule(family, table, GUARD, by_localnet + _loopback(12) + drop),
    ]


def _rule(family: int, table: str, chain: str, content: bytes) -> Request:
    return nft.new_rule(family, table, chain, content, b"", f"set up published ports ({chain})")


_IS_LOCAL = e.fib(e.FIB_TYPE, e.FIB_DADDR) + e.compare(e.TYPE_LOCAL.to_bytes(4, byteorder))
_WAS_DNAT = (
    e.ct(e.CT_STATUS) + e.bitwise(e.CT_STATUS_DNAT.to_bytes(4, byteorder)) + e.compare(bytes(4), e.NEQ)
)


def _by_address(family: int) -> bytes:
    size = _ADDRESS[family][1]
    address, proto, port = e.field_registers(size, 1, 2)
    loads = e.payload(e.NETWORK_HEADER, _OFFSETS[family][1], size, address)
    return _IS_LOCAL + loads + _translation(family, HOST_PORTS, address, proto, port)


def _by_port(family: int) -> bytes:
    proto, port = e.field_registers(1, 2)
    return _IS_LOCAL + _translation(family, PORTS, proto, proto, port)


def _translation(family: int, name: str, key: int, proto: int, port: int) -> bytes:
    to_address, to_port = e.field_registers(_ADDRESS[family][1], 2)
    return (
        e.meta(e.META_L4PROTO, proto)
        + e.payload(e.TRANSPORT_HEADER, 2, 2, port)
        + e.lookup(name, key, to_address)
        + e.nat(e.DNAT, family, (to_address, None), (to_port, None))
    )


def _loopback(offset: int) -> bytes:
    return e.match_network(offset, bytes((127, 0, 0, 0)), 8)


def _to(family: int, address: bytes) -> bytes:
    return e.match_network(_OFFSETS[family][1], address, len(address) * 8)
