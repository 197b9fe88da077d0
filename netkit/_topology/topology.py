"""Topology: a network as a plan, and its life in the kernel."""

from __future__ import annotations

from _thread import allocate_lock

from netkit._lifecycle import Leaves
from netkit._topology.formats import Formats
from netkit._topology.layout import Layout
from netkit._topology.rules import Rules
from netkit._topology.shapes import Shapes
from netkit.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._topology.network import Network


_entering = allocate_lock()


class Topology(Rules, Shapes, Formats, Leaves):
    """A network as a plan of plain values: namespaces, bridges, the links between them, routes, NAT.

    Writing a plan needs no kernel and no privilege. ``with topology as net:`` builds it and takes it down;
    ``net = topology.create()`` and ``net.delete()`` are the two halves. A plan can be built many times.

    Everything goes by its name in the plan. In the kernel namespaces are anonymous, unless ``named=True``
    registers them. Devices are called ``eth0``, ``eth1``, ... in namespaces, and at a bridge after who is
    at the other end, where no name is given.

    An address that is not given is handed out from the subnet of its bridge or link: the one given there;
    else that of the addresses beside it; else one from ``subnet``. Routers forward, and everything that
    they join gets static routes by the shortest way.

    Args:
        subnet: where subnets come from that are not given: ``"auto"`` for a private IPv4 block that no
            route of the current namespace leads to, ``"auto6"`` for an IPv6 one, a network, several of
            these, or None: then only what is given has an address. Links between two namespaces get a /30
            (or /64), bridges a /24 (or /64) or larger.
        routing: give namespaces static routes to all networks of the plan, through its routers. A namespace
            that a router has its default route by, and that is no router, is the world outside: it gets none.

    Raises SpecError for a bad value, with its place in the plan, before any system call.

    Examples:
        >>> from netkit import Topology
        >>> lab = Topology()
        >>> for name in ("client", "server"):
        ...     _ = lab.add_namespace(name)
        >>> _ = lab.add_router("router")
        >>> lab.add_link("client", "router")
        >>> lab.add_link("router", "server")
        >>> with lab as net:
        ...     print(net["client"].ping(net.address("server")).received)
        1
    """

    def check(self) -> None:
        """Raise SpecError if this can't be built as a whole: addresses, names, ports. `create` does it too.

        Nothing is asked of the kernel.

        Twin: none.
        """
        Layout(self)

    def create(self) -> Network:
        """Build it; returns the live network. If any part fails, all of it is undone.

        Needs CAP_SYS_ADMIN and CAP_NET_ADMIN. Raises SpecError before anything is made, and KernelError
        for what the kernel refuses.

        Twin: ``ip -batch FILE``.
        """
        from netkit._topology.network import Network

        return Network(self).create()

    def __enter__(self) -> Network:
        from netkit._topology.network import Network

        network = Network(self)
        try:
            self._enter(network)
            return network.create()
        except BaseException:
            if self._entered is network:
                self._entered = None
            raise

    def _enter(self, network: Network) -> None:
        with _entering:  # of two threads one would leave what the other has built, and its own to nobody
            if self._entered is not None:
                raise StateError(
                    f"{self!r} is built in a `with` already: topology.create() builds another one"
                )
            self._entered = network

    def _leave(self, problem: BaseException | None) -> None:
        network, self._entered = self._entered, None
        if network is not None:
            network._leave(problem)

    async def __aenter__(self) -> Network:
        return self.__enter__()
