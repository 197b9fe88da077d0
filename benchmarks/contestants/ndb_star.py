"""pyroute2's NDB: one NDB for the process, the hub and each container a source of it."""

from __future__ import annotations

from socket import AF_INET
from typing import Any

from pyroute2 import NDB, netns

from .. import plan

HUB = "hub-ndb"
# Each index only once. NDB looks for what belongs to a link by its index in all namespaces: by the kernel's
# own, eth0 would have the hub's ports for its own and for peers, and be copied with them until SQLite says
# "database table is locked", which NDB calls "DB execute error".
BRIDGE_INDEX, FIRST_INDEX = 5000, 10000


class Star:
    """See contestants.Star."""

    survives = True

    def hub(self) -> str:
        netns.create(HUB)
        self.ndb: Any = NDB(log="off")
        self.ndb.sources.add(target=HUB, netns=HUB)
        return f"/run/netns/{HUB}"

    def _container(self, number: int) -> None:
        name = f"c{number}"
        netns.create(name)
        self.ndb.sources.add(target=name, netns=name)
        self.ndb.interfaces.wait(target=name, ifname="lo").set("state", "up").commit()
        peer = {"ifname": "eth0", "net_ns_fd": name, "index": FIRST_INDEX + number}
        port = self.ndb.interfaces.create(target=HUB, ifname=f"port{number}", kind="veth", peer=peer)
        port.set("state", "up").set("master", self.bridge["index"]).commit()
        end = self.ndb.interfaces.wait(target=name, ifname="eth0").set("state", "up")
        end.add_ip(f"{plan.address(number)}/{plan.PREFIX}").commit()
        # in full: with less, NDB takes the kernel's own route by this device for the one to be created
        route = {"family": AF_INET, "table": 254, "dst": "", "dst_len": 0, "gateway": plan.gateway()}
        self.ndb.routes.create(target=name, oif=end["index"], **route).commit()

    def build(self, size: int) -> None:
        if plan.bridges(size) > 1:
            raise RuntimeError(f"written for one bridge: at most {plan.PORTS}")
        self.size = size
        self.bridge = self.ndb.interfaces.create(target=HUB, ifname="br0", kind="bridge", index=BRIDGE_INDEX)
        self.bridge.set("state", "up").add_ip(f"{plan.gateway()}/{plan.PREFIX}").commit()
        for number in range(size):
            self._container(number)

    def teardown(self) -> None:
        for number in range(self.size):
            self.ndb.interfaces[{"target": HUB, "ifname": f"port{number}"}].remove().commit()
            self.ndb.sources.remove(f"c{number}")
            netns.remove(f"c{number}")
        self.bridge.remove().commit()

    def place(self, container: int) -> str:
        return f"/run/netns/c{container}"
