"""Packet: one that was caught."""

from __future__ import annotations

from netkit._capture.headers import parse
from netkit._shown import Shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from netkit._capture.headers import Arp, Ethernet, Headers, Icmp, Ip, Tcp, Udp, Vlan
    from netkit._spec.addresses import IPAddress

# if_packet.h: PACKET_HOST and so on.
DIRECTIONS = {0: "in", 1: "broadcast", 2: "multicast", 3: "other", 4: "out"}
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}


class Packet(Shown):
    """A packet: when and where it was caught, its bytes, and its headers, which are parsed on first use.

    Attributes:
        time: seconds since 1970, as the kernel stamped it.
        link: the name of the device.
        direction: ``"in"``, ``"out"``, ``"broadcast"``, ``"multicast"`` or ``"other"`` (for another host).
        raw: its bytes, from the Ethernet header on, VLAN tags included.
        length: how long it was; more than ``len(raw)`` if ``snaplen`` cut it.

    A checksum that the card would fill in is not there yet in what leaves by a veth.
    """

    __slots__ = ("_found", "direction", "has_ethernet", "length", "link", "raw", "time_ns")

    def __init__(
        self, time_ns: int, link: str, direction: str, raw: bytes, length: int, has_ethernet: bool = True
    ) -> None:
        self.time_ns = time_ns
        self.link = link
        self.direction = direction
        self.raw = raw
        self.length = length
        self.has_ethernet = has_ethernet
        self._found: Headers | None = None

    @property
    def time(self) -> float:
        """When it came, in seconds since 1970; `time_ns` is exact."""
        return self.time_ns / 1e9

    @property
    def _headers(self) -> Headers:
        if self._found is None:
            self._found = parse(self.raw, self.has_ethernet)
        return self._found

    @property
    def ethernet(self) -> Ethernet | None:
        """The Ethernet header; None of a device that has none."""
        return self._headers.ethernet

    @property
    def vlans(self) -> tuple[Vlan, ...]:
        """The VLAN tags, the outer one first."""
        return self._headers.vlans

    @property
    def arp(self) -> Arp | None:
        """The ARP packet, or None."""
        return self._headers.arp

    @property
    def ip(self) -> Ip | None:
        """The IPv4 or IPv6 header, or None."""
        return self._headers.ip

    @property
    def tcp(self) -> Tcp | None:
        """The TCP header, or None."""
        return self._headers.tcp

    @property
    def udp(self) -> Udp | None:
        """The UDP header, or None."""
        return self._headers.udp

    @property
    def icmp(self) -> Icmp | None:
        """The ICMP or ICMPv6 header, or None."""
        return self._headers.icmp

    @property
    def src(self) -> IPAddress | None:
        """Where it came from: of the IP header, or of ARP."""
        found = self._headers
        if found.ip is not None:
            return found.ip.src
        return None if found.arp is None else found.arp.sender

    @property
    def dst(self) -> IPAddress | None:
        """Where it goes to."""
        found = self._headers
        if found.ip is not None:
            return found.ip.dst
        return None if found.arp is None else found.arp.target

    @property
    def payload(self) -> bytes:
        """What follows the last header that is known."""
        return self._headers.payload

    def scapy(self) -> Any:
        """The same for scapy, dissected: ``Ether(packet.raw)``. Needs the package scapy.

        Twin: ``scapy.all.rdpcap``.
        """
        from importlib import import_module

        try:
            classes: Any = import_module("scapy.all")
        except ImportError:
            from netkit.errors import UnsupportedError

            raise UnsupportedError(
                "hand a packet to scapy", 0, hint="scapy is not installed: pip install scapy"
            ) from None
        if self.has_ethernet:
            return classes.Ether(self.raw)
        return (classes.IPv6 if self.raw[:1] and self.raw[0] >> 4 == 6 else classes.IP)(self.raw)

    def __len__(self) -> int:
        return self.length

    def __bytes__(self) -> bytes:
        return self.raw

    def __str__(self) -> str:
        return f"{self.link} {self.direction} {self._described()}, length {self.length}"

    def _described(self) -> str:
        found = self._headers
        tags = "".join([f"vlan {vlan.id} " for vlan in found.vlans])
        if found.arp is not None:
            arp = found.arp
            if arp.op == 1:
                return f"{tags}arp who has {arp.target} tell {arp.sender}"
            return f"{tags}arp {arp.sender} is at {arp.sender_mac}"
        if found.ip is not None:
            return tags + _ip_text(found)
        if found.ethernet is not None:
            ethernet = found.ethernet
            return f"{tags}{ethernet.src} > {ethernet.dst} type 0x{ethernet.type:04x}"
        return "what no header is known of"

    def __repr__(self) -> str:
        return f"<Packet {self}>"


def _ip_text(found: Headers) -> str:
    ip, tcp, udp, icmp = found.ip, found.tcp, found.udp, found.icmp
    assert ip is not None
    if tcp is not None:
        return f"{_end(ip.src, tcp.sport)} > {_end(ip.dst, tcp.dport)} tcp {tcp.flags or '-'}"
    if udp is not None:
        return f"{_end(ip.src, udp.sport)} > {_end(ip.dst, udp.dport)} udp"
    proto = _PROTOCOLS.get(ip.proto, f"proto {ip.proto}")
    if icmp is not None:
        return f"{ip.src} > {ip.dst} {proto} type {icmp.type} code {icmp.code}"
    return f"{ip.src} > {ip.dst} {proto}" + (f" fragment at {ip.fragment}" if ip.fragment else "")


def _end(address: IPAddress, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
