"""Packets that pass a link or a namespace, caught, read and written.

    capture.py   Capture: what `link.capture()` and `ns.capture()` give
    ring.py      the kernel's ring (packet(7), TPACKET_V3), and the thread that empties it
    spool.py     the blocks that were emptied, in a file without a name, and the packets in them
    packet.py    Packet: one of them, its headers parsed when they are asked for
    headers.py   Ethernet, VLAN, ARP, IPv4, IPv6, TCP, UDP, ICMP
    filters.py   a filter in pcap's language, compiled by libpcap
    pcapng.py    files that Wireshark opens

dpkt, a parser that could do what headers.py does, has had no release since 2022; scapy takes half a second to
import, and is given packets where somebody has it (`Packet.scapy`).
"""

from __future__ import annotations

from netkit._capture.capture import Capture
from netkit._capture.packet import Packet

__all__ = ["Capture", "Packet"]
