"""Neighbours (ARP and NDP entries) and bridge forwarding entries."""

from __future__ import annotations

from netkit._spec import numbers
from netkit._spec.addresses import ip_address, not_a_hosts
from netkit._spec.mac import mac as checked_mac
from netkit._spec.names import device
from netkit._spec.value import Value, shown
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._spec.addresses import AddressLike, IPAddress
    from netkit._spec.routes import DeviceLike

_set = object.__setattr__
_NO_FLAGS: frozenset[str] = frozenset()

# NUD_* of linux/neighbour.h.
STATES = {
    "none": 0x00,
    "incomplete": 0x01,
    "reachable": 0x02,
    "stale": 0x04,
    "delay": 0x08,
    "probe": 0x10,
    "failed": 0x20,
    "noarp": 0x40,
    "permanent": 0x80,
}
STATE_NAMES = {number: name for name, number in STATES.items()}
# NTF_* of linux/neighbour.h.
FLAGS = {
    "use": 0x01,
    "self": 0x02,
    "master": 0x04,
    "proxy": 0x08,
    "extern_learn": 0x10,
    "offload": 0x20,
    "sticky": 0x40,
    "router": 0x80,
}


class Neighbour(Value):
    """An entry of the neighbour table, frozen; equal by everything but ``flags``.

    ``mac`` is None while the kernel does not know it; ``state`` is ``permanent``, ``reachable`` ...
    Twin: one line of ``ip neighbour show``. Source: rtnetlink(7), struct ndmsg.
    """

    __slots__ = _fields = ("address", "mac", "dev", "state", "family", "flags")
    _compared = _fields[:-1]

    address: IPAddress
    mac: str | None
    dev: str
    state: str
    family: int
    flags: frozenset[str]

    def __init__(
        self,
        address: IPAddress,
        mac: str | None,
        dev: str,
        state: str = "permanent",
        flags: frozenset[str] = _NO_FLAGS,
    ) -> None:
        _set(self, "address", address)
        _set(self, "mac", mac)
        _set(self, "dev", dev)
        _set(self, "state", state)
        _set(self, "family", address.version)
        _set(self, "flags", flags)

    @classmethod
    def build(
        cls, address: AddressLike, *, mac: str | None, dev: DeviceLike, state: str = "permanent"
    ) -> Neighbour:
        """Check an entry to be added; ``mac`` may be None only for a state without one. Raises SpecError.

        Examples:
            >>> from netkit._spec.neighbours import Neighbour
            >>> str(Neighbour.build("10.0.0.2", mac="02-00-00-00-00-01", dev="eth0"))
            '10.0.0.2 dev eth0 lladdr 02:00:00:00:00:01 permanent'
        """
        target = neighbour_address(address)
        if state not in STATES:
            raise SpecError(f"state {shown(state)} is unknown: {', '.join(STATES)}")
        if mac is None and state in ("permanent", "reachable", "stale", "delay", "probe"):
            raise SpecError(f"a {state} neighbour needs mac=")
        return cls(target, None if mac is None else checked_mac(mac), _given(dev), state)

    def __str__(self) -> str:
        mac = "" if self.mac is None else f" lladdr {self.mac}"
        return f"{self.address} dev {self.dev}{mac} {self.state}"


class FdbEntry(Value):
    """An entry of a bridge's forwarding table, frozen. Twin: one line of ``bridge fdb show``.

    Source: bridge(8), net/bridge/br_fdb.c.
    ``dev`` is the port (or the bridge itself), ``master`` the bridge; ``vlan`` None without VLANs.
    ``state`` is ``permanent`` (local to the bridge), ``static``, or ``reachable`` (learned).
    """

    __slots__ = _fields = ("mac", "dev", "vlan", "state", "master", "flags")
    _compared = _fields[:-1]

    mac: str
    dev: str
    vlan: int | None
    state: str
    master: str | None
    flags: frozenset[str]

    def __init__(
        self,
        mac: str,
        dev: str,
        vlan: int | None = None,
        state: str = "static",
        master: str | None = None,
        flags: frozenset[str] = _NO_FLAGS,
    ) -> None:
        _set(self, "mac", mac)
        _set(self, "dev", dev)
        _set(self, "vlan", vlan)
        _set(self, "state", state)
        _set(self, "master", master)
        _set(self, "flags", flags)

    @classmethod
    def build(cls, mac: str, *, dev: DeviceLike, vlan: int | None = None, state: str = "static") -> FdbEntry:
        """Check an entry to be added to the master of ``dev``. Raises SpecError."""
        if state not in ("static", "permanent", "reachable"):
            raise SpecError(f"state {shown(state)} is unknown: static, permanent, reachable")
        number = None if vlan is None else numbers.vlan(vlan)
        return cls(checked_mac(mac), _given(dev), number, state)

    def __str__(self) -> str:
        vlan = "" if self.vlan is None else f" vlan {self.vlan}"
        master = "" if self.master is None else f" master {self.master}"
        return f"{self.mac} dev {self.dev}{vlan}{master} {self.state}"


def neighbour_address(value: object) -> IPAddress:
    """An address that a neighbour can have."""
    address = ip_address(value)
    kind = not_a_hosts(address)
    if kind:
        raise SpecError(f"address '{address}' is {kind}: no neighbour has it")
    return address


def _given(dev: DeviceLike | None) -> str:
    if dev is None:
        raise SpecError("dev is missing: name the device that the neighbour is on")
    return device(dev)
