"""Messages about links: what is asked is what stands in them, and what is reported is what is read."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._netlink import wire
from netkit._netlink.bridge import set_bridge, set_port
from netkit._netlink.bridge_record import bridge_info, port_info
from netkit._netlink.link import (
    LINK_POLICY,
    add_alternative_name,
    bridge,
    delete_alternative_name,
    delete_group,
    delete_link,
    get_link,
    list_links,
    new_link,
    parse_link,
    set_group_alias,
    set_link,
    veth,
)
from netkit._netlink.link_kinds import has_table, kind_data
from netkit._netlink.longtail import link_data
from netkit._netlink.policy import decode
from netkit._netlink.socket import Reply
from netkit._netlink.wire import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Request, attribute, nested
from netkit._spec.bridges import BridgeInfo, PortInfo
from netkit.errors import ProtocolError, SpecError
from tests.unit.codec_values import U32, macs, names, reply

numbers = st.none() | st.integers(0, U32)
timers = st.none() | st.integers(0, 1000) | st.floats(0, 1000)
switches = st.none() | st.booleans()


def header(request: Request) -> tuple[int, int, int]:
    """Index, flags and the flags' mask of a request; family and type are always zero."""
    family, kind, index, flags, change = struct.unpack_from("=BxHiII", request.body)
    assert (family, kind) == (0, 0), "strict checking refuses anything else"
    return index, flags, change


def said(request: Request) -> dict[str, object]:
    assert request.policy is LINK_POLICY
    return decode(LINK_POLICY, request.body, request.header_size, len(request.body))


def given_only(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


# -- creating --------------------------------------------------------------------------


@given(names, names, numbers, numbers, macs, macs, st.booleans(), st.integers(0, 2**31 - 1))
def test_veth(
    name: str, peer: str, mtu: int | None, queues: int | None, mac: str, peer_mac: str, up: bool, index: int
) -> None:
    request = veth(
        name,
        peer,
        index=index,
        peer_index=99,
        netns_fd=4,
        peer_netns_fd=5,
        mtu=mtu,
        peer_mtu=1300,
        mac=mac,
        peer_mac=peer_mac,
        group=7,
        peer_group=8,
        master=3,
        txqlen=10,
        peer_txqlen=11,
        queues=queues,
        up=up,
    )
    assert header(request) == (index, int(up), int(up))
    assert request.flags == NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    both = given_only(IFLA_NUM_TX_QUEUES=queues, IFLA_NUM_RX_QUEUES=queues)
    far = {
        "IFLA_IFNAME": peer,
        "IFLA_ADDRESS": peer_mac,
        "IFLA_MTU": 1300,
        "IFLA_TXQLEN": 11,
        "IFLA_GROUP": 8,
        "IFLA_NET_NS_FD": 5,
        **both,
    }
    assert said(request) == {
        "IFLA_IFNAME": name,
        "IFLA_ADDRESS": mac,
        "IFLA_TXQLEN": 10,
        "IFLA_GROUP": 7,
        "IFLA_MASTER": 3,
        "IFLA_NET_NS_FD": 4,
        "IFLA_LINKINFO": {"IFLA_INFO_KIND": "veth", "IFLA_INFO_DATA": {"VETH_INFO_PEER": far}},
        **both,
        **given_only(IFLA_MTU=mtu),
    }
    peer_header = struct.pack("=BxHiII", 0, 0, 99, 0, 0)
    assert peer_header in request.body, "the peer's index; it cannot be set up in the same message"
    assert request.operation == f"create veth '{name}' with peer '{peer}'"


def test_a_veth_says_nothing_that_was_not_asked() -> None:
    request = veth("a", "b")
    assert header(request) == (0, 0, 0)
    peer = {"VETH_INFO_PEER": {"IFLA_IFNAME": "b"}}
    assert said(request) == {
        "IFLA_IFNAME": "a",
        "IFLA_LINKINFO": {"IFLA_INFO_KIND": "veth", "IFLA_INFO_DATA": peer},
    }


@given(names, switches, timers, timers, timers, timers, switches, switches)
def test_bridge(
    name: str,
    stp: bool | None,
    forward_delay: float | None,
    hello_time: float | None,
    max_age: float | None,
    ageing_time: float | None,
    snooping: bool | None,
    filtering: bool | None,
) -> None:
    options = {
        "stp": stp,
        "forward_delay": forward_delay,
        "hello_time": hello_time,
        "max_age": max_age,
        "ageing_time": ageing_time,
        "mcast_snooping": snooping,
    }
    request = bridge(
        name, index=5, mac="02:00:00:00:00:05", group=6, up=True, vlan_filtering=filtering, **options
    )  # type: ignore[arg-type]
    expected = {
        "IFLA_BR_STP_STATE": stp if stp is None else int(stp),
        "IFLA_BR_FORWARD_DELAY": ticks(forward_delay),
        "IFLA_BR_HELLO_TIME": ticks(hello_time),
        "IFLA_BR_MAX_AGE": ticks(max_age),
        "IFLA_BR_AGEING_TIME": ticks(ageing_time),
        "IFLA_BR_MCAST_SNOOPING": snooping if snooping is None else int(snooping),
    }
    wanted = given_only(**expected)
    found = said(request)
    # A kernel without VLAN filtering refuses even to turn it off, so off is left out of a new bridge.
    on = {"IFLA_BR_VLAN_FILTERING": 1} if filtering else {}
    assert found["IFLA_LINKINFO"] == {"IFLA_INFO_KIND": "bridge", "IFLA_INFO_DATA": {**wanted, **on}}
    assert (found["IFLA_IFNAME"], found["IFLA_ADDRESS"], found["IFLA_GROUP"]) == (
        name,
        "02:00:00:00:00:05",
        6,
    )
    assert header(request) == (5, 1, 1)

    change = set_bridge(5, vlan_filtering=filtering, **options)  # type: ignore[arg-type]
    asked = given_only(IFLA_BR_VLAN_FILTERING=None if filtering is None else int(filtering))
    assert said(change) == {
        "IFLA_LINKINFO": {"IFLA_INFO_KIND": "bridge", "IFLA_INFO_DATA": {**wanted, **asked}}
    }
    assert change.flags == NLM_F_ACK


def ticks(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 100)


@given(
    switches, switches, switches, switches, st.none() | st.integers(1, 65535), st.none() | st.integers(0, 63)
)
def test_port(
    hairpin: bool | None,
    isolated: bool | None,
    learning: bool | None,
    flood: bool | None,
    cost: int | None,
    priority: int | None,
) -> None:
    request = set_port(
        9, hairpin=hairpin, isolated=isolated, learning=learning, flood=flood, cost=cost, priority=priority
    )
    data = given_only(
        IFLA_BRPORT_MODE=hairpin,
        IFLA_BRPORT_ISOLATED=isolated,
        IFLA_BRPORT_LEARNING=learning,
        IFLA_BRPORT_UNICAST_FLOOD=flood,
        IFLA_BRPORT_COST=cost,
        IFLA_BRPORT_PRIORITY=priority,
    )
    assert said(request) == {
        "IFLA_LINKINFO": {"IFLA_INFO_SLAVE_KIND": "bridge", "IFLA_INFO_SLAVE_DATA": data}
    }
    assert (header(request), request.flags) == ((9, 0, 0), NLM_F_ACK)


times = st.integers(0, U32).map(lambda ticks: ticks / 100)
bridges = st.builds(
    BridgeInfo, stp=st.booleans(), forward_delay=times, hello_time=times, max_age=times, ageing_time=times,
    priority=st.integers(0, 65535), mcast_snooping=st.booleans(), vlan_filtering=st.booleans(),
)  # fmt: skip


@given(bridges)
def test_a_bridge_is_read_as_it_was_asked_for(info: BridgeInfo) -> None:
    asked = bridge("br0", mtu=1500, **{name: getattr(info, name) for name in info._fields})
    assert bridge_info(parse_link(reply(asked))) == info


@given(st.integers(1, 65535), st.integers(0, 63), st.lists(st.booleans(), min_size=9, max_size=9))
def test_a_port_is_read_as_it_was_asked_for(cost: int, priority: int, switched: list[bool]) -> None:
    words = [name for name in PortInfo._fields if name not in ("state", "cost", "priority")]
    options = dict(zip(words, switched, strict=True))
    asked = set_port(5, cost=cost, priority=priority, **options)
    data = asked.body[16 + 4 + 12 + 4 :]  # behind the header, IFLA_LINKINFO, the kind, the data's own
    found = port_info(parse_link(_port_report(wire.u8(1, 2) + data)))
    assert found == PortInfo(state="learning", cost=cost, priority=priority, **options)
    assert found.state == "learning"


def test_what_a_bridge_or_port_may_lack_and_what_it_may_not() -> None:
    """Without snooping, VLANs and isolation in the kernel they are off; what always comes must come."""
    times = {"forward_delay": 1, "hello_time": 1, "max_age": 1, "ageing_time": 1}
    old = bridge_info(parse_link(reply(bridge("br0", mtu=1500, stp=True, priority=7, **times))))
    assert old is not None
    assert (old.stp, old.priority, old.mcast_snooping, old.vlan_filtering) == (True, 7, False, False)
    with pytest.raises(ProtocolError, match="IFLA_BR_FORWARD_DELAY"):
        bridge_info(parse_link(reply(bridge("br0", mtu=1500, stp=True))))
    bare = [wire.u8(1, 9), wire.u16(2, 3), wire.u32(3, 4), *[wire.u8(kind, 1) for kind in range(4, 10)]]
    port = port_info(parse_link(_port_report(b"".join(bare))))
    assert port is not None
    assert (port.state, port.priority, port.cost, port.hairpin, port.guard) == ("9", 3, 4, True, True)
    assert (port.isolated, port.mcast_flood, port.bcast_flood) == (False, True, True)
    with pytest.raises(ProtocolError, match="IFLA_BRPORT_COST"):
        port_info(parse_link(_port_report(b"".join(bare[:2]))))


def _port_report(data: bytes) -> Reply:
    info = nested(18, wire.text(4, "bridge"), nested(5, data))
    body = struct.pack("=BxHiII", 0, 1, 5, 0, 0) + wire.text(3, "p") + wire.u32(4, 1500) + info
    return 16, memoryview(body), 0, len(body)


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


# -- changing and deleting -----------------------------------------------------------------


@given(switches, numbers, st.none() | macs, st.none() | names, numbers, numbers, st.none() | names, numbers)
def test_set(
    up: bool | None,
    mtu: int | None,
    mac: str | None,
    alias: str | None,
    txqlen: int | None,
    group: int | None,
    name: str | None,
    master: int | None,
) -> None:
    request = set_link(
        5, up=up, mtu=mtu, mac=mac, alias=alias, txqlen=txqlen, group=group, name=name, master=master
    )
    assert header(request) == (5, int(bool(up)), int(up is not None)), "other flags are left alone"
    assert request.flags == NLM_F_ACK
    assert said(request) == given_only(
        IFLA_MTU=mtu,
        IFLA_ADDRESS=mac,
        IFLA_IFALIAS=alias,
        IFLA_TXQLEN=txqlen,
        IFLA_GROUP=group,
        IFLA_IFNAME=name,
        IFLA_MASTER=master,
    )


def test_an_empty_alias_is_sent_empty() -> None:
    """With a NUL it would be an alias of one byte; without anything it is removed."""
    assert attribute(20, b"") in set_link(5, alias="").body


def test_a_group_as_a_whole() -> None:
    tagged = set_group_alias(7, "ours")
    assert said(tagged) == {"IFLA_GROUP": 7, "IFLA_IFALIAS": "ours"}
    assert header(tagged) == (0, 0, 0), "no index: the kernel then takes the group"
    assert not tagged.flags & NLM_F_CREATE
    gone = delete_group(7)
    assert (said(gone), header(gone), gone.kind, gone.deleting) == ({"IFLA_GROUP": 7}, (0, 0, 0), 17, True)
    with pytest.raises(SpecError, match="group 0 is the group of all links"):
        delete_group(0)


def test_alternative_names() -> None:
    for request, kind in (
        (add_alternative_name(5, "n" * 127), 108),
        (delete_alternative_name(5, "n" * 127), 109),
    ):
        assert (request.kind, header(request)) == (kind, (5, 0, 0))
        assert said(request) == {"IFLA_PROP_LIST": {"IFLA_ALT_IFNAME": "n" * 127}}


@pytest.mark.parametrize(
    ("name", "attribute_name"),
    [("n" * 15, "IFLA_IFNAME"), ("n" * 16, "IFLA_ALT_IFNAME"), ("é" * 8, "IFLA_ALT_IFNAME")],
)
def test_by_name(name: str, attribute_name: str) -> None:
    assert said(delete_link(name=name)) == {attribute_name: name}
    assert said(get_link(name=name)) == {attribute_name: name, "IFLA_EXT_MASK": 8}


def test_by_index() -> None:
    assert (header(delete_link(7)), said(delete_link(7)), delete_link(7).deleting) == ((7, 0, 0), {}, True)
    assert (header(get_link(7)), said(get_link(7))) == ((7, 0, 0), {"IFLA_EXT_MASK": 8})
    assert (get_link(7).flags, list_links().flags) == (0, 0), "a read wants its answer, and no ACK"
    for make in (get_link, delete_link):
        with pytest.raises(SpecError, match="index= or name="):
            make()


def test_filters_of_a_dump() -> None:
    assert said(list_links(kind="veth", master=3)) == {
        "IFLA_EXT_MASK": 8,
        "IFLA_MASTER": 3,
        "IFLA_LINKINFO": {"IFLA_INFO_KIND": "veth"},
    }


def test_words_of_the_caller_are_kept() -> None:
    words = "do as I say"
    requests = [
        veth("a", "b", operation=words),
        new_link("a", "dummy", operation=words),
        bridge("a", operation=words),
        set_bridge(1, operation=words),
        set_port(1, operation=words),
        set_link(1, operation=words),
        set_group_alias(1, "a", operation=words),
        add_alternative_name(1, "a", operation=words),
        delete_alternative_name(1, "a", operation=words),
        delete_link(1, operation=words),
        delete_group(1, operation=words),
    ]
    assert {request.operation for request in requests} == {words}


# -- reading -------------------------------------------------------------------------------


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
