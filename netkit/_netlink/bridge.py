"""Bridges and their ports (ip-link(8) "type bridge" and "bridge_slave", net/bridge/br_netlink.c)."""

from __future__ import annotations

from netkit._netlink.link_message import (
    CREATE,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    RTM_NEWLINK,
    link_request,
    settings,
)
from netkit._netlink.wire import NLM_F_ACK, Request, nested, text, u8, u16, u32

IFLA_INFO_SLAVE_KIND = 4
IFLA_INFO_SLAVE_DATA = 5

IFLA_BR_FORWARD_DELAY = 1
IFLA_BR_HELLO_TIME = 2
IFLA_BR_MAX_AGE = 3
IFLA_BR_AGEING_TIME = 4
IFLA_BR_STP_STATE = 5
IFLA_BR_PRIORITY = 6
IFLA_BR_VLAN_FILTERING = 7
IFLA_BR_MCAST_SNOOPING = 23

IFLA_BRPORT_PRIORITY = 2
IFLA_BRPORT_COST = 3
IFLA_BRPORT_MODE = 4
IFLA_BRPORT_GUARD = 5
IFLA_BRPORT_PROTECT = 6
IFLA_BRPORT_FAST_LEAVE = 7
IFLA_BRPORT_LEARNING = 8
IFLA_BRPORT_UNICAST_FLOOD = 9
IFLA_BRPORT_MCAST_FLOOD = 27
IFLA_BRPORT_BCAST_FLOOD = 30
IFLA_BRPORT_ISOLATED = 33

TICKS = 100  # USER_HZ: what one second is in the timers of a bridge
_KIND = text(IFLA_INFO_KIND, "bridge")
_PORT_KIND = text(IFLA_INFO_SLAVE_KIND, "bridge")


def bridge(
    name: str,
    *,
    index: int = 0,
    mac: str | None = None,
    mtu: int | None = None,
    group: int | None = None,
    txqlen: int | None = None,
    stp: bool | None = None,
    forward_delay: float | None = None,
    hello_time: float | None = None,
    max_age: float | None = None,
    ageing_time: float | None = None,
    priority: int | None = None,
    mcast_snooping: bool | None = None,
    vlan_filtering: bool | None = None,
    up: bool = False,
    operation: str | None = None,
) -> Request:
    """Create a bridge; times are seconds. Twin: ``ip link add NAME type bridge``.

    An ``mtu`` given here follows the smallest of the ports' as soon as one joins; one that is set
    later, by ``set_link``, stays (net/bridge/br_if.c, br_mtu_auto_adjust).
    """
    data = bridge_data(
        stp=stp,
        forward_delay=forward_delay,
        hello_time=hello_time,
        max_age=max_age,
        ageing_time=ageing_time,
        priority=priority,
        mcast_snooping=mcast_snooping,
        vlan_filtering=vlan_filtering or None,  # a kernel without it refuses even to turn it off
    )
    info = nested(IFLA_LINKINFO, _KIND, nested(IFLA_INFO_DATA, data))
    members = settings(name=name, mac=mac, mtu=mtu, group=group, txqlen=txqlen) + info
    what = operation or f"create bridge '{name}'"
    return link_request(RTM_NEWLINK, CREATE, what, members, index=index, up=up or None)


def set_bridge(
    index: int,
    *,
    stp: bool | None = None,
    forward_delay: float | None = None,
    hello_time: float | None = None,
    max_age: float | None = None,
    ageing_time: float | None = None,
    priority: int | None = None,
    mcast_snooping: bool | None = None,
    vlan_filtering: bool | None = None,
    operation: str | None = None,
) -> Request:
    """Change a bridge's own options; times are seconds. Twin: ``ip link set NAME type bridge ...``."""
    data = bridge_data(
        stp=stp,
        forward_delay=forward_delay,
        hello_time=hello_time,
        max_age=max_age,
        ageing_time=ageing_time,
        priority=priority,
        mcast_snooping=mcast_snooping,
        vlan_filtering=vlan_filtering,
    )
    info = nested(IFLA_LINKINFO, _KIND, nested(IFLA_INFO_DATA, data))
    what = operation or f"change bridge {index}"
    return link_request(RTM_NEWLINK, NLM_F_ACK, what, info, index=index)


def bridge_data(
    *,
    stp: bool | None = None,
    forward_delay: float | None = None,
    hello_time: float | None = None,
    max_age: float | None = None,
    ageing_time: float | None = None,
    priority: int | None = None,
    mcast_snooping: bool | None = None,
    vlan_filtering: bool | None = None,
) -> bytes:
    """The content of IFLA_INFO_DATA, for the options that are given."""
    parts = [
        u32(kind, round(value * TICKS))
        for kind, value in (
            (IFLA_BR_FORWARD_DELAY, forward_delay),
            (IFLA_BR_HELLO_TIME, hello_time),
            (IFLA_BR_MAX_AGE, max_age),
            (IFLA_BR_AGEING_TIME, ageing_time),
        )
        if value is not None
    ]
    if stp is not None:
        parts.append(u32(IFLA_BR_STP_STATE, int(stp)))
    if priority is not None:
        parts.append(u16(IFLA_BR_PRIORITY, priority))
    if vlan_filtering is not None:
        parts.append(u8(IFLA_BR_VLAN_FILTERING, int(vlan_filtering)))
    if mcast_snooping is not None:
        parts.append(u8(IFLA_BR_MCAST_SNOOPING, int(mcast_snooping)))
    return b"".join(parts)


def set_port(
    index: int,
    *,
    hairpin: bool | None = None,
    isolated: bool | None = None,
    learning: bool | None = None,
    flood: bool | None = None,
    mcast_flood: bool | None = None,
    bcast_flood: bool | None = None,
    guard: bool | None = None,
    root_block: bool | None = None,
    fastleave: bool | None = None,
    cost: int | None = None,
    priority: int | None = None,
    operation: str | None = None,
) -> Request:
    """Change the options of a link that is a bridge's port already (the master goes in another message).

    Twin: ``ip link set LINK type bridge_slave ...``.
    """
    parts: list[bytes] = []
    if priority is not None:
        parts.append(u16(IFLA_BRPORT_PRIORITY, priority))
    if cost is not None:
        parts.append(u32(IFLA_BRPORT_COST, cost))
    for kind, value in (
        (IFLA_BRPORT_MODE, hairpin),
        (IFLA_BRPORT_GUARD, guard),
        (IFLA_BRPORT_PROTECT, root_block),
        (IFLA_BRPORT_FAST_LEAVE, fastleave),
        (IFLA_BRPORT_LEARNING, learning),
        (IFLA_BRPORT_UNICAST_FLOOD, flood),
        (IFLA_BRPORT_MCAST_FLOOD, mcast_flood),
        (IFLA_BRPORT_BCAST_FLOOD, bcast_flood),
        (IFLA_BRPORT_ISOLATED, isolated),
    ):
        if value is not None:
            parts.append(u8(kind, int(value)))
    info = nested(IFLA_LINKINFO, _PORT_KIND, nested(IFLA_INFO_SLAVE_DATA, *parts))
    what = operation or f"change bridge port {index}"
    return link_request(RTM_NEWLINK, NLM_F_ACK, what, info, index=index)
