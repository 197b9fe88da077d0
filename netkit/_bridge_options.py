"""What a bridge is to be like: its options, checked, and the messages that make it so."""

from __future__ import annotations

from netkit._end import random_mac
from netkit._netlink.bridge import set_bridge
from netkit._netlink.link import bridge as new_bridge
from netkit._netlink.link import set_link
from netkit._netlink.wire import Request
from netkit._ports import switch
from netkit._spec import names, numbers
from netkit._spec.mac import mac as parse_mac
from netkit.errors import KernelError, UnsupportedError

_DEFAULT_MTU = 1500


class BridgeOptions:
    """The values of one Bridge; times in seconds, None where the kernel chooses."""

    __slots__ = (
        "ageing_time",
        "forward_delay",
        "hello_time",
        "mac",
        "max_age",
        "mcast_snooping",
        "mtu",
        "name",
        "stp",
        "up",
        "vlan_filtering",
    )

    def __init__(
        self,
        name: str,
        mac: str | None,
        mtu: int | None,
        stp: bool,
        forward_delay: float | None,
        hello_time: float | None,
        max_age: float | None,
        ageing_time: float | None,
        mcast_snooping: bool | None,
        vlan_filtering: bool | None,
        up: bool,
    ) -> None:
        self.name = names.interface_name(name)
        self.mac = None if mac is None else parse_mac(mac)
        self.mtu = None if mtu is None else numbers.mtu(mtu)
        self.stp = numbers.boolean(stp, "stp")
        self.forward_delay = _timer(forward_delay, "forward_delay", stp)
        self.hello_time = _timer(hello_time, "hello_time", stp)
        self.max_age = _timer(max_age, "max_age", stp)
        self.ageing_time = _timer(ageing_time, "ageing_time", stp)
        self.mcast_snooping = switch(mcast_snooping, "mcast_snooping")
        self.vlan_filtering = switch(vlan_filtering, "vlan_filtering")
        self.up = numbers.boolean(up, "up")

    def chosen_mac(self) -> str:
        """The one that was asked for, or a random one: a bridge that chooses its own changes it."""
        return self.mac or random_mac()

    def message(self, index: int, mac: str, group: int | None, quiet: bool) -> Request:
        """What creates it; ``quiet``: its `loud_requests` follow when its ports are there."""
        return new_bridge(
            self.name,
            index=index,
            mac=mac,
            group=group,
            stp=self.stp,
            forward_delay=self.forward_delay,
            hello_time=self.hello_time,
            max_age=self.max_age,
            ageing_time=self.ageing_time,
            mcast_snooping=False if quiet else self.mcast_snooping,
            vlan_filtering=self.vlan_filtering,
            up=self.up and not quiet,
        )

    def loud_requests(self, index: int) -> list[Request]:
        """What ends the quiet.

        Made with many ports, a bridge is quiet until they are all there: down, for it forwards what each one
        that comes up has to say to all the others; without snooping, for each port that joins restarts the
        multicast timers of all (br_port_state_selection in net/bridge/br_stp.c).
        """
        snooping = set_bridge(index, mcast_snooping=True, operation=f"set up bridge '{self.name}'")
        up = set_link(index, up=True, operation=f"set bridge '{self.name}' up")
        return [*([up] if self.up else []), *([snooping] if self.mcast_snooping is not False else [])]

    def mtu_requests(self, index: int) -> list[Request]:
        """The MTU goes in messages of its own: only a change after creation keeps the kernel from
        following the smallest port's (BROPT_MTU_SET_BY_USER in net/bridge/br_device.c)."""
        if self.mtu is None:
            return []
        steps = [self.mtu - 1, self.mtu] if self.mtu == _DEFAULT_MTU else [self.mtu]
        operation = f"set the MTU of bridge '{self.name}'"
        return [set_link(index, mtu=mtu, operation=operation) for mtu in steps]

    def explained(self, refusal: KernelError) -> KernelError:
        """The refusal, with what the kernel may lack."""
        if not isinstance(refusal, UnsupportedError):
            return refusal
        if self.vlan_filtering:
            return refusal._hinted("vlan_filtering=True needs a kernel with CONFIG_BRIDGE_VLAN_FILTERING")
        return refusal._hinted("Bridges need a kernel with CONFIG_BRIDGE (module `bridge`)")


def _timer(value: float | None, what: str, stp: bool) -> float | None:
    return None if value is None else numbers.bridge_timer(value, what, stp) / 100
