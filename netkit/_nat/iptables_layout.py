"""The kernel's layout of a NAT rule, IPv4 and IPv6.

linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h and
linux/netfilter/{x_tables,xt_tcpudp,xt_sctp,xt_addrtype,xt_conntrack,xt_iprange,xt_statistic,xt_comment,xt_TPROXY,
xt_socket,xt_mark,nf_nat}.h; revisions are those that iptables 1.8 uses.
"""

from __future__ import annotations

import struct

# struct ipt_ip and ip6t_ip6 up to the protocol are alike but for the length of an address.
HEAD = {4: "@4s4s4s4s16s16s16s16sHBB", 6: "@16s16s16s16s16s16s16s16sHBBB3x"}
REST = "IHHIQQ0Q"  # nfcache, target_offset, next_offset, comefrom, packets, bytes
# Native alignment counts from the start of the entry, so both parts are one layout.
HEAD_SIZE = {family: struct.calcsize(layout) for family, layout in HEAD.items()}
ENTRY = {family: struct.Struct(layout + REST) for family, layout in HEAD.items()}
EXTENSION = struct.Struct("@H29sB")  # struct xt_entry_match and xt_entry_target

INVERT = {"in_interface": 0x01, "out_interface": 0x02, "src": 0x08, "dst": 0x10, "protocol": 0x40}
IP6T_F_PROTO = 0x01
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp"}
PROTOCOL_NUMBERS = {name: number for number, name in PROTOCOLS.items()}

MAP_IPS, PROTO_SPECIFIED, PROTO_OFFSET = 0x01, 0x02, 0x20
# In the order in which iptables prints them.
TARGET_FLAGS = {"--random": 0x04, "--random-fully": 0x10, "--persistent": 0x08}
RANGE4 = struct.Struct("@II4s4s2s2s")  # nf_nat_ipv4_multi_range_compat with one range
RANGE = struct.Struct("@I16s16s2s2s0I")  # nf_nat_range
RANGE2 = struct.Struct("@I16s16s2s2s2s2x")  # nf_nat_range2
TPROXY = struct.Struct("@II16s2s2x")  # xt_tproxy_target_info_v1: mark's mask and value, address, port
MARK = struct.Struct("@II")  # xt_mark_tginfo2: what is flipped, and the mask of what is cleared before
SOCKET = struct.Struct("@B")  # xt_socket_mtinfo3: flags
SOCKET_TRANSPARENT = 0x01
SCTP_LAYOUT = "@4H256sI12siII"  # dpts, spts, chunkmap (a bit per chunk type, but in words: 256 bytes)
SCTP_FLAGS = b"\xff\0\0" * 4  # flag_info: no chunk type chosen

ADDRTYPE = struct.Struct("@HHI")  # types of the source and of the destination as bits, flags
ADDRESS_TYPES = {"UNICAST": 1 << 1, "LOCAL": 1 << 2, "BROADCAST": 1 << 3, "MULTICAST": 1 << 5}
# Addresses, times and ports that are not asked for; then flags, negations, states, status; then ports again.
CONNTRACK = struct.Struct("@128x8x10x4H8x")
CONNTRACK_STATE = 0x01
# In iptables' order.
STATES = {
    "INVALID": 1, "NEW": 8, "RELATED": 4, "ESTABLISHED": 2, "UNTRACKED": 256, "SNAT": 64, "DNAT": 128,
}  # fmt: skip
IPRANGE = struct.Struct("@16s16s16s16sB3x")  # xt_iprange_mtinfo: source from, to, destination from, to, flags
IPRANGE_SRC, IPRANGE_DST, IPRANGE_SRC_INVERT, IPRANGE_DST_INVERT = 0x01, 0x02, 0x10, 0x20
STATISTIC = struct.Struct("@HHIIIQ")  # xt_statistic_info: mode, flags, every or probability, packet, count
STATISTIC_RANDOM, STATISTIC_NTH = 0, 1
COMMENT_SIZE = 256
# Of a target that is a verdict or a chain only the name counts: libiptc works out the number.
VERDICT = struct.Struct("@i4x")
