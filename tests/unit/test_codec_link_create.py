"""Messages that create links and set ports: what is asked stands in them, and is read as asked for."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._netlink import wire
from netkit._netlink.bridge import set_bridge, set_port
from netkit._netlink.bridge_record import bridge_info, port_info
from netkit._netlink.link import bridge, parse_link, veth
from netkit._netlink.socket import Reply
from netkit._netlink.wire import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, nested
from netkit._spec.bridges import BridgeInfo, PortInfo
from netkit.errors import ProtocolError
from tests.unit.codec_values import U32, given_only, header, macs, names, numbers, reply, said, switches

timers = st.none() | st.integers(0, 1000) | st.floats(0, 1000)


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
