"""The tables of published ports, as nft compiles them from the text that a person would write."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from netkit._nat.publish_part import Part, device_requests, entries_requests, network_requests
from netkit._nat.publish_rules import foundation
from netkit._nat.publish_specs import Specs
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.socket import NetlinkSocket
from netkit._spec.port_mapping import PublishSpec
from tests.golden.test_golden_nft import assert_same, kernel_expressions, run_nft
from tests.golden.test_golden_nft_sets import WORDS, described, elements_of, in_json
from tests.harness.nftables import netfilter, sockets
from tests.harness.tools import needs

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.capable,
    needs("nft"),
]
__all__ = ["netfilter", "sockets"]

PARTS = {
    NFPROTO_IPV4: Part(
        Specs(
            [
                PublishSpec("8080-8081", to="172.18.0.2:80-81", proto=["tcp", "udp"]),
                PublishSpec(5432, to="172.18.3.7", host_ip="127.0.0.1"),
                PublishSpec(36412, to="172.18.0.3:36422", proto="sctp"),
            ]
        ),
        [
            (NFPROTO_IPV4, ip_address("172.18.0.0").packed, 24),
            (NFPROTO_IPV4, ip_address("172.18.2.0").packed, 23),
        ],
        ["br0", "a-15-byte-name0"],
    ),
    NFPROTO_IPV6: Part(
        Specs(
            [
                PublishSpec(8080, to="[fd18::2]:80", proto=["tcp", "udp"]),
                PublishSpec(5432, to="fd18::3", host_ip="2001:db8::1"),
            ]
        ),
        [(NFPROTO_IPV6, ip_address("fd18::").packed, 64)],
    ),
}


@pytest.mark.parametrize("family", PARTS, ids=WORDS.get)
def test_the_tables_are_what_nft_compiles(netfilter: NetlinkSocket, family: int) -> None:
    part = PARTS[family]
    requests = [
        nft.new_table(family, "ours", owner=True),
        *foundation(family, "ours"),
        *network_requests("ours", part.networks, ()),
        *device_requests("ours", part.devices, guarded=False),
        *entries_requests("ours", part.maps, "ports"),
    ]
    netfilter.transact(nft.transaction(requests))
    text = (Path(__file__).parent / f"publish_{WORDS[family]}.nft").read_text()
    run_nft("-f", "-", script=text)
    try:
        assert described(netfilter, family, "ours") == described(netfilter, family, "theirs")
        for each in described(netfilter, family, "ours"):
            name = str(each["NFTA_SET_NAME"])
            mine, nfts = [elements_of(netfilter, family, table, name) for table in ("ours", "theirs")]
            assert mine == nfts
            assert mine
        assert_same(
            kernel_expressions(netfilter, "ours", family), kernel_expressions(netfilter, "theirs", family)
        )
        assert in_json(family, "ours") == in_json(family, "theirs")
    finally:
        run_nft("delete", "table", WORDS[family], "theirs")
