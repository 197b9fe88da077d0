"""pyroute2's IPRoute: named namespaces, ends created in place, links deleted one by one."""

from __future__ import annotations

import os
from socket import AF_INET
from typing import Any

from pyroute2 import IPRoute, netns

from .. import plan


class Star:
    """See contestants.Star."""

    survives = True

    more: dict[str, int] = {}  # noqa: RUF012

    def hub(self) -> str:
        self.name = f"hub-{os.getpid()}"
        netns.create(self.name)
        self.ipr: Any = IPRoute(netns=self.name, flags=0)
        return f"/run/netns/{self.name}"

    def _bridge(self, number: int) -> int:
        self.ipr.link("add", ifname=f"br{number}", kind="bridge", state="up", **self.more)
        index: int = self.ipr.link_lookup(ifname=f"br{number}")[0]
        if number == 0:
            self.ipr.addr("add", index=index, address=plan.gateway(), prefixlen=plan.PREFIX)
            return index
        peer = {"ifname": f"up{number}", **self.more}
        near = {"ifname": f"down{number}", "master": self.bridges[0], "state": "up", **self.more}
        self.ipr.link("add", kind="veth", peer=peer, **near)
        far = self.ipr.link_lookup(ifname=f"up{number}")[0]
        self.ipr.link("set", index=far, master=index, state="up")
        return index

    def _link(self, number: int) -> None:
        master = self.bridges[number // plan.PORTS]
        peer = {"ifname": "eth0", "net_ns_fd": f"c{number}"}
        self.ipr.link(
            "add", ifname=f"port{number}", kind="veth", peer=peer, master=master, state="up", **self.more
        )

    def _configure(self, number: int) -> None:
        with IPRoute(netns=f"c{number}", flags=0) as inside:
            ipr: Any = inside
            ipr.link("set", index=1, state="up")
            index = ipr.link_lookup(ifname="eth0")[0]
            ipr.link("set", index=index, state="up")
            ipr.addr("add", index=index, address=plan.address(number), prefixlen=plan.PREFIX)
            ipr.route("add", family=AF_INET, dst="default", gateway=plan.gateway())

    def build(self, size: int) -> None:
        self.size = size
        self.bridges: list[int] = []
        for number in range(plan.bridges(size)):
            self.bridges.append(self._bridge(number))
        for number in range(size):
            netns.create(f"c{number}")
            self._link(number)
            self._configure(number)

    def _delete_links(self) -> None:
        for index in [link["index"] for link in self.ipr.get_links() if link["index"] != 1]:
            try:
                self.ipr.link("del", index=index)
            except Exception as refusal:
                if getattr(refusal, "code", 0) != 19:  # ENODEV: it went with its other end
                    raise

    def teardown(self) -> None:
        self._delete_links()
        for number in range(self.size):
            netns.remove(f"c{number}")

    def place(self, container: int) -> str:
        return f"/run/netns/c{container}"
