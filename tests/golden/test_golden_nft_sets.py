"""Sets, maps and what looks into them are what nft(8) compiles from the text a person would write."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, NamedTuple

import pytest

from netkit._netlink import nft
from netkit._netlink import nft_expressions as e
from netkit._netlink import nft_sets as sets
from netkit._netlink.nft import NFPROTO_IPV4, NFPROTO_IPV6
from netkit._netlink.nft_sets import concatenated, element, interval
from netkit._netlink.socket import NetlinkSocket
from netkit._netlink.wire import Request
from netkit.errors import BusyError, ExistsError, NotFoundError
from tests.golden.test_golden_nft import assert_same, kernel_expressions, run_nft
from tests.harness.nftables import netfilter, sockets
from tests.harness.patience import LONG
from tests.harness.tools import needs

__all__ = ["netfilter", "sockets"]  # the fixtures

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.capable,
    needs("nft"),
]

WORDS = {NFPROTO_IPV4: "ip", NFPROTO_IPV6: "ip6"}
TCP, UDP = b"\x06", b"\x11"
SADDR, DADDR = e.payload(1, 12, 4), e.payload(1, 16, 4)
IS_TCP = e.match_byte(e.META_L4PROTO, 6)
DPORT = e.payload(e.TRANSPORT_HEADER, 2, 2)
LOCAL = e.fib(e.FIB_TYPE, e.FIB_DADDR) + e.compare(struct.pack("=I", e.TYPE_LOCAL))
ACCEPT = e.verdict(e.ACCEPT)


def ip(text: str) -> bytes:
    return ip_address(text).packed


def port(number: int) -> bytes:
    return number.to_bytes(2, "big")


class Set(NamedTuple):
    name: str
    key: tuple[str, ...]
    elements: list[bytes]
    options: dict[str, Any] = {}  # noqa: RUF012


class Case(NamedTuple):
    """What netkit sends, and nft's text for the body of the same table, with rules of chain ``c``."""

    sets: list[Set]
    rules: list[bytes]
    text: str
    family: int = NFPROTO_IPV4


def looked_up_port(register: int, offset: int = 2) -> bytes:
    return e.payload(e.TRANSPORT_HEADER, offset, 2, register)


def translated(name: str, family: int, size: int, registers: list[int], loads: bytes) -> bytes:
    address, to_port = e.field_registers(size, 2)
    found = e.lookup(name, registers[0], address)
    return LOCAL + loads + found + e.nat(e.DNAT, family, (address, None), (to_port, None))


def port_map(family: int, size: int) -> bytes:
    proto, dport = e.field_registers(1, 2)
    loads = e.meta(e.META_L4PROTO, proto) + looked_up_port(dport)
    return translated("ports", family, size, [proto], loads)


def address_map(family: int, size: int, offset: int) -> bytes:
    address, proto, dport = e.field_registers(size, 1, 2)
    loads = e.payload(1, offset, size, address) + e.meta(e.META_L4PROTO, proto) + looked_up_port(dport)
    return translated("host_ports", family, size, [address], loads)


CASES = {
    "a set of addresses": Case(
        [Set("s", ("ipv4_addr",), [element(ip("10.0.0.1")), element(ip("192.0.2.7"))])],
        [SADDR + e.lookup("s") + ACCEPT, SADDR + e.lookup("s", negated=True) + ACCEPT],
        """set s { type ipv4_addr; elements = { 10.0.0.1, 192.0.2.7 }; }
           chain c { ip saddr @s accept; ip saddr != @s accept; }""",
    ),
    "intervals": Case(
        [
            Set(
                "s",
                ("ipv4_addr",),
                [
                    element(bytes(4), ends_interval=True),
                    *interval(ip("10.0.0.0"), ip("10.255.255.255")),
                    *interval(ip("192.0.2.5"), ip("192.0.2.9")),
                    *interval(ip("240.0.0.0"), ip("255.255.255.255")),
                ],
                {"interval": True},
            )
        ],
        [DADDR + e.lookup("s") + ACCEPT],
        """set s { type ipv4_addr; flags interval;
                   elements = { 10.0.0.0/8, 192.0.2.5-192.0.2.9, 240.0.0.0/4 }; }
           chain c { ip daddr @s accept; }""",
    ),
    "a concatenation of intervals": Case(
        [
            Set(
                "s",
                ("ipv4_addr", "inet_service"),
                [
                    element(
                        concatenated(ip("10.0.0.0"), port(80)),
                        key_end=concatenated(ip("10.255.255.255"), port(90)),
                    ),
                    element(
                        concatenated(ip("192.0.2.1"), port(5)), key_end=concatenated(ip("192.0.2.1"), port(5))
                    ),
                ],
                {"interval": True},
            )
        ],
        [IS_TCP + SADDR + looked_up_port(9) + e.lookup("s") + ACCEPT],
        """set s { type ipv4_addr . inet_service; flags interval;
                   elements = { 10.0.0.0/8 . 80-90, 192.0.2.1 . 5 }; }
           chain c { ip saddr . tcp dport @s accept; }""",
    ),
    "interface names": Case(
        [Set("s", ("ifname",), [element(name.ljust(16, b"\0")) for name in (b"br0", b"a-15-byte-name0")])],
        [e.meta(e.META_IIFNAME) + e.lookup("s") + e.verdict(e.DROP)],
        """set s { type ifname; elements = { "br0", "a-15-byte-name0" }; }
           chain c { iifname @s drop; }""",
    ),
    "a map of verdicts": Case(
        [
            Set(
                "s",
                ("inet_service",),
                [
                    element(port(80), verdict=e.ACCEPT),
                    element(port(81), verdict=e.DROP),
                    element(port(82), verdict=e.JUMP, jump="other"),
                ],
                {"verdicts": True},
            )
        ],
        [IS_TCP + DPORT + e.lookup("s", result=e.VERDICT_REGISTER)],
        """chain other { }
           map s { type inet_service : verdict; elements = { 80 : accept, 81 : drop, 82 : jump other }; }
           chain c { tcp dport vmap @s; }""",
    ),
    "a set inside a rule": Case(
        [
            Set(
                "__set%d",
                ("inet_service",),
                [element(port(80)), element(port(90))],
                {"anonymous_size": 2, "number": 7},
            )
        ],
        [IS_TCP + DPORT + e.lookup("__set%d", number=7) + ACCEPT],
        "chain c { tcp dport { 80, 90 } accept; }",
    ),
    "a map inside a rule": Case(
        [
            Set(
                "__map%d",
                ("ct_state",),
                [
                    element(struct.pack("=I", 2), verdict=e.ACCEPT),
                    element(struct.pack("=I", 1), verdict=e.DROP),
                ],
                {"anonymous_size": 2, "number": 7, "verdicts": True},
            )
        ],
        [e.ct(e.CT_STATE) + e.lookup("__map%d", result=0, number=7)],
        "chain c { ct state vmap { established : accept, invalid : drop }; }",
    ),
    "published ports": Case(
        [
            Set(
                "ports",
                ("inet_proto", "inet_service"),
                [
                    element(concatenated(TCP, port(8080)), concatenated(ip("172.18.0.2"), port(80))),
                    element(concatenated(UDP, port(53)), concatenated(ip("172.18.0.3"), port(5353))),
                ],
                {"data": ("ipv4_addr", "inet_service"), "counted": True},
            ),
            Set(
                "host_ports",
                ("ipv4_addr", "inet_proto", "inet_service"),
                [
                    element(
                        concatenated(ip("192.0.2.1"), TCP, port(8080)),
                        concatenated(ip("172.18.0.2"), port(80)),
                    )
                ],
                {"data": ("ipv4_addr", "inet_service")},
            ),
        ],
        [address_map(NFPROTO_IPV4, 4, 16), port_map(NFPROTO_IPV4, 4)],
        """map ports { type inet_proto . inet_service : ipv4_addr . inet_service; counter;
                       elements = { tcp . 8080 : 172.18.0.2 . 80, udp . 53 : 172.18.0.3 . 5353 }; }
           map host_ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;
                       elements = { 192.0.2.1 . tcp . 8080 : 172.18.0.2 . 80 }; }
           chain c { type nat hook prerouting priority -100;
             fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @host_ports;
             fib daddr type local dnat ip to meta l4proto . th dport map @ports; }""",
    ),
    "published ports of IPv6": Case(
        [
            Set(
                "ports",
                ("inet_proto", "inet_service"),
                [element(concatenated(TCP, port(8080)), concatenated(ip("fd00::2"), port(80)))],
                {"data": ("ipv6_addr", "inet_service"), "counted": True},
            ),
            Set(
                "host_ports",
                ("ipv6_addr", "inet_proto", "inet_service"),
                [
                    element(
                        concatenated(ip("2001:db8::1"), TCP, port(8080)),
                        concatenated(ip("fd00::2"), port(80)),
                    )
                ],
                {"data": ("ipv6_addr", "inet_service")},
            ),
        ],
        [address_map(NFPROTO_IPV6, 16, 24), port_map(NFPROTO_IPV6, 16)],
        """map ports { type inet_proto . inet_service : ipv6_addr . inet_service; counter;
                       elements = { tcp . 8080 : fd00::2 . 80 }; }
           map host_ports { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service;
                       elements = { 2001:db8::1 . tcp . 8080 : fd00::2 . 80 }; }
           chain c { type nat hook prerouting priority -100;
             fib daddr type local dnat ip6 to ip6 daddr . meta l4proto . th dport map @host_ports;
             fib daddr type local dnat ip6 to meta l4proto . th dport map @ports; }""",
        NFPROTO_IPV6,
    ),
}


def ours(case: Case) -> list[Request]:
    family = case.family
    requests = [nft.new_table(family, "ours", owner=True, exclusive=True)]
    if "chain other" in case.text:
        requests.append(nft.new_chain(family, "ours", "other"))
    if "type nat" in case.text:
        requests.append(nft.new_nat_chain(family, "ours", "c", nft.HOOK_PREROUTING, -100))
    else:
        requests.append(nft.new_chain(family, "ours", "c"))
    for each in case.sets:
        requests.append(sets.new_set(family, "ours", each.name, each.key, **each.options))
        number = each.options.get("number")
        requests += sets.new_elements(family, "ours", each.name, each.elements, "add", number=number)
    requests += [nft.new_rule(family, "ours", "c", rule, b"", "add a rule") for rule in case.rules]
    return requests


def described(netfilter: NetlinkSocket, family: int, table: str) -> list[dict[str, object]]:
    """The sets, without what differs from table to table; of the user data what `nft list` goes by."""
    found = sets.parse_sets(netfilter.dump(sets.dump_sets(family, table)))
    for each in found:
        del each["NFTA_SET_TABLE"], each["NFTA_SET_HANDLE"]
        userdata = each.pop("NFTA_SET_USERDATA")
        assert isinstance(userdata, bytes)
        each["byte orders"] = [value for kind, value in _udata(userdata) if kind in (0, 1)]
    return sorted(found, key=lambda each: str(each["NFTA_SET_NAME"]))


def _udata(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        yield data[0], data[2 : 2 + data[1]]
        data = data[2 + data[1] :]


def elements_of(netfilter: NetlinkSocket, family: int, table: str, name: str) -> list[bytes]:
    """Each element as the kernel has it, byte for byte; a hash has no order."""
    found: list[bytes] = []
    for _, data, start, end in netfilter.dump(sets.dump_elements(family, table, name)):
        values = nft.nft_values(sets.ELEMENTS_POLICY, (0, data, start, end))
        listed = values.get("NFTA_SET_ELEM_LIST_ELEMENTS", b"")
        assert isinstance(listed, bytes)
        while listed:
            length = int.from_bytes(listed[:2], "little")
            found.append(bytes(listed[4:length]))
            listed = listed[length:]
    return sorted(found)


def in_json(family: int, table: str) -> list[Any]:
    text = run_nft("-j", "list", "table", WORDS[family], table)
    items: list[Any] = json.loads(text)["nftables"]
    for item in items:
        for value in item.values():
            value.pop("handle", None)
            value.pop("flags", None) if "table" in item else None
    return sorted([json.dumps(item).replace(f'"{table}"', '"T"') for item in items])


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_sets_are_what_nft_compiles(netfilter: NetlinkSocket, case: Case) -> None:
    netfilter.transact(nft.transaction(ours(case)))
    run_nft("-f", "-", script=f"table {WORDS[case.family]} theirs {{ {case.text} \n}}")
    try:
        mine, nfts = [described(netfilter, case.family, table) for table in ("ours", "theirs")]
        assert mine == nfts
        assert mine
        for each in mine:
            name = str(each["NFTA_SET_NAME"])
            tables = [elements_of(netfilter, case.family, table, name) for table in ("ours", "theirs")]
            assert tables[0] == tables[1]
            assert tables[0]
        assert_same(
            kernel_expressions(netfilter, "ours", case.family),
            kernel_expressions(netfilter, "theirs", case.family),
        )
        assert in_json(case.family, "ours") == in_json(case.family, "theirs")
    finally:
        run_nft("delete", "table", WORDS[case.family], "theirs")


def test_elements_come_and_go(netfilter: NetlinkSocket) -> None:
    case = CASES["published ports"]
    netfilter.transact(nft.transaction(ours(case)))
    family, key = case.family, concatenated(TCP, port(8080))
    (found,) = sets.parse_elements([netfilter.get(sets.get_element(family, "ours", "ports", key))])
    assert (found.key, found.data) == (key, concatenated(ip("172.18.0.2"), port(80)))
    assert found.counters == (0, 0)

    def change(requests: list[Request]) -> None:
        netfilter.transact(nft.transaction(requests))

    again = [element(key, concatenated(ip("172.18.0.9"), port(80)))]
    with pytest.raises(ExistsError, match="publish tcp 8080"):
        change(sets.new_elements(family, "ours", "ports", again, "publish tcp 8080", exclusive=True))
    change(sets.delete_elements(family, "ours", "ports", [element(key)], "take it back"))
    with pytest.raises(NotFoundError):
        netfilter.get(sets.get_element(family, "ours", "ports", key))
    with pytest.raises(NotFoundError):
        change(sets.delete_elements(family, "ours", "ports", [element(key)], "take it back"))
    with pytest.raises(BusyError):
        change([sets.delete_set(family, "ours", "ports")])


def test_ten_thousand_elements_are_one_transaction(netfilter: NetlinkSocket) -> None:
    """More than the length of one attribute can say."""
    keys = [concatenated(TCP, port(number)) for number in range(1, 10001)]
    key = ("inet_proto", "inet_service")
    requests = [
        nft.new_table(NFPROTO_IPV4, "ours", owner=True),
        sets.new_set(NFPROTO_IPV4, "ours", "many", key, data=("ipv4_addr",)),
        *sets.new_elements(
            NFPROTO_IPV4, "ours", "many", [element(each, ip("10.0.0.1")) for each in keys], "add many"
        ),
    ]
    assert len(requests) > 4
    netfilter.transact(nft.transaction(requests))
    dump = sets.dump_elements(NFPROTO_IPV4, "ours", "many")
    deadline = time.monotonic() + LONG
    # While the kernel still moves them to a larger hash table, a dump may miss some and have some twice.
    while sorted(each.key for each in sets.parse_elements(netfilter.dump(dump))) != sorted(keys):
        assert time.monotonic() < deadline, "the elements do not become what was added"
