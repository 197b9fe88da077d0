"""What the kernel is asked for besides link kinds: namespaces, routes, NAT, queueing."""

from __future__ import annotations

import os
import socket
import struct

from netkit._diagnostics.feature import Feature
from netkit._diagnostics.finding import Finding
from netkit._diagnostics.kernel import Kernel
from netkit._diagnostics.kinds import KINDS
from netkit._known import runtime_of
from netkit._namespace import Namespace
from netkit._nat.nftables_probe import probe
from netkit._nat.rule import NatRule
from netkit._netlink import nft
from netkit._netlink.wire import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Request, attribute, text
from netkit._route import RouteTable
from netkit._spec.routes import NextHop
from netkit.errors import NetkitError, UnsupportedError

_IPT_SO_GET_INFO = 64  # linux/netfilter_ipv4/ip_tables.h; ip6_tables.h has the same number
_SIZE_OF_GETINFO = 84  # struct ipt_getinfo; struct ip6t_getinfo is the same
_RTM_NEWQDISC = 36
_TC_H_ROOT = 0xFFFFFFFF


def _ipv6(netns: Namespace) -> None:
    netns.links["lo"].addresses.add("fd00:6e65::1/128")


def _rules(netns: Namespace) -> None:
    netns.rules.add(src="10.9.0.0/16", table=100, priority=1000)


def _tables(netns: Namespace) -> None:
    with RouteTable(netns, 100) as table:
        table.add("10.9.0.0/16", type="blackhole")


def _multipath(netns: Namespace) -> None:
    netns.routes.add("10.8.0.0/16", nexthops=[NextHop(dev="lo"), NextHop(dev="lo", weight=2)])


def _ping(netns: Namespace) -> None:
    if netns.ping("127.0.0.1").received != 1:
        raise UnsupportedError("ping 127.0.0.1", 95, extack="no answer to an echo request on lo")


def _netem(netns: Namespace) -> None:
    _queue(netns, "netem", struct.pack("=6I", 0, 1000, 0, 0, 0, 0))  # struct tc_netem_qopt


def _tbf(netns: Namespace) -> None:
    rate = struct.pack(
        "=BBHhHI", 0, 1, 0, 0, 0, 1_000_000
    )  # struct tc_ratespec, of Ethernet: no table needed
    options = rate + bytes(12) + struct.pack("=III", 100_000, 1_000_000, 65_536)  # struct tc_tbf_qopt
    _queue(netns, "tbf", attribute(1, options))


def _queue(netns: Namespace, discipline: str, options: bytes) -> None:
    header = struct.pack("=BxxxiIII", 0, netns.links["lo"].ifindex, 0, _TC_H_ROOT, 0)
    flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK
    body = header + text(1, discipline) + attribute(2, options)
    operation = f"add qdisc {discipline} to 'lo'"
    runtime_of(netns).route.request(Request(_RTM_NEWQDISC, flags, body, operation, None, 20))


def _nft_table(netns: Namespace) -> None:
    request = nft.new_table(nft.NFPROTO_INET, "a-table")
    runtime_of(netns).netfilter.transact(nft.transaction([request]))


def _nft_owner(netns: Namespace) -> None:
    request = nft.new_table(nft.NFPROTO_INET, "an-owned-table", owner=True)
    runtime_of(netns).netfilter.transact(nft.transaction([request]))


def _nft_masquerade(netns: Namespace) -> None:
    with NatRule.masquerade(netns, oif="lo", backend="nftables"):
        return


def _nft_dnat(netns: Namespace) -> None:
    with NatRule.dnat(netns, proto="tcp", dport=80, to="192.0.2.1:80", backend="nftables"):
        return


def _nft_redirect(netns: Namespace) -> None:
    with NatRule.redirect(netns, proto="tcp", dport=80, to=8080, backend="nftables"):
        return


def _nft_tproxy(netns: Namespace) -> None:
    with NatRule.tproxy(netns, dport=80, to=8080, family=4, backend="nftables"):
        return


def _conntrack(netns: Namespace) -> None:
    netns.sysctl["net.netfilter.nf_conntrack_max"]


def _legacy4(netns: Namespace) -> None:
    _table_info(netns, socket.AF_INET, socket.SOL_IP)


def _legacy6(netns: Namespace) -> None:
    _table_info(netns, socket.AF_INET6, socket.IPPROTO_IPV6)


def _table_info(netns: Namespace, family: int, level: int) -> None:
    """Ask for the table `nat`, which needs neither library nor lock."""
    with netns.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as asking:
        _ask_for_table(asking.fileno(), level, b"nat")


def _ask_for_table(descriptor: int, level: int, name: bytes) -> None:
    """getsockopt with a question in the buffer, which Python's does not pass on."""
    import ctypes

    buffer = ctypes.create_string_buffer(name, _SIZE_OF_GETINFO)
    length = ctypes.c_uint(_SIZE_OF_GETINFO)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(descriptor, level, _IPT_SO_GET_INFO, buffer, ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


FEATURES = [
    *KINDS,
    Feature("IPv6", _ipv6, "CONFIG_IPV6", "ipv6", "IPv6 addresses, routes and NAT"),
    Feature("policy rules", _rules, "CONFIG_IP_MULTIPLE_TABLES", "", "ns.rules"),
    Feature(
        "multiple tables", _tables, "CONFIG_IP_MULTIPLE_TABLES", "", "RouteTable with a table of your own"
    ),
    Feature("multipath routes", _multipath, "CONFIG_IP_ROUTE_MULTIPATH", "", "routes with nexthops="),
    Feature("ping (raw ICMP)", _ping, "CONFIG_INET", "", "ns.ping()"),
    Feature(
        "nf_tables inet tables",
        _nft_table,
        "CONFIG_NF_TABLES_INET",
        "nf_tables",
        "one NAT table for v4 and v6",
    ),
    Feature(
        "nf_tables owner tables",
        _nft_owner,
        "CONFIG_NF_TABLES",
        "nf_tables",
        "NAT rules that go with their process (Linux 5.12)",
    ),
    Feature(
        "nf_tables masquerade",
        _nft_masquerade,
        "CONFIG_NFT_MASQ",
        "nft_masq",
        "NatRule.masquerade by nftables",
    ),
    Feature("nf_tables dnat", _nft_dnat, "CONFIG_NFT_NAT", "nft_nat", "NatRule.dnat and .snat by nftables"),
    Feature(
        "nf_tables redirect", _nft_redirect, "CONFIG_NFT_REDIR", "nft_redir", "NatRule.redirect by nftables"
    ),
    Feature("nf_tables tproxy", _nft_tproxy, "CONFIG_NFT_TPROXY", "nft_tproxy", "NatRule.tproxy by nftables"),
    Feature("conntrack", _conntrack, "CONFIG_NF_CONNTRACK", "nf_conntrack", "NAT of any kind"),
    Feature(
        "legacy iptables nat",
        _legacy4,
        "CONFIG_IP_NF_NAT",
        "iptable_nat",
        'NatRule(backend="iptables") for IPv4',
        loader="iptables-legacy",
    ),
    Feature(
        "legacy ip6tables nat",
        _legacy6,
        "CONFIG_IP6_NF_NAT",
        "ip6table_nat",
        'NatRule(backend="iptables") for IPv6',
        loader="ip6tables-legacy",
    ),
    Feature("netem", _netem, "CONFIG_NET_SCH_NETEM", "sch_netem", "delay, loss and reordering on a link"),
    Feature("tbf", _tbf, "CONFIG_NET_SCH_TBF", "sch_tbf", "a rate on a link"),
]


def find_features() -> list[Finding]:
    """Try every feature in one throw-away namespace. Raises AccessError where none may be made."""
    kernel = Kernel()
    with Namespace() as netns:
        return [feature.find(netns, kernel) for feature in FEATURES]


def find_backends() -> list[Finding]:
    """Which NAT backends work, found by trying in a throw-away namespace."""
    with Namespace() as netns:
        return [_nftables(netns), _iptables(netns)]


def _nftables(netns: Namespace) -> Finding:
    lost = "NatRule without a library, and rules that go with their process"
    try:
        reason = probe(runtime_of(netns).netfilter)
    except (NetkitError, OSError) as problem:
        reason = str(problem)
    if reason is None:
        return Finding("nftables", "yes", "over netlink; the default")
    return Finding(
        "nftables", "no", reason, option="CONFIG_NF_TABLES, CONFIG_NFT_NAT", module="nf_tables", lost=lost
    )


def _iptables(netns: Namespace) -> Finding:
    lost = 'NatRule(backend="iptables"): rules beside those of other users of iptables-legacy'
    try:
        with NatRule.masquerade(netns, oif="lo", backend="iptables"):
            return Finding("iptables", "yes", "legacy tables, through python-iptables")
    except (NetkitError, OSError) as problem:
        return Finding(
            "iptables",
            "no",
            str(problem),
            option="CONFIG_IP_NF_NAT",
            module="iptable_nat",
            package="iptables (and python-iptables from PyPI)",
            lost=lost,
        )
