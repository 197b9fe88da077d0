"""Plans in one call: star, line, ring, tree, mesh."""

from __future__ import annotations

from itertools import pairwise

from netkit._spec import names, numbers
from netkit._topology import checks
from netkit._topology.addressing import AUTOMATIC
from netkit._topology.plan import Plan
from netkit._topology.values import EndPlan, LinkPlan, NamespacePlan
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from netkit._topology.plan import Subnets

MOST_BOXES = 1_000_000

# A bridge hands a broadcast to all its ports at once, and the kernel keeps so many packets for a processor
# (net.core.netdev_max_backlog, enqueue_to_backlog() of net/core/dev.c): boxes beyond never hear ARP requests.
_BACKLOG = 1000
_PER_BRIDGE = 490  # in a row of bridges two at a time hand it on, one on either side


class Shapes(Plan):
    """Whole networks of boxes; what comes back is a plan like any other, to be added to.

    ``named`` registers all namespaces in /run/netns; ``mtu`` is that of every link, in bytes.
    """

    @classmethod
    def star(
        cls,
        n: int,
        *,
        subnet: Subnets = "auto",
        default_route: bool = True,
        forwarding: bool = False,
        mtu: int | None = None,
        named: bool = False,
        box: str = "box",
        switch: str = "switch",
        bridge: str = "lan",
    ) -> Self:
        """``n`` boxes, ``box1`` to ``boxN``, at a bridge: ``lan`` in the namespace ``switch``.

        The bridge has the first address of ``subnet``, the boxes have the next ones and, with
        ``default_route``, a default route by the bridge; ``forwarding`` makes the switch a router. More
        than 1000 boxes are at several bridges, ``lan2`` and so on, each linked to the next: a bridge takes
        1023 ports, and the kernel keeps 1000 packets of a broadcast.

        Twin: Mininet's ``SingleSwitchTopo``.

        Examples:
            >>> from netkit import Topology
            >>> Topology.star(3, subnet="10.0.0.0/24")
            <Topology of 4 namespaces, 1 bridge, 3 links>
        """
        given, pool = _star_subnets(subnet)
        plan = cls(subnet=pool)
        boxes = _names(box, n)
        plan.add_namespace(switch, forwarding=forwarding, named=named)
        plan.add_bridge(bridge, switch, address="auto", subnet=given, mtu=mtu)
        _add(plan, boxes, named)
        by_bridge = numbers.boolean(default_route, "default_route")
        size = None if mtu is None else numbers.mtu(mtu)
        for name, taken in _spread(plan, bridge, switch, boxes, mtu):
            port = EndPlan(name, address=())
            plan._links += [
                LinkPlan((EndPlan(each, default_route=by_bridge), port), None, size) for each in taken
            ]
        return plan

    @classmethod
    def line(
        cls,
        n: int,
        *,
        subnet: Subnets = "auto",
        mtu: int | None = None,
        named: bool = False,
        box: str = "box",
    ) -> Self:
        """``n`` boxes in a row, each linked to the next; those between forward.

        Each link has a subnet of its own out of ``subnet``, and each box routes to all others.

        Twin: Mininet's ``LinearTopo``.

        Examples:
            >>> from netkit import Topology
            >>> with Topology.line(4) as net:
            ...     print(net["box1"].ping(net.address("box4")).received)
            1
        """
        plan = cls(subnet=subnet)
        boxes = _names(box, n)
        _add(plan, boxes[:1], named)
        _add(plan, boxes[1:-1], named, True)
        _add(plan, boxes[1:][-1:], named)
        _link(plan, pairwise(boxes), mtu)
        return plan

    @classmethod
    def ring(
        cls,
        n: int,
        *,
        subnet: Subnets = "auto",
        mtu: int | None = None,
        named: bool = False,
        box: str = "box",
    ) -> Self:
        """``n`` boxes, 3 at least, each linked to the next and the last to the first; all forward.

        Routes go the shorter way round; the way of equal length that the plan has first.

        Twin: none.
        """
        plan = cls(subnet=subnet)
        boxes = _names(box, n, least=3)
        _add(plan, boxes, named, True)
        _link(plan, zip(boxes, [*boxes[1:], boxes[0]], strict=True), mtu)
        return plan

    @classmethod
    def mesh(
        cls,
        n: int,
        *,
        subnet: Subnets = "auto",
        mtu: int | None = None,
        named: bool = False,
        box: str = "box",
    ) -> Self:
        """``n`` boxes, 2 at least, each linked to every other one; all forward. Twin: none."""
        plan = cls(subnet=subnet)
        boxes = _names(box, n, least=2)
        _add(plan, boxes, named, True)
        _link(plan, ((one, each) for k, one in enumerate(boxes) for each in boxes[k + 1 :]), mtu)
        return plan

    @classmethod
    def tree(
        cls,
        depth: int,
        fanout: int = 2,
        *,
        subnet: Subnets = "auto",
        mtu: int | None = None,
        named: bool = False,
        box: str = "box",
        router: str = "router",
    ) -> Self:
        """A tree of routers with boxes as its leaves: ``router1`` is the root, each has ``fanout`` below it.

        There are ``fanout ** depth`` boxes, ``depth`` links below the root.

        Twin: Mininet's ``TreeTopo``.
        """
        numbers.integer(depth, "depth", 1, 20)
        numbers.integer(fanout, "fanout", 1, MOST_BOXES)
        plan = cls(subnet=subnet)
        routers = _names(router, sum([fanout**level for level in range(depth)]), "router")
        boxes = _names(box, fanout**depth)
        _add(plan, routers, named, True)
        _add(plan, boxes, named)
        # In depth first: then the networks below a router are one range, and routes to them few.
        inner, everyone = len(routers), [*routers, *boxes]
        waiting = [*range(fanout, 0, -1)]
        while waiting:
            k = waiting.pop()  # level by level, above the k-th is the (k - 1) // fanout-th
            _link(plan, [(everyone[(k - 1) // fanout], everyone[k])], mtu)
            if k < inner:
                waiting += range(k * fanout + fanout, k * fanout, -1)
        return plan


def _star_subnets(subnet: Subnets) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """What the bridge is given, and what the topology is."""
    found = checks.subnets(subnet)
    return (None, found) if all(text in AUTOMATIC for text in found) else (found, ("auto",))


def _spread(
    plan: Plan, bridge: str, switch: str, boxes: Sequence[str], mtu: int | None
) -> Iterable[tuple[str, Sequence[str]]]:
    """Which bridge has which boxes: more than one bridge can have are at a row of them."""
    bridges = 1 if len(boxes) <= _BACKLOG else -(-len(boxes) // _PER_BRIDGE)
    each = -(-len(boxes) // bridges)
    yield bridge, boxes[:each]
    last = bridge
    for number in range(1, bridges):
        name = plan.add_bridge(f"{bridge}{number + 1}", switch, mtu=mtu)
        plan.add_link(last, name, mtu=mtu)
        last = name
        yield name, boxes[number * each : (number + 1) * each]


def _names(prefix: object, count: object, what: str = "box", least: int = 1) -> list[str]:
    """``box1``, ``box2``, ... of so many."""
    number = numbers.integer(count, "n", least, MOST_BOXES)
    longest = names.namespace_name(f"{prefix}{number}" if isinstance(prefix, str) else prefix, what)
    stem = longest.removesuffix(str(number))
    return [f"{stem}{each}" for each in range(1, number + 1)]


def _add(plan: Plan, boxes: Iterable[str], named: bool, forwarding: bool = False) -> None:
    registered = numbers.boolean(named, "named")
    for name in boxes:
        if name in plan._namespaces or name in plan._bridges:
            raise SpecError(f"'{name}' would be there twice: give names that do not begin alike")
        plan._namespaces[name] = NamespacePlan(name, registered, forwarding)


def _link(plan: Plan, pairs: Iterable[tuple[str, str]], mtu: int | None) -> None:
    size = None if mtu is None else numbers.mtu(mtu)
    plan._links += [LinkPlan((EndPlan(one), EndPlan(other)), None, size) for one, other in pairs]
