"""The headers of a packet as frozen values. Bytes that end too early end the parsing, and nothing else."""

from __future__ import annotations

from struct import Struct

from netkit._spec.addresses import address_of
from netkit._spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._spec.addresses import IPAddress

_set = object.__setattr__

ETH_ARP, ETH_IPV4, ETH_IPV6 = 0x0806, 0x0800, 0x86DD
ETH_VLANS = (0x8100, 0x88A8)
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58

_ETHERNET = Struct("!6s6sH")
_VLAN = Struct("!HH")
_ARP = Struct("!HHBBH6s4s6s4s")
_IPV4 = Struct("!BBHHHBBH4s4s")
_IPV6 = Struct("!IHBB16s16s")
_TCP = Struct("!HHIIHHHH")
_UDP = Struct("!HHHH")
_ICMP = Struct("!BBHHH")
# Extension headers whose length is in units of 8 bytes (RFC 8200, 4): hop-by-hop, routing, destination.
_IPV6_EXTENSIONS = (0, 43, 60)
_IPV6_FRAGMENT = 44
_TCP_FLAGS = "FSRPAUEC"


def mac_text(address: bytes) -> str:
    """``02:00:00:00:00:01``."""
    return address.hex(":")


class Ethernet(Value):
    """IEEE 802.3: both addresses as text, and the type of what follows, after VLAN tags."""

    __slots__ = ("dst", "src", "type")
    _fields = ("src", "dst", "type")
    src: str
    dst: str
    type: int

    def __init__(self, src: str, dst: str, type: int) -> None:
        _set(self, "src", src)
        _set(self, "dst", dst)
        _set(self, "type", type)


class Vlan(Value):
    """IEEE 802.1Q: the VLAN's number and the priority, 0 to 7."""

    __slots__ = ("id", "priority")
    _fields = ("id", "priority")
    id: int
    priority: int

    def __init__(self, id: int, priority: int) -> None:
        _set(self, "id", id)
        _set(self, "priority", priority)


class Arp(Value):
    """RFC 826, of Ethernet and IPv4: ``op`` 1 asks, 2 answers."""

    __slots__ = ("op", "sender", "sender_mac", "target", "target_mac")
    _fields = ("op", "sender", "sender_mac", "target", "target_mac")
    op: int
    sender: IPAddress
    sender_mac: str
    target: IPAddress
    target_mac: str

    def __init__(
        self, op: int, sender: IPAddress, sender_mac: str, target: IPAddress, target_mac: str
    ) -> None:
        _set(self, "op", op)
        _set(self, "sender", sender)
        _set(self, "sender_mac", sender_mac)
        _set(self, "target", target)
        _set(self, "target_mac", target_mac)


class Ip(Value):
    """IPv4 (RFC 791) or IPv6 (RFC 8200): ``ttl`` is the hop limit, ``tos`` DSCP and ECN."""

    __slots__ = ("dst", "fragment", "proto", "src", "tos", "ttl", "version")
    _fields = ("version", "src", "dst", "proto", "ttl", "tos", "fragment")
    version: int
    src: IPAddress
    dst: IPAddress
    proto: int
    ttl: int
    tos: int
    fragment: int

    def __init__(
        self, version: int, src: IPAddress, dst: IPAddress, proto: int, ttl: int, tos: int, fragment: int
    ) -> None:
        _set(self, "version", version)
        _set(self, "src", src)
        _set(self, "dst", dst)
        _set(self, "proto", proto)
        _set(self, "ttl", ttl)
        _set(self, "tos", tos)
        _set(self, "fragment", fragment)


class Tcp(Value):
    """RFC 9293: ports, numbers, window; ``flags`` as letters, ``"SA"`` for SYN and ACK."""

    __slots__ = ("ack", "dport", "flags", "seq", "sport", "window")
    _fields = ("sport", "dport", "flags", "seq", "ack", "window")
    sport: int
    dport: int
    flags: str
    seq: int
    ack: int
    window: int

    def __init__(self, sport: int, dport: int, flags: str, seq: int, ack: int, window: int) -> None:
        _set(self, "sport", sport)
        _set(self, "dport", dport)
        _set(self, "flags", flags)
        _set(self, "seq", seq)
        _set(self, "ack", ack)
        _set(self, "window", window)


class Udp(Value):
    """RFC 768."""

    __slots__ = ("dport", "sport")
    _fields = ("sport", "dport")
    sport: int
    dport: int

    def __init__(self, sport: int, dport: int) -> None:
        _set(self, "sport", sport)
        _set(self, "dport", dport)


class Icmp(Value):
    """RFC 792 or RFC 4443: type and code; identifier and sequence of an echo, else what stands there."""

    __slots__ = ("code", "identifier", "sequence", "type")
    _fields = ("type", "code", "identifier", "sequence")
    type: int
    code: int
    identifier: int
    sequence: int

    def __init__(self, type: int, code: int, identifier: int, sequence: int) -> None:
        _set(self, "type", type)
        _set(self, "code", code)
        _set(self, "identifier", identifier)
        _set(self, "sequence", sequence)


class Headers:
    """What was found, from the outside in; ``payload`` is what follows the last header that is known."""

    __slots__ = ("arp", "ethernet", "icmp", "ip", "payload", "tcp", "udp", "vlans")

    def __init__(self) -> None:
        self.ethernet: Ethernet | None = None
        self.vlans: tuple[Vlan, ...] = ()
        self.arp: Arp | None = None
        self.ip: Ip | None = None
        self.tcp: Tcp | None = None
        self.udp: Udp | None = None
        self.icmp: Icmp | None = None
        self.payload = b""


def parse(data: bytes, has_ethernet: bool = True) -> Headers:
    """The headers of a frame, or of an IP packet of a device without Ethernet (tun)."""
    found = Headers()
    if has_ethernet:
        kind, start = _ethernet(found, data)
    else:
        kind, start = {4: ETH_IPV4, 6: ETH_IPV6}.get(data[0] >> 4 if data else 0, 0), 0
    found.payload = data[start:]
    if kind == ETH_ARP:
        _arp(found, data, start)
    elif kind == ETH_IPV4:
        _ipv4(found, data, start)
    elif kind == ETH_IPV6:
        _ipv6(found, data, start)
    return found


def _ethernet(found: Headers, data: bytes) -> tuple[int, int]:
    if len(data) < _ETHERNET.size:
        return 0, 0
    dst, src, kind = _ETHERNET.unpack_from(data)
    start = _ETHERNET.size
    vlans: list[Vlan] = []
    while kind in ETH_VLANS and len(data) >= start + _VLAN.size:
        tag, kind = _VLAN.unpack_from(data, start)
        vlans.append(Vlan(tag & 0xFFF, tag >> 13))
        start += _VLAN.size
    found.ethernet, found.vlans = Ethernet(mac_text(src), mac_text(dst), kind), tuple(vlans)
    return kind, start


def _arp(found: Headers, data: bytes, start: int) -> None:
    if len(data) < start + _ARP.size:
        return
    hardware, proto, _, _, op, mac, sender, target_mac, target = _ARP.unpack_from(data, start)
    if (hardware, proto) == (1, ETH_IPV4):
        found.arp = Arp(op, address_of(sender), mac_text(mac), address_of(target), mac_text(target_mac))
        found.payload = data[start + _ARP.size :]


def _ipv4(found: Headers, data: bytes, start: int) -> None:
    if len(data) < start + _IPV4.size:
        return
    first, tos, length, _, flags, ttl, proto, _, src, dst = _IPV4.unpack_from(data, start)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < _IPV4.size:
        return
    fragment = (flags & 0x1FFF) * 8
    found.ip = Ip(4, address_of(src), address_of(dst), proto, ttl, tos, fragment)
    # A frame may be padded to 60 bytes; a length of 0 is what segmentation by the card (TSO) leaves.
    end = start + length if length >= header else len(data)
    _transport(found, data[:end], start + header, proto, fragment)


def _ipv6(found: Headers, data: bytes, start: int) -> None:
    if len(data) < start + _IPV6.size:
        return
    first, length, proto, ttl, src, dst = _IPV6.unpack_from(data, start)
    if first >> 28 != 6:
        return
    end = start + _IPV6.size + length if length else len(data)
    at, fragment = start + _IPV6.size, 0
    while proto in (*_IPV6_EXTENSIONS, _IPV6_FRAGMENT) and len(data) >= at + 8:
        following = data[at]
        if proto == _IPV6_FRAGMENT:
            fragment = int.from_bytes(data[at + 2 : at + 4], "big") & 0xFFF8
        at += 8 if proto == _IPV6_FRAGMENT else 8 + 8 * data[at + 1]
        proto = following
    found.ip = Ip(6, address_of(src), address_of(dst), proto, ttl, first >> 20 & 0xFF, fragment)
    _transport(found, data[:end], at, proto, fragment)


def _transport(found: Headers, data: bytes, start: int, proto: int, fragment: int) -> None:
    found.payload = data[start:]
    if fragment:  # only the first one has the header
        return
    left = len(data) - start
    if proto == TCP and left >= _TCP.size:
        sport, dport, seq, ack, bits, window, _, _ = _TCP.unpack_from(data, start)
        flags = "".join([name for number, name in enumerate(_TCP_FLAGS) if bits >> number & 1])
        found.tcp = Tcp(sport, dport, flags, seq, ack, window)
        found.payload = data[start + max(_TCP.size, (bits >> 12) * 4) :]
    elif proto == UDP and left >= _UDP.size:
        found.udp = Udp(*_UDP.unpack_from(data, start)[:2])
        found.payload = data[start + _UDP.size :]
    elif proto in (ICMP, ICMPV6) and left >= _ICMP.size:
        kind, code, _, identifier, sequence = _ICMP.unpack_from(data, start)
        found.icmp = Icmp(kind, code, identifier, sequence)
        found.payload = data[start + _ICMP.size :]
