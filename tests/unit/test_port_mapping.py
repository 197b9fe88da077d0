"""What can be published, as values; and the bytes of connection tracking. No privilege needed."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netkit import SpecError
from netkit._nat.publish_many import parse_many
from netkit._nat.publish_part import Part
from netkit._nat.publish_rules import data_of, key_of
from netkit._nat.publish_specs import Specs
from netkit._nat.publish_targets import parse_mappings
from netkit._netlink import conntrack
from netkit._netlink.nft_elements import parse_elements_list
from netkit._netlink.nft_sets import concatenated, element, interval, mapped_elements, size_of
from netkit._netlink.wire import attribute, nested, u8
from netkit._spec.port_mapping import Entry, PublishSpec
from netkit.errors import ProtocolError

PORT = st.integers(1, 65535)


@given(
    low=PORT,
    many=st.integers(1, 50),
    to_low=PORT,
    protos=st.sets(st.sampled_from(["tcp", "udp", "sctp"]), min_size=1),
)
def test_ranges_are_mapped_one_to_one(low: int, many: int, to_low: int, protos: set[str]) -> None:
    many = min(many, 65536 - low, 65536 - to_low)
    to = f"10.0.0.2:{to_low}-{to_low + many - 1}"
    spec = PublishSpec(f"{low}-{low + many - 1}", to=to, proto=protos)
    entries = list(spec.entries())
    assert len(entries) == many * len(protos)
    assert {entry.target_port - entry.port for entry in entries} == {to_low - low}
    assert {entry.proto_name for entry in entries} == protos
    assert all(entry.host_ip is None and entry.version == 4 for entry in entries)
    assert len({key_of(entry) for entry in entries}) == len(entries)
    assert pickle.loads(pickle.dumps(spec)) == spec


@given(low=PORT, high=PORT, to_low=PORT, to_high=PORT)
def test_of_unequal_length_they_are_refused(low: int, high: int, to_low: int, to_high: int) -> None:
    low, high, to_low, to_high = *sorted([low, high]), *sorted([to_low, to_high])
    if high - low == to_high - to_low:
        high = low
        to_high = to_low + 1 if to_low < 65535 else to_low
        to_low = to_high - 1
    with pytest.raises(SpecError, match="mapped one to one"):
        PublishSpec((low, high), to=f"10.0.0.2:{to_low}-{to_high}")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (PublishSpec(80, to="10.0.0.2"), "tcp 80 -> 10.0.0.2:80"),
        (PublishSpec("80", to=("10.0.0.2", 8080)), "tcp 80 -> 10.0.0.2:8080"),
        (PublishSpec(53, to="[fd00::2]:53", proto=("udp", "tcp")), "udp/tcp 53 -> [fd00::2]:53"),
        (PublishSpec("1-3", to="10.0.0.2:7-9", host_ip="127.0.0.1"), "tcp 127.0.0.1:1-3 -> 10.0.0.2:7-9"),
        (PublishSpec(80, to="fd00::2", host_ip="::1"), "tcp [::1]:80 -> [fd00::2]:80"),
        (PublishSpec(80, to_port=8080), "tcp 80 -> :8080"),
    ],
)
def test_words(spec: PublishSpec, text: str) -> None:
    assert str(spec) == text
    assert repr(spec) == f"<PublishSpec {text}>"


def test_any_address_of_one_family_is_no_address() -> None:
    (entry,) = PublishSpec(80, to="10.0.0.2", host_ip="0.0.0.0").entries()
    assert entry.host_ip is None
    (entry,) = PublishSpec(80, to="10.0.0.2", host_ip="10.0.0.1").entries()
    assert entry.host_ip == bytes((10, 0, 0, 1))


def test_keys_and_data_are_whole_registers() -> None:
    target = bytes((10, 0, 0, 2))
    entry = Entry((None, 6, 8080, target, 80))
    assert key_of(entry) == concatenated(b"\x06", (8080).to_bytes(2, "big"))
    assert data_of(entry) == target + concatenated((80).to_bytes(2, "big"))
    assert len(key_of(entry)) == size_of(("inet_proto", "inet_service"))
    spec = PublishSpec(8080, to="10.0.0.2:80")
    assert Part(Specs([spec])).twice is None
    assert Part(Specs([spec, spec])).twice == entry


TARGETS = st.sampled_from(
    [
        "10.0.0.2",
        "10.0.1.7",
        "[fd00::2]",
        "127.0.0.1",
        "224.0.0.1",
        "0.0.0.0",
        "fd00::2",
        "10.0.0.2-10.0.0.9",
        "box",
    ]
)
TARGET_PORTS = st.sampled_from(
    ["80", "080", "0", "65535", "65536", "1-2", " 80", "", "8_0", "\u0661", "99999999"]
)
PAIRS = st.lists(
    st.tuples(st.integers(-1, 12) | st.just(70000) | st.just(True), st.tuples(TARGETS, TARGET_PORTS)),
    max_size=4,
)


def asked(
    pairs: list[tuple[int, str]], proto: list[str], host_ip: str | None
) -> tuple[Any, Any, Any, Any, Any] | str:
    """What is made of it one by one."""
    try:
        specs = parse_mappings(pairs, proto, host_ip).specs
    except SpecError as problem:
        return str(problem)
    return said(specs)


def said(specs: Specs) -> tuple[Any, Any, Any, Any, Any]:
    return specs.all(), specs.maps()[0], specs.targets(), specs.from_loopback(), (specs.has_udp(), str(specs))


@given(
    pairs=PAIRS,
    proto=st.sampled_from([["tcp"], ["udp", "tcp"], ["sctp", "udp", "tcp"], ["icmp"], []]),
    host_ip=st.sampled_from([None, "0.0.0.0", "10.0.0.1", "::", "::1", "fd00::1", "127.0.0.1", "224.0.0.1"]),
)
@example(pairs=[(1, ("10.0.0.2", "80")), (1, ("10.0.0.2", "81"))], proto=["tcp"], host_ip=None)
@example(pairs=[(1, ("10.0.0.2", "80")), (2, ("[fd00::2]", "81"))], proto=["tcp", "udp"], host_ip=None)
def test_many_are_what_each_is_by_itself(
    pairs: list[tuple[int, tuple[str, str]]], proto: list[str], host_ip: str | None
) -> None:
    """The quick way takes nothing that the other one refuses, and reads it in the same way."""
    given = [(port, f"{target}:{number}" if number else target) for port, (target, number) in pairs]
    many = parse_many(given, proto, host_ip)
    if many is not None:
        assert said(many) == asked(given, proto, host_ip)
        assert len(many) == len(given)


def test_what_is_plain_is_read_the_quick_way() -> None:
    given = [(port, f"10.0.{port % 3}.2:{port}") for port in range(1, 100)]
    assert parse_many(given, "tcp", None) is not None
    assert parse_many([*given, (200, "[fd00::2]:80")], ["tcp", "udp"], None) is not None
    assert parse_many(given, "tcp", "10.0.0.1") is not None
    assert parse_many([*given, (200, "10.0.0.2")], "tcp", None) is None
    assert parse_many([], "tcp", None) is None


@given(pairs=st.dictionaries(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8)))
def test_many_elements_are_those_made_one_by_one(pairs: dict[bytes, bytes]) -> None:
    assert b"".join(mapped_elements(pairs)) == b"".join([element(key, data) for key, data in pairs.items()])


def test_an_interval_up_to_the_last_value_has_no_end() -> None:
    assert len(interval(bytes(4), b"\xff\xff\xff\xff")) == 1
    assert len(interval(bytes(4), b"\xff\xff\xff\xfe")) == 2


# -- connection tracking ----------------------------------------------------------------


def way(source: bytes, destination: bytes, proto: int, sport: int, dport: int) -> bytes:
    first, second = (1, 2) if len(source) == 4 else (3, 4)
    ports = attribute(2, sport.to_bytes(2, "big")) + attribute(3, dport.to_bytes(2, "big"))
    return nested(1, attribute(first, source), attribute(second, destination)) + nested(
        2, u8(1, proto), ports
    )


def addresses(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


@given(
    ends=addresses(4).flatmap(lambda a: st.tuples(st.just(a), addresses(4)))
    | addresses(16).flatmap(lambda a: st.tuples(st.just(a), addresses(16))),
    proto=st.integers(0, 255),
    sport=st.integers(0, 65535),
    dport=st.integers(0, 65535),
)
def test_a_connection_is_read(ends: tuple[bytes, bytes], proto: int, sport: int, dport: int) -> None:
    orig = way(*ends, proto, sport, dport)
    body = (
        nested(1, orig) + nested(2, way(ends[1], ends[0], proto, dport, sport)) + attribute(12, b"\0\0\1\2")
    )
    entry = conntrack.Entry(body)
    assert (entry.orig.src, entry.orig.dst, entry.orig.proto) == (*ends, proto)
    assert (entry.orig.sport, entry.orig.dport) == (sport, dport)
    assert (entry.reply.src, entry.reply.dport) == (ends[1], sport)
    assert entry.id == 0x0102
    deletion = conntrack.delete_entry(entry)
    assert orig in deletion.body
    assert deletion.body[0] == (2 if len(ends[0]) == 4 else 10)


@given(data=st.binary(max_size=80))
def test_anything_else_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        conntrack.Entry(data)


def told(key: bytes, data: bytes | None, counter: tuple[int, int] | None, flags: int = 0) -> bytes:
    """An element as the kernel tells it."""
    members = [nested(1, attribute(1, key))]
    members += [] if data is None else [nested(2, attribute(1, data))]
    members += [attribute(3, flags.to_bytes(4, "big"))] if flags else []
    if counter is not None:
        packets, size = (number.to_bytes(8, "big") for number in counter)
        members.append(
            nested(7, attribute(1, b"counter\0"), nested(2, attribute(1, size), attribute(2, packets)))
        )
    return nested(1, *members)


ELEMENTS = st.tuples(
    st.binary(min_size=8, max_size=8) | st.binary(min_size=1, max_size=20),
    st.binary(min_size=8, max_size=8) | st.none(),
    st.tuples(st.integers(0, 1 << 63), st.integers(0, 1 << 63)) | st.none(),
)


@given(st.lists(ELEMENTS, max_size=8))
def test_elements_that_are_alike_are_read_as_the_first_one(
    elements: list[tuple[bytes, bytes | None, tuple[int, int] | None]],
) -> None:
    listed = b"".join([told(*each) for each in elements])
    assert list(parse_elements_list(listed)) == [
        (key, data, (0, 0) if counter is None else counter) for key, data, counter in elements
    ]


def test_of_elements_that_are_not_alike_each_is_read_by_itself() -> None:
    alike = told(b"k" * 8, b"d" * 8, (7, 8))
    other = told(b"l" * 8, b"e" * 8, (9, 10), flags=1)
    assert list(parse_elements_list(alike + other + alike)) == [
        (b"k" * 8, b"d" * 8, (7, 8)),
        (b"l" * 8, b"e" * 8, (9, 10)),
        (b"k" * 8, b"d" * 8, (7, 8)),
    ]
