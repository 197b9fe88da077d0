"""What the kernel says of a bridge and of a port, as values: LinkRecord -> BridgeInfo, PortInfo."""

from __future__ import annotations

from netkit._netlink.bridge import TICKS
from netkit._spec.bridges import BridgeInfo, PortInfo
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from netkit._netlink.link_record import LinkRecord

# BR_STATE_... of linux/if_bridge.h, in the words of bridge(8).
_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")


def bridge_info(record: LinkRecord) -> BridgeInfo | None:
    """The options of a bridge; None for any other link. Raises ProtocolError where one is missing."""
    if record.kind != "bridge":
        return None
    said = record.bridge
    return BridgeInfo(
        stp=_number(said, "IFLA_BR_STP_STATE") != 0,
        forward_delay=_number(said, "IFLA_BR_FORWARD_DELAY") / TICKS,
        hello_time=_number(said, "IFLA_BR_HELLO_TIME") / TICKS,
        max_age=_number(said, "IFLA_BR_MAX_AGE") / TICKS,
        ageing_time=_number(said, "IFLA_BR_AGEING_TIME") / TICKS,
        priority=_number(said, "IFLA_BR_PRIORITY"),
        # Without CONFIG_BRIDGE_IGMP_SNOOPING, or ..._VLAN_FILTERING, the kernel does not say.
        mcast_snooping=_number(said, "IFLA_BR_MCAST_SNOOPING", 0) != 0,
        vlan_filtering=_number(said, "IFLA_BR_VLAN_FILTERING", 0) != 0,
    )


def port_info(record: LinkRecord) -> PortInfo | None:
    """The options of a bridge's port; None for any other link. Raises ProtocolError where one is missing."""
    if record.slave_kind != "bridge":
        return None
    said = record.port
    state = _number(said, "IFLA_BRPORT_STATE")
    return PortInfo(
        state=_STATES[state] if state < len(_STATES) else str(state),
        cost=_number(said, "IFLA_BRPORT_COST"),
        priority=_number(said, "IFLA_BRPORT_PRIORITY"),
        hairpin=_number(said, "IFLA_BRPORT_MODE") != 0,
        # Younger than the rest: what a kernel without them does.
        isolated=_number(said, "IFLA_BRPORT_ISOLATED", 0) != 0,
        learning=_number(said, "IFLA_BRPORT_LEARNING") != 0,
        flood=_number(said, "IFLA_BRPORT_UNICAST_FLOOD") != 0,
        mcast_flood=_number(said, "IFLA_BRPORT_MCAST_FLOOD", 1) != 0,
        bcast_flood=_number(said, "IFLA_BRPORT_BCAST_FLOOD", 1) != 0,
        guard=_number(said, "IFLA_BRPORT_GUARD") != 0,
        root_block=_number(said, "IFLA_BRPORT_PROTECT") != 0,
        fastleave=_number(said, "IFLA_BRPORT_FAST_LEAVE") != 0,
    )


def _number(said: Mapping[str, object], name: str, absent: int | None = None) -> int:
    value = said.get(name, absent)
    if not isinstance(value, int):
        raise ProtocolError(f"a bridge or port came without {name}")
    return value
