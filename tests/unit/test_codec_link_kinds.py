"""Options of any kind of link: those of our own tables, and those of pyroute2."""

from __future__ import annotations

import pytest

from netkit._netlink import wire
from netkit._netlink.link import new_link
from netkit._netlink.link_kinds import has_table, kind_data
from netkit._netlink.longtail import link_data
from netkit.errors import SpecError
from tests.unit.codec_values import said

# -- our own tables --------------------------------------------------------------------------


def test_any_kind() -> None:
    request = new_link("x", "macvlan", kind_data("macvlan", {"mode": "bridge"}), link=3, mtu=1400, index=7)
    assert said(request) == {
        "IFLA_IFNAME": "x",
        "IFLA_LINK": 3,
        "IFLA_MTU": 1400,
        "IFLA_LINKINFO": {"IFLA_INFO_KIND": "macvlan", "IFLA_INFO_DATA": {"IFLA_MACVLAN_MODE": 4}},
    }
    assert said(new_link("x", "dummy"))["IFLA_LINKINFO"] == {"IFLA_INFO_KIND": "dummy"}


@pytest.mark.parametrize(
    ("kind", "options", "by_name"),
    [
        (
            "vxlan",
            {"id": 7, "remote": "10.0.0.9", "local": "fd00::1", "ttl": 4, "dstport": 4789, "learning": False},
            {
                "IFLA_VXLAN_ID": 7,
                "IFLA_VXLAN_GROUP": "10.0.0.9",
                "IFLA_VXLAN_LOCAL6": "fd00::1",
                "IFLA_VXLAN_TTL": 4,
                "IFLA_VXLAN_PORT": 4789,
                "IFLA_VXLAN_LEARNING": 0,
            },
        ),
        ("macvtap", {"mode": "private"}, {"IFLA_MACVLAN_MODE": 1}),
        ("vlan", {"id": 99, "protocol": "802.1ad"}, {"IFLA_VLAN_ID": 99, "IFLA_VLAN_PROTOCOL": 0x88A8}),
        ("ifb", {}, {}),
    ],
)
def test_options_of_kinds(
    kind: str, options: dict[str, int | str | bool], by_name: dict[str, object]
) -> None:
    assert has_table(kind)
    info = said(new_link("x", kind, kind_data(kind, options)))["IFLA_LINKINFO"]
    assert isinstance(info, dict)
    assert info["IFLA_INFO_DATA"] == (by_name or b"")


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("nope", {}, "kind 'nope' is none of dummy, ifb"),
        ("ifb", {"id": 1}, "it has none"),
        ("vxlan", {"nope": 1}, "a vxlan has no option 'nope': id, group"),
        ("vxlan", {"id": -1}, "option id=-1 of a vxlan"),
        ("vxlan", {"id": "seven"}, "option id='seven'"),
        ("vxlan", {"remote": "10.0.0"}, "option remote='10.0.0'"),
        ("vxlan", {"dstport": 65536}, "option dstport=65536"),
        ("macvlan", {"mode": "nope"}, "not one of private, vepa"),
    ],
)
def test_options_that_a_kind_does_not_have(
    kind: str, options: dict[str, int | str | bool], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        kind_data(kind, options)
    assert has_table(kind) == (kind != "nope")


# -- the long tail -------------------------------------------------------------------------


def test_options_through_pyroute2_are_the_same() -> None:
    ours = kind_data("vxlan", {"id": 7, "remote": "10.0.0.9"})
    assert link_data("vxlan", {"IFLA_VXLAN_ID": 7, "IFLA_VXLAN_GROUP": "10.0.0.9"}) == ours
    assert link_data("vxlan", {}) == b""
    geneve = link_data("geneve", {"IFLA_GENEVE_ID": 7})
    assert geneve == wire.u32(1, 7), "a kind that we have no table for"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"IFLA_NOPE": 1}, "pyroute2 knows none of IFLA_NOPE"),
        ({"IFLA_VXLAN_ID": "x"}, "options .* of a vxlan"),
        ({"IFLA_VXLAN_GROUP": "10.0.0"}, "options .* of a vxlan"),
    ],
)
def test_options_that_pyroute2_does_not_have(options: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        link_data("vxlan", options)
