"""The part of a Bridge that reads its options."""

from __future__ import annotations

import errno

from netkit.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._link import Link
    from netkit._spec.bridges import BridgeInfo


class BridgeReading:
    """What a bridge is set to now: each property is a fresh read, `read` has all of them at once."""

    @property
    def link(self) -> Link:
        """The bridge's own device."""
        raise NotImplementedError

    def read(self) -> BridgeInfo:
        """All options at once, as a frozen value: one request. The ports' are in ``link.port``.

        Twin: ``ip -d link show dev NAME``. Needs no capability. Raises NotFoundError when the bridge is
        gone, StateError before it is created. Source: net/bridge/br_netlink.c, br_fill_info().

        Examples:
            >>> from netkit import Bridge, Namespace
            >>> with Namespace() as host, Bridge(host, "br0", ageing_time=60) as bridge:
            ...     info = bridge.read()
            ...     print(info.stp, info.ageing_time, info.priority)
            False 60.0 32768
        """
        from netkit._netlink.bridge_record import bridge_info

        link = self.link
        found = bridge_info(link._read())
        if found is None:
            raise NotFoundError(
                f"read bridge '{link._last_name}': another link has its index now", errno.ENODEV
            )
        return found

    @property
    def mac(self) -> str | None:
        """The link-layer address in lower case; that of `link`."""
        return self.link.mac

    @property
    def mtu(self) -> int:
        """The largest packet in bytes; that of `link`."""
        return self.link.mtu

    @property
    def stp(self) -> bool:
        """Whether the spanning tree protocol is on."""
        return self.read().stp

    @property
    def forward_delay(self) -> float:
        """The forward delay in seconds: how long a port listens, and then learns, while STP is on."""
        return self.read().forward_delay

    @property
    def hello_time(self) -> float:
        """The time between two hellos of the spanning tree, in seconds."""
        return self.read().hello_time

    @property
    def max_age(self) -> float:
        """How long what another bridge said of the spanning tree counts, in seconds."""
        return self.read().max_age

    @property
    def ageing_time(self) -> float:
        """How long a learnt forwarding entry lives without a frame, in seconds."""
        return self.read().ageing_time

    @property
    def mcast_snooping(self) -> bool:
        """Whether multicast is forwarded only where it is asked for."""
        return self.read().mcast_snooping

    @property
    def vlan_filtering(self) -> bool:
        """Whether ports are kept apart by VLAN; False where the kernel cannot."""
        return self.read().vlan_filtering
