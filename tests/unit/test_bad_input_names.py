"""Bad names of devices and namespaces: clear errors before any system call, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from netkit import Bridge, Namespace, NatRule, NextHop, SpecError, VethPair
from tests.unit.watched_lab import Lab, lab, refusal

__all__ = ["lab"]  # the fixture

NAMES: list[tuple[object, str]] = [
    ("", "is empty"),
    ("a" * 16, "has 16 bytes, 15 is the most"),
    ("é" * 8, "has 16 bytes, 15 is the most"),
    ("a/b", "contains '/'"),
    ("a b", "contains a space"),
    ("a\0b", "contains NUL"),
    ("a\nb", "contains a newline"),
    (".", "is a directory"),
    ("..", "is a directory"),
    ("br%d", "contains '%'"),
    ("a:b", "contains ':'"),
    (None, "is a NoneType"),
    (7, "is an int"),
    (True, "is a bool"),
    (b"eth0", "is a bytes"),
]

NAMED: dict[str, Callable[[Lab, Any], object]] = {
    "veth": lambda lab, name: VethPair(lab.host, lab.box, name=name, peer_name="b"),
    "veth's peer": lambda lab, name: VethPair(lab.host, lab.box, name="a", peer_name=name),
    "bridge": lambda lab, name: Bridge(lab.host, name),
    "Bridge.open": lambda lab, name: Bridge.open(lab.host, name),
    "rename": lambda lab, name: lab.eth0.rename(name),
    "bridge.connect": lambda lab, name: lab.bridge.connect(lab.box, name=name),
    "bridge.connect's peer": lambda lab, name: lab.bridge.connect(lab.box, name="v", peer_name=name),
    "ns.connect": lambda lab, name: lab.host.connect(lab.box, name=name, peer_name="b"),
    "neighbour's dev": lambda lab, name: lab.host.neighbours.add(
        "10.0.0.9", mac="02:00:00:00:00:01", dev=name
    ),
    "fdb's dev": lambda lab, name: lab.bridge.fdb.add("02:00:00:00:00:01", dev=name),
}


@pytest.mark.parametrize(("value", "rule"), NAMES, ids=[repr(value) for value, _ in NAMES])
@pytest.mark.parametrize("where", NAMED)
def test_F41_device_names(lab: Lab, where: str, value: Any, rule: str) -> None:
    message = refusal(lab, lambda lab: NAMED[where](lab, value), SpecError)
    if where.endswith("dev") and not isinstance(value, str):
        assert "is no device: give its name or a Link" in message
    else:
        assert rule in message
    assert repr(value) in message


OPTIONAL_DEVICES: dict[str, Callable[[Lab, Any], object]] = {
    "route's dev": lambda lab, name: lab.host.routes.add("10.9.0.0/16", dev=name),
    "next hop's dev": lambda lab, name: NextHop(dev=name),
    "rule's iif": lambda lab, name: lab.host.rules.add(iif=name, table=100),
    "rule's oif": lambda lab, name: lab.host.rules.add(oif=name, table=100),
    "routes.get's oif": lambda lab, name: lab.host.routes.get("10.0.0.1", oif=name),
    "masquerade's oif": lambda lab, name: NatRule.masquerade(lab.host, oif=name),
    "dnat's iif": lambda lab, name: NatRule.dnat(lab.host, iif=name, to="10.0.0.2"),
}


@pytest.mark.parametrize(("value", "rule"), [each for each in NAMES if isinstance(each[0], str)], ids=repr)
@pytest.mark.parametrize("where", OPTIONAL_DEVICES)
def test_names_of_optional_devices(lab: Lab, where: str, value: str, rule: str) -> None:
    assert rule in refusal(lab, lambda lab: OPTIONAL_DEVICES[where](lab, value), SpecError)


@pytest.mark.parametrize("where", OPTIONAL_DEVICES)
def test_a_device_is_a_name_or_a_link(lab: Lab, where: str) -> None:
    message = refusal(lab, lambda lab: OPTIONAL_DEVICES[where](lab, 3), SpecError)
    assert "3 is no device: give its name or a Link" in message


LONG = "a" * 128


@pytest.mark.parametrize(
    ("value", "rule"),
    [("", "is empty"), (LONG, "has 128 bytes, 127 is the most"), ("a/b", "contains '/'"), ("a%", "'%'")],
)
def test_alternative_names(lab: Lab, value: str, rule: str) -> None:
    assert rule in refusal(lab, lambda lab: lab.eth0.altnames.add(value), SpecError)
    assert rule in refusal(lab, lambda lab: lab.host.links[value], SpecError)
    assert rule in refusal(lab, lambda lab: lab.host.link(value), SpecError)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "is empty"),
        (".", "begins with '.'"),
        ("..", "begins with '.'"),
        ("../../etc/passwd", "contains '/'"),
        ("/tmp/x", "contains '/'"),
        ("a/b", "contains '/'"),
        (".hidden", "begins with '.'"),
        ("-rf", "begins with '-'"),
        ("a b", "contains a space"),
        ("a\0b", "contains NUL"),
        ("a\nb", "contains a newline"),
        ("x" * 256, "has 256 bytes, 255 is the most"),
        (5, "is an int"),
        (b"red", "is a bytes"),
    ],
)
def test_namespace_names(lab: Lab, value: Any, rule: str) -> None:
    assert rule in refusal(lab, lambda lab: Namespace(value), SpecError)
    assert rule in refusal(lab, lambda lab: Namespace(value, persistent=True), SpecError)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "give a str or a Path"),
        (".", "is no name in /run/netns"),
        ("..", "is no name in /run/netns"),
        ("a\0b", "without NUL"),
        ("\ud800", "cannot be written in UTF-8"),
        ("/run/\ud800", "cannot be written in UTF-8"),
    ],
)
def test_opening_by_a_bad_name(lab: Lab, value: str, rule: str) -> None:
    message = refusal(lab, lambda lab: Namespace.open(value), SpecError)
    assert (repr(value) in message, rule in message) == (True, True), message


def test_opening_by_a_name_that_no_file_can_have(lab: Lab) -> None:
    assert "has 256 bytes, 255 is the most" in refusal(lab, lambda lab: Namespace.open("x" * 256), SpecError)
