"""The ports of a bridge: which there are, how a link becomes one, and their options."""

from __future__ import annotations

from netkit._link import Link, require_link
from netkit._netlink.bridge import set_port
from netkit._netlink.link import get_link, list_links, parse_link, set_link
from netkit._readiness import settle_carrier
from netkit._spec import numbers
from netkit.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._namespace import Namespace
    from netkit._netlink.wire import Request
    from netkit._runtime import Runtime


class Ports:
    """The part of a Bridge that is about its ports."""

    _netns: Namespace
    _name: str
    _index: int
    _strangers: set[int]

    def _check_live(self) -> None:
        raise NotImplementedError

    def _open(self) -> Runtime:
        raise NotImplementedError

    @property
    def ports(self) -> list[Link]:
        """The links that are ports now, from a fresh read."""
        self._check_live()
        replies = self._open().route.dump(list_links(master=self._index))
        records = [parse_link(reply) for reply in replies]
        return [Link(self._netns, r.index, r.name) for r in records if r.master == self._index]

    def add_port(
        self,
        link: Link,
        *,
        hairpin: bool | None = None,
        isolated: bool | None = None,
        learning: bool | None = None,
        flood: bool | None = None,
        cost: int | None = None,
        priority: int | None = None,
    ) -> Link:
        """Make a link of the same namespace a port, with these options; returns the link.

        It is released again when the bridge is deleted by netkit. ``cost`` is 1 to 65535,
        ``priority`` 0 to 63; options left out keep the kernel's value. For a link that is a port
        already, it changes the options; ``link.port`` reads them.

        Twin: ``ip link set LINK master BRIDGE`` and ``bridge link set dev LINK hairpin on ...``.
        Raises SpecError for a link of another namespace; KernelError with the kernel's words
        for what cannot be a port (``lo``, another bridge).

        Examples:
            >>> from netkit import Bridge, Namespace, VethPair
            >>> with Namespace() as host, Namespace() as box, Bridge(host, "br0") as bridge:
            ...     with VethPair(host, box, name="veth0", peer_name="eth0") as veth:
            ...         print(bridge.add_port(veth.link, cost=10).port.cost)
            10
        """
        self._check_live()
        port = require_link(link, self._netns, "add_port()")
        index = port.ifindex
        options = port_requests(index, port._called, hairpin, isolated, learning, flood, cost, priority)
        operation = f"make {port._called} a port of bridge '{self._name}'"
        runtime = self._open()
        was_port = bool(options) and port._read().master == self._index
        runtime.route.request(set_link(index, master=self._index, operation=operation))
        try:
            for request in options:
                runtime.route.request(request)
        except BaseException:
            if not was_port:
                self.remove_port(port)
            raise
        self._strangers.add(index)
        settle_carrier(runtime, index)
        settle_carrier(runtime, self._index)
        return port

    def remove_port(self, link: Link) -> None:
        """Release a port: the link stays. Twin: ``ip link set LINK nomaster``.

        Raises NotFoundError when it is no port of this bridge.
        """
        self._check_live()
        port = require_link(link, self._netns, "remove_port()")
        if port._read().master != self._index:
            raise NotFoundError(f"remove port: {port._called} is not one of bridge '{self._name}'", 2)
        self._strangers.discard(port.ifindex)
        operation = f"release {port._called} from bridge '{self._name}'"
        self._open().route.request(set_link(port.ifindex, master=0, operation=operation))

    def _release_strangers(self, runtime: Runtime) -> None:
        for index in sorted(self._strangers):
            try:
                if parse_link(runtime.route.get(get_link(index=index))).master == self._index:
                    runtime.route.request(set_link(index, master=0, operation=f"release port {index}"))
            except NotFoundError:
                continue
        self._strangers.clear()


def port_requests(
    index: int,
    called: str,
    hairpin: bool | None,
    isolated: bool | None,
    learning: bool | None,
    flood: bool | None,
    cost: int | None,
    priority: int | None,
) -> list[Request]:
    """The message that sets a port's options, if any is given."""
    if hairpin is isolated is learning is flood is cost is priority is None:
        return []
    request = set_port(
        index,
        hairpin=switch(hairpin, "hairpin"),
        isolated=switch(isolated, "isolated"),
        learning=switch(learning, "learning"),
        flood=switch(flood, "flood"),
        cost=None if cost is None else numbers.port_cost(cost),
        priority=None if priority is None else numbers.port_priority(priority),
    )
    request.operation = f"set bridge port options of {called}"
    return [request]


def switch(value: bool | None, what: str) -> bool | None:
    return None if value is None else numbers.boolean(value, what)
