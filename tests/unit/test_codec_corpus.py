"""What a kernel really answered is read right; the same cut short or bent is refused, never worse.

The corpus was captured on Linux 6.18 by corpus/capture.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._netlink import fdb, neighbour, rule
from netkit._netlink.address import ADDRESS_POLICY, parse_address, parse_addresses
from netkit._netlink.bridge_record import bridge_info, port_info
from netkit._netlink.fdb import parse_fdb, parse_fdb_entries
from netkit._netlink.link import LINK_POLICY, LinkRecord, parse_link
from netkit._netlink.neighbour import NEIGHBOUR_POLICY, parse_neighbour, parse_neighbours
from netkit._netlink.policy import Policy, decode
from netkit._netlink.route import ROUTE_POLICY, parse_route, parse_routes
from netkit._netlink.route_copy import copy_of, is_for_all
from netkit._netlink.rule import RULE_POLICY, parse_rule, parse_rules
from netkit._netlink.socket import Reply
from netkit._netlink.wire import attribute, attributes, messages, parse_acknowledgement, parse_done
from netkit._spec.routes import Route
from netkit.errors import ProtocolError

CORPUS = Path(__file__).parent / "corpus"
NAMES = {1: "lo", 10: "br0", 11: "a", 12: "b"}


def replies(name: str) -> list[Reply]:
    """The objects of a file, without acknowledgements and the end of the dump."""
    data = memoryview((CORPUS / f"{name}.bin").read_bytes())
    return [(kind, data, start, end) for kind, _, _, start, end in messages(data) if kind >= 16]


def read_link(reply: Reply) -> LinkRecord:
    """A link and all that is decoded later."""
    link = parse_link(reply)
    assert repr(link)
    assert [link.data, link.bridge, link.port]
    for options in (bridge_info, port_info):
        with suppress(ProtocolError):
            repr(options(link))
    with suppress(ProtocolError):
        assert link.stats
    return link


def read_route(reply: Reply) -> Route:
    """A route, and the message that would bring it back: the same route again."""
    for parse in (is_for_all, lambda reply: copy_of(reply, "put it back")):
        with suppress(ProtocolError):
            parse(reply)
    route = parse_route(reply, NAMES)
    with suppress(ProtocolError):
        copy = copy_of(reply, "put it back").body
        again = parse_route((24, memoryview(copy), 0, len(copy)), NAMES)
        assert again == route or _has_object(reply)
    return route


def _has_object(reply: Reply) -> bool:
    """Whether it names a next-hop object, and the copy it alone (RTA_NH_ID)."""
    _, data, start, end = reply
    return any(kind == 30 for kind, _, _ in attributes(data, start + 12, end))


Parser = Callable[[Reply], object]
CODECS: dict[str, tuple[Parser, Policy, int]] = {
    "links": (read_link, LINK_POLICY, 16),
    "addresses": (parse_address, ADDRESS_POLICY, 8),
    "routes": (lambda reply: read_route(reply), ROUTE_POLICY, 12),
    "found_routes": (lambda reply: read_route(reply), ROUTE_POLICY, 12),
    "rules": (parse_rule, RULE_POLICY, 12),
    "neighbours": (lambda reply: parse_neighbour(reply, NAMES), NEIGHBOUR_POLICY, 12),
    "fdb": (lambda reply: parse_fdb(reply, NAMES), NEIGHBOUR_POLICY, 12),
}
MESSAGES = [(name, bytes(data[start:end])) for name in CODECS for _, data, start, end in replies(name)]


def read(name: str, body: bytes) -> None:
    """Read a body in every way there is; only ProtocolError may come out."""
    parser, policy, header = CODECS[name]
    for attempt in (
        lambda: parser((16, memoryview(body), 0, len(body))),
        lambda: decode(policy, body, header, len(body)),
    ):
        with suppress(ProtocolError):
            attempt()


# -- what is in it -------------------------------------------------------------------


def test_links() -> None:
    links = {link.name: link for link in map(read_link, replies("links"))}
    assert set(links) == {"lo", "br0", "a", "b", "far", "m0", "v0", "i0"}
    assert {name: link.kind for name, link in links.items()} == {
        "lo": None,
        "br0": "bridge",
        "a": "veth",
        "b": "veth",
        "far": "veth",
        "m0": "macvlan",
        "v0": "vxlan",
        "i0": "ifb",
    }
    near = links["a"]
    assert (near.index, near.mac, near.master, near.link) == (11, "02:00:00:00:00:11", 10, 12)
    assert (near.alias, near.group, near.txqlen, near.slave_kind) == ("the near end", 7, 500, "bridge")
    assert links["b"].altnames == ("the-other-end-of-the-veth", "short")
    assert (near.link_netnsid, links["far"].link_netnsid) == (None, 0)
    assert links["br0"].bridge["IFLA_BR_FORWARD_DELAY"] == 0
    assert near.port["IFLA_BRPORT_UNICAST_FLOOD"] == 1
    bridge, port = bridge_info(links["br0"]), port_info(near)
    assert bridge is not None
    assert port is not None
    assert (bridge.stp, bridge.forward_delay, bridge.hello_time, bridge.max_age) == (False, 0, 2, 20)
    assert (bridge.ageing_time, bridge.priority, bridge.mcast_snooping) == (300, 32768, True)
    assert (port.state, port.cost, port.priority, port.hairpin, port.flood) == (
        "forwarding",
        2,
        32,
        False,
        True,
    )
    assert (bridge_info(near), port_info(links["br0"]), port_info(links["b"])) == (None, None, None)
    assert links["v0"].data["IFLA_VXLAN_PORT"] == 4789
    assert links["m0"].data["IFLA_MACVLAN_MODE"] == 4
    assert (links["lo"].mtu, links["lo"].operstate, links["lo"].carrier) == (65536, 0, True)


def test_counters_come_with_every_link() -> None:
    for kind, data, start, end in replies("links"):
        assert parse_link((kind, data, start, end)).stats.rx_bytes >= 0
        bare = b"".join(
            [
                attribute(number, bytes(data[begin:stop]))
                for number, begin, stop in attributes(data, start + 16, end)
                if number != 23
            ]
        )
        without = parse_link((kind, memoryview(bytes(data[start : start + 16]) + bare), 0, 16 + len(bare)))
        with pytest.raises(ProtocolError, match="without its counters"):
            assert without.stats


def test_addresses() -> None:
    found = {str(address): (index, address) for index, address in parse_addresses(replies("addresses"))}
    assert found["10.0.0.1/24"][0] == 10
    assert str(found["10.0.0.1/24"][1].broadcast) == "10.0.0.255"
    assert found["10.0.0.2/24"][1].label == "br0:two"
    assert found["10.0.0.2/24"][1].flags == {"secondary", "permanent"}
    assert str(found["10.1.0.1/32"][1].peer) == "10.1.0.2"
    assert str(found["fd01::1/128"][1].peer) == "fd01::2"
    lasting = found["10.2.0.1/24"][1]
    assert lasting.preferred_lifetime is not None
    assert lasting.valid_lifetime is not None
    assert 1790 < lasting.preferred_lifetime <= 1800 < lasting.valid_lifetime <= 3600
    assert found["127.0.0.1/8"][1].scope == "host"
    assert "nodad" in found["fd00::1/64"][1].flags


def test_routes() -> None:
    found = {str(route) for route in parse_routes(replies("routes"), NAMES)}
    assert found >= {
        "default via 10.0.0.254 dev br0 proto boot",
        "10.9.0.0/16 via 10.0.0.253 dev br0 proto static src 10.0.0.1 metric 50 mtu 1300",
        "10.8.0.0/16 proto boot nexthop via 10.0.0.5 dev br0 weight 3 nexthop via 10.2.0.6 dev b weight 1",
        "10.7.0.0/16 via 9.9.9.9 dev br0 table 1000 proto boot onlink",
        "blackhole 10.6.0.0/16 proto boot metric 9",
        "10.5.0.0/16 via fe80::1 dev br0 proto boot",
        "10.4.0.0/16 via 10.0.0.7 dev br0 proto boot",  # by a next-hop object
        "default via fd00::2 dev br0 proto boot metric 1024",
        "fd02::/64 proto boot metric 1024 "
        "nexthop via fd00::3 dev br0 weight 2 nexthop via fd00::4 dev br0 weight 1",
        "unreachable fd03::/64 dev lo proto boot metric 1024",
        "local 10.0.0.1/32 dev br0 table local proto kernel scope host src 10.0.0.1",
    }


def test_the_kernels_own_decision() -> None:
    first, second, third, fourth = [parse_route(reply, NAMES) for reply in replies("found_routes")]
    assert (str(first.dst), str(first.via), first.dev, str(first.src)) == (
        "10.9.1.1/32",
        "10.0.0.253",
        "br0",
        "10.0.0.1",
    )
    assert (str(second.via), third.dev) == ("10.0.0.254", "br0")
    assert (fourth.type, fourth.dev, fourth.table) == ("local", "lo", 255)
    assert parse_routes(replies("found_routes"), NAMES) == [third], "the clones of IPv4 are no routes"


def test_rules() -> None:
    assert [str(found) for found in parse_rules(replies("rules"))] == [
        "0: from all lookup local",
        "50: from 10.0.0.0/8 lookup 100",
        "51: from all to 10.1.0.0/16 iif a oif b fwmark 0x1/0xff blackhole",
        "53: not from 10.99.0.0/16 lookup 101",
        "32766: from all lookup main",
        "32767: from all lookup default",
        "0: from all lookup local",
        "52: from fd00::/8 lookup 1000",
        "32766: from all lookup main",
    ]


def test_neighbours_and_forwarding_entries() -> None:
    found = {str(entry) for entry in parse_neighbours(replies("neighbours"), NAMES)}
    assert found >= {
        "10.0.0.7 dev br0 lladdr 02:00:00:00:00:07 permanent",
        "fd00::7 dev br0 lladdr 02:00:00:00:00:07 stale",
        "10.0.0.8 dev br0 failed",
    }
    entries = {str(entry) for entry in parse_fdb_entries(replies("fdb"), 10, NAMES)}
    assert entries >= {
        "02:00:00:00:00:10 dev br0 master br0 permanent",
        "02:00:00:00:00:11 dev a master br0 permanent",
        "02:00:00:00:00:77 dev a master br0 static",
    }
    assert all(" master br0 " in entry for entry in entries)
    assert len(entries) < len(replies("fdb")), "the ports' own multicast filters are not the bridge's"


def test_acknowledgements() -> None:
    data = (CORPUS / "acknowledgements.bin").read_bytes()
    refusals = [
        (parse_acknowledgement if kind == 2 else parse_done)(data, flags, start, end)
        for kind, flags, _, start, end in messages(data)
        if kind in (2, 3)
    ]
    said = [None if r is None else (r.errno, r.text, r.offset) for r in refusals]
    assert said == 2 * [
        (19, None, None),
        (22, "Invalid values in header for get link request", None),
        (34, "Attribute failed policy validation", 32),
        (2, "ipv4: FIB table does not exist", None),
        None,
    ], "with the request's copy, and capped"


def test_what_a_parser_does_not_know_is_skipped() -> None:
    """A kernel of the future: attributes of unknown numbers, and a family nobody has heard of."""
    unknown = bytes.fromhex("0c00ff3f0102030405060708")
    for name, body in MESSAGES:
        parser, policy, header = CODECS[name]
        if name == "rules" and body[0] not in (2, 10):
            continue  # a rule of multicast routing
        longer = body + bytes(-len(body) % 4) + unknown
        one, other = [parser((16, memoryview(each), 0, len(each))) for each in (body, longer)]
        if isinstance(one, LinkRecord):
            assert isinstance(other, LinkRecord)
            one, other = one.name, other.name
        assert one == other
        assert decode(policy, longer, header, len(longer)) == decode(policy, body, header, len(body))
    alien = (24, memoryview(b"\x63" + bytes(11)), 0, 12)
    assert parse_routes([alien], NAMES) == []
    assert parse_addresses([alien]) == []
    assert parse_rules([alien]) == []
    assert parse_neighbours([alien], NAMES) == []


# -- what is broken -----------------------------------------------------------------


@pytest.mark.parametrize("name", CODECS)
def test_every_truncation(name: str) -> None:
    """No cut of a message, at any byte, does worse than ProtocolError."""
    for _, data, start, end in replies(name)[:12]:
        for stop in range(start, end):
            read(name, bytes(data[start:stop]))


@pytest.mark.parametrize("name", CODECS)
def test_a_cut_header_is_refused(name: str) -> None:
    parser, _, header = CODECS[name]
    for _, data, start, _ in replies(name):
        for stop in range(start, start + header):
            with pytest.raises(ProtocolError):
                parser((16, data, start, stop))


@given(st.sampled_from(MESSAGES), st.data())
def test_flipped_bits(message: tuple[str, bytes], data: st.DataObject) -> None:
    name, body = message
    bent = bytearray(body)
    for position in data.draw(st.lists(st.integers(0, 8 * len(body) - 1), min_size=1, max_size=8)):
        bent[position // 8] ^= 1 << position % 8
    read(name, bytes(bent))


def test_many_flipped_bytes() -> None:
    """The same with less thought and more of it; the seed is fixed, so a failure comes again."""
    chance = random.Random(20240607)
    for _ in range(3000):
        name, body = chance.choice(MESSAGES)
        bent = bytearray(body)
        for _ in range(chance.choice((1, 1, 2, 8))):
            bent[chance.randrange(len(bent))] = chance.choice(
                (0, 1, 3, 4, 5, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
        read(name, bytes(bent))


@given(st.sampled_from(sorted(CODECS)), st.binary(max_size=200))
def test_nonsense(name: str, body: bytes) -> None:
    read(name, body)


@given(st.binary(max_size=200), st.integers(0, 0x3FF))
def test_nonsense_as_an_acknowledgement(body: bytes, flags: int) -> None:
    for parser in (parse_acknowledgement, parse_done):
        with suppress(ProtocolError):
            parser(body, flags, 0, len(body))


def test_nests_within_nests_end() -> None:
    """A message that is all opening brackets costs its length, not the interpreter's stack."""
    body = b""
    for _ in range(3000):
        inner = b"\x0c\x00\x01\x00veth\0\0\0\0" + _nest(2, _nest(1, bytes(16) + body))
        body = _nest(18, inner)
        if len(body) > 65000:
            break
    message = bytes(16) + body
    assert decode(LINK_POLICY, message, 16, len(message))
    read("links", message)


def _nest(kind: int, payload: bytes) -> bytes:
    return (len(payload) + 4 & 0xFFFF).to_bytes(2, "little") + kind.to_bytes(2, "little") + payload


def test_modules_share_their_numbers() -> None:
    """What is written in one file and read in another has one number."""
    assert (neighbour.NDMSG.size, rule._HEADER.size, fdb.AF_BRIDGE) == (12, 12, 7)
