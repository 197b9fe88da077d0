"""What a bridge and one of its ports are set to, as the kernel reported it."""

from __future__ import annotations

from netkit._spec.value import Value

_set = object.__setattr__


class BridgeInfo(Value):
    """The options of a bridge as they were when they were read, frozen; made by `Bridge.read`.

    The words are those of `Bridge` and of ``ip link add type bridge``: ``forward_delay``,
    ``hello_time``, ``max_age`` and ``ageing_time`` in seconds, where ``ip`` prints hundredths;
    ``priority`` is that of the spanning tree, 0 to 65535, less is preferred as root;
    ``vlan_filtering`` is False where the kernel has none.

    Twin: the ``info_data`` of ``ip -j -d link show``. Source: ip-link(8), br_fill_info() of
    net/bridge/br_netlink.c.
    """

    __slots__ = _fields = (
        "stp",
        "forward_delay",
        "hello_time",
        "max_age",
        "ageing_time",
        "priority",
        "mcast_snooping",
        "vlan_filtering",
    )

    stp: bool
    forward_delay: float
    hello_time: float
    max_age: float
    ageing_time: float
    priority: int
    mcast_snooping: bool
    vlan_filtering: bool

    def __init__(
        self,
        *,
        stp: bool,
        forward_delay: float,
        hello_time: float,
        max_age: float,
        ageing_time: float,
        priority: int,
        mcast_snooping: bool,
        vlan_filtering: bool,
    ) -> None:
        _set(self, "stp", stp)
        _set(self, "forward_delay", forward_delay)
        _set(self, "hello_time", hello_time)
        _set(self, "max_age", max_age)
        _set(self, "ageing_time", ageing_time)
        _set(self, "priority", priority)
        _set(self, "mcast_snooping", mcast_snooping)
        _set(self, "vlan_filtering", vlan_filtering)


class PortInfo(Value):
    """A bridge port's options as they were when they were read, frozen; made by ``link.port``.

    The words are those of `Bridge.add_port` and of bridge(8): ``cost`` 1 to 65535 and
    ``priority`` 0 to 63 are the spanning tree's, the rest are switches. ``state`` is
    ``disabled``, ``listening``, ``learning``, ``forwarding`` or ``blocking``; the kernel
    changes it by itself, and it does not count when two are compared.

    Twin: ``bridge -d link show``. Source: bridge(8), net/bridge/br_netlink.c.
    """

    __slots__ = _fields = (
        "state",
        "cost",
        "priority",
        "hairpin",
        "isolated",
        "learning",
        "flood",
        "mcast_flood",
        "bcast_flood",
        "guard",
        "root_block",
        "fastleave",
    )
    _compared = _fields[1:]

    state: str
    cost: int
    priority: int
    hairpin: bool
    isolated: bool
    learning: bool
    flood: bool
    mcast_flood: bool
    bcast_flood: bool
    guard: bool
    root_block: bool
    fastleave: bool

    def __init__(
        self,
        *,
        state: str,
        cost: int,
        priority: int,
        hairpin: bool,
        isolated: bool,
        learning: bool,
        flood: bool,
        mcast_flood: bool,
        bcast_flood: bool,
        guard: bool,
        root_block: bool,
        fastleave: bool,
    ) -> None:
        _set(self, "state", state)
        _set(self, "cost", cost)
        _set(self, "priority", priority)
        _set(self, "hairpin", hairpin)
        _set(self, "isolated", isolated)
        _set(self, "learning", learning)
        _set(self, "flood", flood)
        _set(self, "mcast_flood", mcast_flood)
        _set(self, "bcast_flood", bcast_flood)
        _set(self, "guard", guard)
        _set(self, "root_block", root_block)
        _set(self, "fastleave", fastleave)
