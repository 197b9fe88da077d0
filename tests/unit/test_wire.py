"""Netlink's framing, and the tables that name and read attributes."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._netlink import policy, wire
from netkit._netlink.link import LINK_POLICY, veth
from netkit._netlink.policy import Attribute, Policy, attribute_at, choice, decode, nest
from netkit._netlink.wire import (
    HEADER,
    NLM_F_ACK,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLMSG_ERROR,
    Request,
    attribute,
    attributes,
    messages,
    nested,
    parse_acknowledgement,
    parse_done,
)
from netkit.errors import ProtocolError

kinds = st.integers(0, wire.NLA_TYPE_MASK)
members = st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=8)


def walked(data: bytes) -> list[tuple[int, bytes]]:
    return [(kind, data[begin:stop]) for kind, begin, stop in attributes(data, 0, len(data))]


# -- attributes -----------------------------------------------------------------------


@given(members)
def test_attributes_come_back(given: list[tuple[int, bytes]]) -> None:
    data = b"".join([attribute(kind, payload) for kind, payload in given])
    assert len(data) % 4 == 0
    assert walked(data) == given


@pytest.mark.parametrize(
    ("written", "size", "payload"),
    [
        (wire.u8(1, 0xFE), 5, b"\xfe"),
        (wire.u16(1, 0xFFFE), 6, struct.pack("=H", 0xFFFE)),
        (wire.u32(1, 0xFFFFFFFE), 8, struct.pack("=I", 0xFFFFFFFE)),
        (wire.u64(1, 2**64 - 2), 12, struct.pack("=Q", 2**64 - 2)),
        (wire.text(1, "löo"), 9, "löo".encode() + b"\0"),
        (wire.attribute(1, b""), 4, b""),
    ],
)
def test_each_type_has_its_length_and_padding(written: bytes, size: int, payload: bytes) -> None:
    assert struct.unpack_from("=HH", written) == (size, 1)
    assert len(written) == (size + 3) & ~3
    assert not any(written[size:])
    assert walked(written) == [(1, payload)]


@given(kinds, members)
def test_a_nest_is_marked_and_holds_its_members(kind: int, inner: list[tuple[int, bytes]]) -> None:
    data = nested(kind, *[attribute(each, payload) for each, payload in inner])
    assert struct.unpack_from("=H", data, 2)[0] == kind | wire.NLA_F_NESTED
    ((found, payload),) = walked(data)
    assert found == kind
    assert walked(payload) == inner


def test_padding_behind_the_last_attribute_is_no_attribute() -> None:
    assert walked(attribute(3, b"x") + b"\0\0") == [(3, b"x")]
    with pytest.raises(ProtocolError, match="2 bytes are left"):
        walked(attribute(3, b"x") + b"\0\1")


@pytest.mark.parametrize("length", [0, 1, 3, 9, 0xFFFF])
def test_a_length_that_cannot_be_is_refused(length: int) -> None:
    """A length under four would never end."""
    with pytest.raises(ProtocolError, match=f"claims {length} bytes of 8"):
        walked(struct.pack("=HHI", length, 5, 0))


@given(st.binary(max_size=120))
def test_nonsense_ends(data: bytes) -> None:
    with suppress(ProtocolError):
        assert len(walked(data)) <= len(data) // 4
    with suppress(ProtocolError):
        assert len(list(messages(data))) <= len(data) // 16


# -- messages -------------------------------------------------------------------------


def message(kind: int, flags: int, body: bytes, sequence: int = 7) -> bytes:
    data = HEADER.pack(16 + len(body), kind, flags, sequence, 0) + body
    return data + bytes(-len(data) % 4)


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_messages_come_back(bodies: list[bytes]) -> None:
    data = b"".join([message(20 + n, n, body, sequence=n) for n, body in enumerate(bodies)])
    found = [(kind, flags, sequence, data[a:b]) for kind, flags, sequence, a, b in messages(data)]
    assert found == [(20 + n, n, n, body) for n, body in enumerate(bodies)]


def test_every_cut_of_a_message_is_refused() -> None:
    whole = message(20, 0, b"twelve bytes")
    for size in range(1, len(whole)):
        with pytest.raises(ProtocolError):
            list(messages(whole[:size]))


@pytest.mark.parametrize("length", [0, 15, 100])
def test_a_message_of_an_impossible_length(length: int) -> None:
    with pytest.raises(ProtocolError, match=f"claims {length} bytes"):
        list(messages(HEADER.pack(length, 20, 0, 0, 0)))


def test_a_request_is_packed_with_its_length_and_number() -> None:
    request = Request(16, NLM_F_ACK, b"12345678", "create veth 'a'")
    assert HEADER.unpack_from(request.pack(99, 1)) == (24, 16, NLM_F_ACK | 1, 99, 0)
    assert request.pack(99, 1)[16:] == b"12345678"
    assert repr(request) == "Request(\"create veth 'a'\", type=16, flags=0x4, 8 bytes)"


# -- acknowledgements ------------------------------------------------------------------


def acknowledgement(error: int, flags: int = 0, extended: bytes = b"", copied: bytes = bytes(16)) -> bytes:
    return message(NLMSG_ERROR, flags, struct.pack("=i", error) + copied + extended)


def refusal_of(data: bytes) -> wire.Refusal | None:
    ((_, flags, _, start, end),) = messages(data)
    return parse_acknowledgement(data, flags, start, end)


def test_success_is_none() -> None:
    assert refusal_of(acknowledgement(0)) is None


def test_an_error_without_words() -> None:
    refusal = refusal_of(acknowledgement(-17))
    assert refusal is not None
    assert (refusal.errno, refusal.text, refusal.offset, refusal.missing) == (17, None, None, None)
    assert repr(refusal) == "Refusal(errno=17, text=None, offset=None)"


EXTENDED = wire.text(1, "no such thing\n") + wire.u32(2, 36) + wire.u32(5, 3)


@pytest.mark.parametrize("capped", [True, False])
def test_an_error_with_words(capped: bool) -> None:
    copied = HEADER.pack(33, 16, 0, 0, 0) + (b"" if capped else b"seventeen bytes..".ljust(20, b"\0"))
    flags = NLM_F_ACK_TLVS | (NLM_F_CAPPED if capped else 0)
    refusal = refusal_of(acknowledgement(-22, flags, EXTENDED, copied))
    assert refusal is not None
    assert (refusal.errno, refusal.text) == (22, "no such thing")
    assert (refusal.offset, refusal.missing) == (36, 3)


def test_acknowledgements_that_cannot_be() -> None:
    with pytest.raises(ProtocolError, match="positive error 5"):
        refusal_of(acknowledgement(5))
    with pytest.raises(ProtocolError, match="too short"):
        parse_acknowledgement(b"\0\0\0\0", 0, 0, 4)
    with pytest.raises(ProtocolError, match="longer than itself"):
        refusal_of(acknowledgement(-5, NLM_F_ACK_TLVS, b"", HEADER.pack(9999, 0, 0, 0, 0)))


@given(st.integers(-200, 0), st.sampled_from([0, NLM_F_ACK_TLVS, NLM_F_ACK_TLVS | NLM_F_CAPPED]), st.binary())
def test_hostile_acknowledgements(error: int, flags: int, extended: bytes) -> None:
    with suppress(ProtocolError):
        refusal = refusal_of(acknowledgement(error, flags, extended))
        assert (refusal is None) == (error == 0)


def test_the_end_of_a_dump() -> None:
    assert parse_done(b"", 0, 0, 0) is None
    assert parse_done(struct.pack("=i", 0), 0, 0, 4) is None
    data = struct.pack("=i", -16) + EXTENDED
    refusal = parse_done(data, NLM_F_ACK_TLVS, 0, len(data))
    assert refusal is not None
    assert (refusal.errno, refusal.text) == (16, "no such thing")


# -- tables ----------------------------------------------------------------------------

INNER: Policy = {1: Attribute("TEXT", policy.text), 2: Attribute("NUMBER", policy.u32)}
TABLE: Policy = {
    1: Attribute("U8", policy.u8),
    2: Attribute("U16", policy.u16),
    3: Attribute("U32", policy.u32),
    4: Attribute("S32", policy.s32),
    5: Attribute("U64", policy.u64),
    6: Attribute("BE16", policy.be16),
    7: Attribute("BE32", policy.be32),
    8: Attribute("BE64", policy.be64),
    9: Attribute("TEXT", policy.text),
    10: Attribute("BINARY", policy.binary),
    11: Attribute("MAC", policy.mac),
    12: Attribute("FLAG", policy.flag),
    13: Attribute("IP", policy.ip),
    14: nest("NEST", INNER),
    15: nest("HEADED", INNER, header=8),
    16: choice("CHOSEN", "TEXT", {"known": nest("CHOSEN", INNER)}),
}


def test_each_reader() -> None:
    data = b"".join(
        [
            wire.u8(1, 200),
            wire.u16(2, 60000),
            wire.u32(3, 4000000000),
            attribute(4, struct.pack("=i", -5)),
            wire.u64(5, 2**63),
            attribute(6, b"\x00\x50"),
            attribute(7, b"\x00\x00\x00\x51"),
            attribute(8, bytes(7) + b"\x52"),
            wire.text(9, "known"),
            attribute(10, b"\x00\x01"),
            attribute(11, bytes.fromhex("0200000000AB")),
            attribute(12, b""),
            attribute(13, bytes([10, 0, 0, 1])),
            nested(14, wire.text(1, "inside"), wire.u32(99, 1)),
            nested(15, bytes(8), wire.u32(2, 5)),
            nested(16, wire.u32(2, 6)),
        ]
    )
    assert decode(TABLE, data, 0, len(data)) == {
        "U8": 200,
        "U16": 60000,
        "U32": 4000000000,
        "S32": -5,
        "U64": 2**63,
        "BE16": 80,
        "BE32": 81,
        "BE64": 82,
        "TEXT": "known",
        "BINARY": b"\x00\x01",
        "MAC": "02:00:00:00:00:ab",
        "FLAG": True,
        "IP": "10.0.0.1",
        "NEST": {"TEXT": "inside"},
        "HEADED": {"NUMBER": 5},
        "CHOSEN": {"NUMBER": 6},
    }


@pytest.mark.parametrize(
    ("payload", "value"),
    [(bytes(15) + b"\1", "::1"), (b"", b""), (b"12345", b"12345")],
)
def test_an_ip_address_may_be_of_any_length(payload: bytes, value: object) -> None:
    data = attribute(13, payload)
    assert decode(TABLE, data, 0, len(data)) == {"IP": value}


def test_what_is_unknown_is_skipped_and_the_last_of_equal_ones_wins() -> None:
    data = wire.u32(99, 1) + wire.u8(1, 1) + wire.u8(1, 2) + nested(16, b"")
    assert decode(TABLE, data, 0, len(data)) == {"U8": 2, "CHOSEN": b""}


@pytest.mark.parametrize(
    ("kind", "size"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (6, 2), (7, 4), (8, 8), (15, 8)]
)
def test_a_payload_shorter_than_its_type_is_refused(kind: int, size: int) -> None:
    """Even if there are bytes behind it: those are the next attribute's."""
    for length in range(size):
        data = attribute(kind, bytes(length)) + attribute(10, bytes(20))
        with pytest.raises(ProtocolError, match=f"has {length} bytes"):
            decode(TABLE, data, 0, len(data))


@given(st.binary(max_size=120))
def test_nonsense_in_tables(data: bytes) -> None:
    for table in (TABLE, LINK_POLICY):
        with suppress(ProtocolError):
            decode(table, data, 0, len(data))
        for offset in range(0, len(data), 4):
            attribute_at(table, data, 0, offset)


def offset_of(request: Request, payload: bytes) -> int:
    return request.body.index(payload) - 4


def test_an_offset_is_named_down_to_the_peer_of_a_veth() -> None:
    request = veth("near", "faraway", mtu=0x11223344, peer_mtu=0x55667788)
    body, start = request.body, request.header_size
    assert request.policy is LINK_POLICY
    near, far = struct.pack("=I", 0x11223344), struct.pack("=I", 0x55667788)
    assert attribute_at(LINK_POLICY, body, start, offset_of(request, near)) == "IFLA_MTU"
    peer = "IFLA_LINKINFO.IFLA_INFO_DATA.VETH_INFO_PEER"
    assert attribute_at(LINK_POLICY, body, start, offset_of(request, far)) == f"{peer}.IFLA_MTU"
    assert attribute_at(LINK_POLICY, body, start, offset_of(request, b"faraway")) == f"{peer}.IFLA_IFNAME"
    assert attribute_at(LINK_POLICY, body, start, len(body) + 4) is None
    assert attribute_at(None, body, start, start) is None


def test_an_offset_without_a_name() -> None:
    body = wire.u32(99, 1) + nested(16, wire.u32(2, 6))
    assert attribute_at(TABLE, body, 0, 0) == "attribute 99"
    assert attribute_at(TABLE, body, 0, 12) == "CHOSEN", "nothing before it says what it holds"
    assert attribute_at(TABLE, b"\xff\xff\1\0", 0, 0) is None
