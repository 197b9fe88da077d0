"""Reports about links: what is reported is what is read."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._netlink import wire
from netkit._netlink.link import new_link, parse_link, set_link
from netkit._netlink.wire import attribute, nested
from netkit.errors import ProtocolError
from tests.unit.codec_values import U32, macs, names, reply


@given(
    names,
    st.integers(1, 2**31 - 1),
    st.integers(0, U32),
    st.integers(0, U32),
    st.none() | macs,
    st.none() | names,
    st.lists(names, max_size=3),
    st.integers(-1, 2**31 - 1),
)
def test_a_report_is_read(
    name: str,
    index: int,
    flags: int,
    number: int,
    mac: str | None,
    alias: str | None,
    altnames: list[str],
    nsid: int,
) -> None:
    members = [
        wire.text(3, name),
        wire.u32(4, number),
        wire.u32(5, number),
        wire.text(6, "noqueue"),
        wire.u32(10, number),
        wire.u32(13, number),
        wire.u8(16, 6),
        wire.u32(27, number),
        wire.u8(33, 1),
        attribute(37, struct.pack("=i", nsid)),
        attribute(23, struct.pack("=24Q", *range(24))),
        nested(18, wire.text(1, "veth"), wire.text(4, "bridge"), nested(5, wire.u8(4, 1))),
        nested(52, *[wire.text(53, each) for each in altnames]),
    ]
    members += [] if mac is None else [attribute(1, bytes.fromhex(mac.replace(":", "")))]
    members += [] if alias is None else [attribute(20, alias.encode())]
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0) + b"".join(members)
    link = parse_link((16, memoryview(body), 0, len(body)))
    assert (link.name, link.index, link.flags, link.mac) == (name, index, flags, mac)
    assert (link.mtu, link.link, link.master, link.txqlen, link.group) == (number,) * 5
    assert (link.alias, link.altnames, link.link_netnsid) == (alias, tuple(altnames), nsid)
    assert (link.kind, link.slave_kind, link.qdisc) == ("veth", "bridge", "noqueue")
    assert (link.operstate, link.carrier) == (6, True)
    assert (link.port, link.data, link.bridge) == ({"IFLA_BRPORT_MODE": 1}, {}, {})
    assert link.stats == type(link.stats)(*range(10))
    assert link.stats.rx_packets == 0
    assert link.stats.collisions == 9


def test_what_a_link_may_lack() -> None:
    link = parse_link(reply(new_link("x", "dummy", mtu=5)))
    assert (link.name, link.kind, link.mtu, link.carrier, link.operstate) == ("x", "dummy", 5, False, 0)
    assert (link.mac, link.master, link.link, link.link_netnsid, link.alias, link.qdisc) == (None,) * 6
    assert (link.altnames, link.txqlen, link.group) == ((), 0, 0)
    for missing in (new_link("x", "dummy"), set_link(1, mtu=5)):
        with pytest.raises(ProtocolError, match="a link without attribute"):
            parse_link(reply(missing))


def test_bytes_that_are_no_text_do_not_stop_a_dump() -> None:
    """The kernel takes any bytes for a name; what is not UTF-8 is shown with marks."""
    body = bytes(16) + attribute(3, b"\xff\xfe\0") + wire.u32(4, 1)
    assert parse_link((16, memoryview(body), 0, len(body))).name == "��"
