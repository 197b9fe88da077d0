"""Linux virtual networking as objects: namespaces, veth pairs, bridges, routes and NAT.

    _namespace.py  Namespace          _link.py    Link, _links.py      _veth.py  VethPair
    _bridge.py     Bridge             _route.py   RouteTable           _nat/     NatRule
    _lifecycle/    Scope, and the verbs that all resources share
    _opener.py     who makes and enters namespaces: threads, or the broker without root
    _runtime.py    what a process keeps per namespace: descriptor, sockets, helpers
    _snapshot.py   Snapshot           _reading.py  LinkInfo: many links at once
    _outside/      Outside            a way to the outside network, without root too
    _topology/     Topology           a whole network as a plan
    _display/      Picture            what notebooks and `netkit show` draw
    _netlink/      bytes and sockets  _system/    threads, processes, /run and /proc
    _spec/         the frozen values  errors.py   every exception

Examples:
    >>> from netkit import Namespace, VethPair
    >>> with Namespace("red") as red, Namespace("blue") as blue:
    ...     with VethPair(red, blue, name="eth0", peer_name="eth0",
    ...                   address="10.0.0.1/24", peer_address="10.0.0.2/24"):
    ...         print(red.ping("10.0.0.2").received)
    1
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit import errors
    from netkit._bridge import Bridge
    from netkit._capture import Capture, Packet
    from netkit._display.picture import Picture
    from netkit._gc import Leftover, gc
    from netkit._lifecycle import Resource, Scope
    from netkit._link import Link
    from netkit._namespace import Namespace
    from netkit._nat.publish import PortMapping
    from netkit._nat.rule import NatRule
    from netkit._netlink.link import LinkStats
    from netkit._outside import Outside
    from netkit._reading import LinkInfo
    from netkit._route import RouteTable
    from netkit._shutdown import shutdown
    from netkit._snapshot import Snapshot
    from netkit._spec.address import Address
    from netkit._spec.bridges import BridgeInfo, PortInfo
    from netkit._spec.nat import NatSpec
    from netkit._spec.neighbours import FdbEntry, Neighbour
    from netkit._spec.publish import PublishedPort
    from netkit._spec.routes import NextHop, Route
    from netkit._spec.rules import Rule
    from netkit._system.icmp import PingResult
    from netkit._system.started import Process
    from netkit._topology import Network, Topology
    from netkit._veth import VethPair
    from netkit._waiting import wait_for, wait_for_async
    from netkit.errors import (
        AccessError,
        BackendError,
        BusyError,
        CommandError,
        ExistsError,
        KernelError,
        NetkitError,
        NotFoundError,
        ProtocolError,
        SpecError,
        StateError,
        TeardownError,
        UnsupportedError,
        WaitTimeout,
    )

__version__ = "0.1.0"

__all__ = [
    "AccessError",
    "Address",
    "BackendError",
    "Bridge",
    "BridgeInfo",
    "BusyError",
    "Capture",
    "CommandError",
    "ExistsError",
    "FdbEntry",
    "KernelError",
    "Leftover",
    "Link",
    "LinkInfo",
    "LinkStats",
    "Namespace",
    "NatRule",
    "NatSpec",
    "Neighbour",
    "NetkitError",
    "Network",
    "NextHop",
    "NotFoundError",
    "Outside",
    "Packet",
    "Picture",
    "PingResult",
    "PortInfo",
    "PortMapping",
    "Process",
    "ProtocolError",
    "PublishedPort",
    "Resource",
    "Route",
    "RouteTable",
    "Rule",
    "Scope",
    "Snapshot",
    "SpecError",
    "StateError",
    "TeardownError",
    "Topology",
    "UnsupportedError",
    "VethPair",
    "WaitTimeout",
    "errors",
    "gc",
    "shutdown",
    "wait_for",
    "wait_for_async",
]


# Everything is imported when it is first asked for: `import netkit` costs next to nothing, for those who have
# it as a plugin of pytest too, and a program loads only what it uses.
_HOMES = {
    "Address": "_spec.address",
    "Bridge": "_bridge",
    "BridgeInfo": "_spec.bridges",
    "Capture": "_capture",
    "CommandError": "_command_error",
    "FdbEntry": "_spec.neighbours",
    "Leftover": "_gc",
    "Link": "_link",
    "LinkInfo": "_reading",
    "LinkStats": "_netlink.link",
    "Namespace": "_namespace",
    "NatRule": "_nat.rule",
    "NatSpec": "_spec.nat",
    "Neighbour": "_spec.neighbours",
    "Network": "_topology",
    "NextHop": "_spec.routes",
    "Outside": "_outside",
    "Picture": "_display.picture",
    "Packet": "_capture",
    "PingResult": "_system.icmp",
    "PortInfo": "_spec.bridges",
    "PortMapping": "_nat.publish",
    "Process": "_system.started",
    "PublishedPort": "_spec.publish",
    "Resource": "_lifecycle",
    "Route": "_spec.routes",
    "RouteTable": "_route",
    "Rule": "_spec.rules",
    "Scope": "_lifecycle",
    "Snapshot": "_snapshot",
    "Topology": "_topology",
    "VethPair": "_veth",
    "gc": "_gc",
    "shutdown": "_shutdown",
    "wait_for": "_waiting",
    "wait_for_async": "_waiting",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = import_module(f"netkit.{_HOMES.get(name, 'errors')}")
    value = globals()[name] = home if name == "errors" else getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
