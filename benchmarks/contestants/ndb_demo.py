"""pyroute2's NDB: one NDB for the process, each namespace a source of it."""

from __future__ import annotations

from socket import AF_INET
from typing import Any

from pyroute2 import NDB, netns

from . import NAMES
from .pyroute2_demo import forward
from .pyroute2_nat import add_rules


class Demo:
    """See contestants.Demo."""

    def __init__(self) -> None:
        self.ndb: Any = NDB(log="off")

    def _add(self, name: str) -> None:
        netns.create(name)
        self.ndb.sources.add(target=name, netns=name)
        self._interface(name, "lo").set("state", "up").commit()

    def _interface(self, target: str, name: str) -> Any:
        """The database hears of the other end's birth by an event: wait for it."""
        return self.ndb.interfaces.wait(target=target, ifname=name)

    def _veth(self, target: str, name: str, peer: str, peer_target: str) -> Any:
        end = self.ndb.interfaces.create(
            target=target, ifname=name, kind="veth", peer={"ifname": peer, "net_ns_fd": peer_target}
        )
        return end.set("state", "up")

    def _end(self, target: str, name: str, address: str, default: bool = True) -> None:
        end = self._interface(target, name).set("state", "up").add_ip(address).commit()
        if default:
            self._route(target, "", 0, end["index"])

    def _route(self, target: str, dst: str, dst_len: int, index: int) -> None:
        # in full: with less, NDB takes the kernel's own route by this device for the one to be created
        self.ndb.routes.create(
            target=target, family=AF_INET, table=254, dst=dst, dst_len=dst_len, oif=index, scope=253
        ).commit()

    def _host(self) -> None:
        bridge = self.ndb.interfaces.create(target="host", ifname="br0", kind="bridge")
        bridge.set("state", "up").commit()
        self._veth("host", "enp1s0", "eth0", "outside").add_ip("192.168.122.220/24").commit()
        self._veth("host", "veth0", "veth1", "box").set("master", bridge["index"]).commit()
        self._route("host", "172.18.0.0", 24, bridge["index"])

    def build(self) -> None:
        for name in NAMES:
            self._add(name)
        near = self._veth("ns1", "veth0", "veth1", "ns2").add_ip("172.18.0.2/24").commit()
        self._route("ns1", "", 0, near["index"])
        self._end("ns2", "veth1", "172.18.0.3/24")
        self._host()
        self._end("box", "veth1", "172.18.0.2/24")
        self._end("outside", "eth0", "192.168.122.1/24", default=False)
        forward()
        add_rules("host")

    def teardown(self) -> None:
        for name in NAMES:
            self.ndb.sources.remove(name)
            netns.remove(name)

    def namespaces(self) -> dict[str, str]:
        return {name: f"/run/netns/{name}" for name in NAMES}
