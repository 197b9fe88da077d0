"""Forwarding entries of bridges: FdbEntry <-> RTM_NEWNEIGH of AF_BRIDGE (bridge(8) "fdb")."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct, error

from netkit._netlink.neighbour import (
    NDA_LLADDR,
    NDA_MASTER,
    NDA_VLAN,
    NDMSG,
    NEIGHBOUR_POLICY,
    NTF_MASTER,
    NTF_SELF,
    RTM_DELNEIGH,
    RTM_GETNEIGH,
    RTM_NEWNEIGH,
    flag_names,
)
from netkit._netlink.route_record import device_name
from netkit._netlink.wire import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    attribute,
    attributes,
    u16,
    u32,
)
from netkit._spec.neighbours import FdbEntry
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.route_record import Names
    from netkit._netlink.socket import Reply

AF_BRIDGE = 7

# bridge(8) calls an entry of state noarp static, since it does not age.
_STATES = {"permanent": 0x80, "static": 0x40, "reachable": 0x02}
_STATE_NAMES = {0x80: "permanent", 0x40: "static", 0x02: "reachable", 0x04: "stale"}
_U16 = Struct("=H").unpack
_U32 = Struct("=I").unpack


def add_fdb(
    index: int,
    mac: str,
    *,
    vlan: int | None = None,
    state: str = "static",
    on_bridge: bool = False,
    replace: bool = False,
    operation: str | None = None,
) -> Request:
    """Add an entry behind the port of this index; ``on_bridge`` says that it is the bridge itself.

    Twin: ``bridge fdb add MAC dev PORT master static``.
    """
    how = NLM_F_ACK | NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    body = _body(index, mac, vlan, _STATES[state], on_bridge)
    what = operation or f"add forwarding entry {mac} to link {index}"
    return Request(RTM_NEWNEIGH, how, body, what, NEIGHBOUR_POLICY, NDMSG.size)


def delete_fdb(
    index: int,
    mac: str,
    *,
    vlan: int | None = None,
    on_bridge: bool = False,
    operation: str | None = None,
) -> Request:
    """Delete an entry. Twin: ``bridge fdb del MAC dev PORT master``."""
    body = _body(index, mac, vlan, 0, on_bridge)
    what = operation or f"delete forwarding entry {mac} of link {index}"
    return Request(RTM_DELNEIGH, NLM_F_ACK, body, what, NEIGHBOUR_POLICY, NDMSG.size, deleting=True)


def list_fdb(bridge: int) -> Request:
    """Ask for the entries of a bridge and its ports, by the bridge's index; for ``socket.dump``.

    The multicast filters of the ports' own devices come with them: see ``parse_fdb_entries``.
    """
    body = NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0) + u32(NDA_MASTER, bridge)
    what = f"list the forwarding entries of bridge {bridge}"
    return Request(RTM_GETNEIGH, 0, body, what, NEIGHBOUR_POLICY, NDMSG.size)


def _body(index: int, mac: str, vlan: int | None, state: int, on_bridge: bool) -> bytes:
    body = NDMSG.pack(AF_BRIDGE, index, state, NTF_SELF if on_bridge else NTF_MASTER, 0)
    body += attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
    return body if vlan is None else body + u16(NDA_VLAN, vlan)


# -- reading -------------------------------------------------------------------


def parse_fdb(reply: Reply, names: Names) -> FdbEntry:
    """Read one entry; ``names`` are the devices' names by index. Raises ProtocolError."""
    return _read(reply, names)[0]


def parse_fdb_entries(replies: Iterable[Reply], bridge: int, names: Names) -> list[FdbEntry]:
    """Read a dump: the entries of this bridge alone."""
    read = [_read(reply, names) for reply in replies]
    return [entry for entry, master in read if master == bridge]


def _read(reply: Reply, names: Names) -> tuple[FdbEntry, int | None]:
    _, data, start, end = reply
    try:
        return _entry(bytes(data[start:end]), names)
    except (error, KeyError) as problem:
        raise ProtocolError(f"a malformed forwarding entry: {problem!r}") from problem


def _entry(message: bytes, names: Names) -> tuple[FdbEntry, int | None]:
    _, index, state, flags, _ = NDMSG.unpack_from(message)
    found = attributes(message, NDMSG.size, len(message))
    payloads = {number: message[begin:stop] for number, begin, stop in found}
    master = _U32(payloads[NDA_MASTER])[0] if NDA_MASTER in payloads else None
    entry = FdbEntry(
        payloads[NDA_LLADDR].hex(":"),
        device_name(names, index),
        _U16(payloads[NDA_VLAN])[0] if NDA_VLAN in payloads else None,
        _STATE_NAMES.get(state) or str(state),
        None if master is None else device_name(names, master),
        flag_names(flags),
    )
    return entry, master
