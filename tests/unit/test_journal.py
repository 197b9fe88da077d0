"""The journal's lines: what is written is read again, and whatever else comes is a clear error or a fault."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._system import journal_lines as lines
from netkit._system.entries import STAGES, read_entry
from netkit._system.journal_lines import Contents, Entry
from netkit.errors import ProtocolError

HEADER = b"netkit 1 77-abc 77 1234 4026531836 2494168a-ec3b\n"
PLACE = "4:4026531840:1"
GOOD = {
    "link": ("bridge", "77", "02:00:00:00:00:01", PLACE, "1073741824", "br0"),
    "name": (PLACE, "box", "/proc/7/fd/612"),
    "members": (PLACE, "namespace 'box'"),
    "messages": (PLACE, "route 10.0.0.0/8", "0019000402080000fe6e000100000000"),
    "sysctl": (PLACE, "net/ipv4/ip_forward", ""),
    "iptables": (PLACE, "4", "nat", "-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE", "0"),
    "chains": (PLACE, "6", "nat", "1a2b3c4d"),
    "marked": (PLACE, "2", "filter", "FORWARD", "netkit:0123456789abcdef"),
}
words = st.lists(st.text(max_size=12).filter(lambda t: "\udfff" not in t), max_size=5)


def read(data: bytes) -> Contents:
    contents = lines.read(data)
    assert contents is not None
    return contents


@given(st.lists(st.tuples(st.sampled_from(sorted(GOOD)), words), max_size=8), st.data())
def test_what_is_written_is_read_again(noted: list[tuple[str, list[str]]], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.integers(1, max(len(noted), 1))))
    text = HEADER + b"".join(lines.line(n, kind, each) for n, (kind, each) in enumerate(noted, 1))
    text += b"".join(map(lines.strike_line, gone))
    contents = read(text)
    assert not contents.faults
    assert (contents.owner, contents.pid, contents.start) == ("77-abc", 77, 1234)
    assert [(e.number, e.kind, e.words) for e in contents.entries.values()] == [
        (n, kind, tuple(each)) for n, (kind, each) in enumerate(noted, 1) if n not in gone
    ]


@given(words)
def test_a_line_is_one_line_of_ascii(each: list[str]) -> None:
    line = lines.line(5, "link", each)
    assert line.isascii()
    assert line.index(b"\n") == len(line) - 1


def test_names_that_are_no_text_come_back_as_they_were() -> None:
    name = os.fsdecode(b"caf\xe9 %41\n")
    (entry,) = read(HEADER + lines.line(1, "name", [name, ""])).entries.values()
    assert entry.words == (name, "")


@pytest.mark.parametrize("length", range(len(HEADER) + 60))
def test_F01_a_torn_journal_counts_up_to_its_last_whole_line(length: int) -> None:
    whole = HEADER + lines.line(1, "link", GOOD["link"]) + lines.strike_line(1)
    data = whole[:length]
    contents = lines.read(data)
    if length < len(HEADER):
        assert contents is None
    else:
        assert contents is not None
        assert not contents.faults
        assert len(contents.entries) == (data.count(b"\n") == 2)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_a_clear_error_or_a_fault(data: bytes) -> None:
    with suppress(ProtocolError):
        lines.read(data)
    contents = read(HEADER + data + b"\n")
    for entry in contents.entries.values():
        with suppress(ProtocolError):
            read_entry(entry)


@given(st.lists(st.text("+-0123456789 link%netkit\n", max_size=20), max_size=6))
def test_lines_that_are_nearly_right_do_no_more_harm(texts: list[str]) -> None:
    contents = read(HEADER + "\n".join(texts).encode() + b"\n")
    assert all(isinstance(fault, str) for fault in contents.faults)


@pytest.mark.parametrize(
    "header", [b"netkit 2 a 1 1 1 b", b"nothing", b"netkit 1 a x 1 1 b", b"netkit 1 a 1 1"]
)
def test_another_first_line_is_no_journal(header: bytes) -> None:
    with pytest.raises(ProtocolError, match="journal"):
        lines.read(header + b"\n")


def test_every_kind_has_a_stage_and_is_read() -> None:
    assert set(STAGES) == set(GOOD)
    for kind, said in GOOD.items():
        assert str(read_entry(Entry(1, kind, said)))


@given(st.sampled_from(sorted(GOOD)), st.integers(0, 5), st.text(max_size=30))
def test_entries_with_a_wrong_word_raise_nothing_else(kind: str, place: int, word: str) -> None:
    said = [*GOOD[kind]]
    said[place % len(said)] = word
    with suppress(ProtocolError):
        read_entry(Entry(1, kind, said))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("name", (PLACE, "../etc", "")),
        ("name", (PLACE, "", "")),
        ("sysctl", (PLACE, "kernel/panic", "")),
        ("sysctl", (PLACE, "net/../kernel/panic", "")),
        ("iptables", (PLACE, "4", "nat", "-F", "0")),
        ("marked", (PLACE, "2", "filter", "FORWARD", "theirs")),
        ("chains", (PLACE, "4", "nat", "")),
        ("chains", (PLACE, "5", "nat", "1a2b3c4d")),
        ("chains", (PLACE, "4", "nat", "-F nat x")),
        ("messages", (PLACE, "x", "zz")),
        ("link", ("veth", "-1", "-", PLACE, "3", "a")),
        ("members", ("4:5", "x")),
        ("everything", ()),
    ],
)
def test_what_netkit_never_writes_is_refused(kind: str, said: tuple[str, ...]) -> None:
    with pytest.raises(ProtocolError):
        read_entry(Entry(1, kind, said))
