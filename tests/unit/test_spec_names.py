from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._spec import _tables, names
from netkit.errors import SpecError

BAD_DEVICE_NAMES = [
    "",
    "a" * 16,
    "é" * 8,
    "a/b",
    "a b",
    "a\tb",
    "a\nb",
    "a\0b",
    "a:b",
    "br%d",
    ".",
    "..",
    "all",
    "default",
    "\x07",
    "\x7f",
    "à",  # its second byte, 0xa0, is a space to the kernel: EINVAL on Linux 6.18
    "\udcff",
    None,
    7,
    b"eth0",
    ["eth0"],
]


@pytest.mark.parametrize("value", BAD_DEVICE_NAMES)
def test_bad_device_names(value: object) -> None:
    with pytest.raises(SpecError, match="name"):
        names.interface_name(value)


@pytest.mark.parametrize("value", ["a", "eth0", "a" * 15, "é" * 7, "eth0.100", "-x", "veth+", "..."])
def test_good_device_names(value: str) -> None:
    assert names.interface_name(value) == value


def test_a_long_name_comes_with_one_that_fits() -> None:
    with pytest.raises(SpecError, match="has 24 bytes, 15 is the most") as caught:
        names.interface_name("container-with-long-name")
    assert names.shortened("container-with-long-name") in str(caught.value)


@given(st.text())
def test_an_accepted_device_name_obeys_the_kernels_rule(value: str) -> None:
    try:
        name = names.interface_name(value)
    except SpecError:
        return
    encoded = name.encode()
    assert name == value
    assert 1 <= len(encoded) <= 15
    # dev_valid_name() of net/core/dev.c: '/', ':' and isspace() by bytes, Latin-1 style.
    assert not set(encoded) & set(b"/:% \t\n\v\f\r\0\xa0")
    assert name not in (".", "..")


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=16))
def test_a_shortened_name_is_a_good_name_and_the_same_again(value: str) -> None:
    short = names.shortened(value)
    assert short == names.shortened(value)
    assert len(short.encode()) <= 15
    try:
        names.interface_name(value)
    except SpecError as error:
        if "bytes" in str(error):
            assert names.interface_name(short) == short


def test_alternative_names_are_longer() -> None:
    assert names.alternative_name("x" * 127) == "x" * 127
    with pytest.raises(SpecError, match="127 is the most"):
        names.alternative_name("x" * 128)


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        ".hidden",
        "-rf",
        "a/b",
        "../../tmp/x",
        "/abs",
        "a b",
        "a\0b",
        "a\n",
        "x" * 256,
        "a\u2003b",
        3,
    ],
)
def test_bad_namespace_names(value: object) -> None:
    with pytest.raises(SpecError, match="namespace name"):
        names.namespace_name(value)


@pytest.mark.parametrize("value", ["red", "x" * 255, "a.b", "a-b", "grün", "à"])
def test_good_namespace_names(value: str) -> None:
    assert names.namespace_name(value) == value


@given(st.text())
def test_an_accepted_namespace_name_stays_in_its_directory(value: str) -> None:
    try:
        name = names.namespace_name(value)
    except SpecError:
        return
    assert name == value
    assert "/" not in name
    assert "\0" not in name
    assert name[0] not in ".-"
    assert len(name.encode()) <= 255


def test_aliases() -> None:
    assert names.alias("") == ""
    assert names.alias("the uplink, port 3") == "the uplink, port 3"
    for bad in ("x" * 256, "a\0", 5, None):
        with pytest.raises(SpecError, match="alias"):
            names.alias(bad)


def test_devices_by_name_or_object() -> None:
    class Link:
        name, ifindex = "eth0", 2

    assert names.device("eth0") == "eth0"
    assert names.device(Link()) == "eth0"
    with pytest.raises(SpecError, match="no device: give its name or a Link"):
        names.device(3)


@pytest.mark.parametrize(
    ("value", "number"),
    [("main", 254), ("local", 255), ("default", 253), (100, 100), ("100", 100), (2**32 - 1,) * 2],
)
def test_tables(value: object, number: int) -> None:
    assert names.table_number(value) == number
    assert names.table_number(names.table_name(number)) == number


@pytest.mark.parametrize("value", [0, "0", -1, 2**32, True, 1.0, "no-such-table", "", None, "²", "9" * 5000])
def test_bad_tables(value: object) -> None:
    with pytest.raises(SpecError, match="table"):
        names.table_number(value)


def test_tables_named_in_files(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    root = Path(str(tmp_path))
    (root / "share").mkdir()
    (root / "etc" / "rt_tables.d").mkdir(parents=True)
    (root / "share" / "rt_tables").write_text("254 main\n100 blue\n")
    (root / "etc" / "rt_tables").write_text("# a comment\n0x65\tred # another\nbroken line here\nx y\n")
    (root / "etc" / "rt_tables.d" / "mine.conf").write_text("102 blue\n")
    (root / "etc" / "rt_tables.d" / "not-read").write_text("103 green\n")
    tables = _tables.read_tables(str(root / "etc"), str(root / "share"))
    assert tables == {"main": 254, "blue": 102, "red": 0x65}
    monkeypatch.setattr(_tables, "read_tables", lambda: tables)
    assert names.table_number("red") == 0x65


def test_scopes_protocols_and_types() -> None:
    assert names.scope_number("global") == names.scope_number("universe") == 0
    assert names.scope_number(names.scope_name(42)) == 42
    assert names.protocol_number("dhcp") == 16
    assert names.protocol_name(names.NETKIT_PROTOCOL) == "netkit"
    assert names.route_type_number("blackhole") == 6
    for check, bad in (
        (names.scope_number, "near"),
        (names.scope_number, 256),
        (names.protocol_number, "carrier-pigeon"),
        (names.protocol_number, False),
        (names.route_type, "broadcast"),
        (names.route_type, ["unicast"]),
    ):
        with pytest.raises(SpecError):
            check(bad)


@given(st.integers(0, 255))
def test_numbers_and_their_names_round_trip(number: int) -> None:
    assert names.scope_number(names.scope_name(number)) == number
    assert names.protocol_number(names.protocol_name(number)) == number
