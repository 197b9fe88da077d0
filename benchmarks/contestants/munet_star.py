"""munet: hosts on a bridge. This process is in the hub: a munet that is not isolated uses the caller's."""

from __future__ import annotations

import os
from typing import Any

from munet.base import BaseMunet

from .. import plan
from .commands_star import run


class Star:
    """See contestants.Star."""

    survives = True

    def hub(self) -> str:
        run("ip link set lo up\nmkdir -p /run/munet\n")
        return f"/proc/{os.getpid()}/ns/net"

    def build(self, size: int) -> None:
        if plan.bridges(size) > 1:
            raise RuntimeError(f"written for one bridge: at most {plan.PORTS}")
        self.net: Any = BaseMunet("star", isolated=False, pid=False, rundir="/run/munet")
        bridge = self.net.add_switch("br0")
        bridge.cmd_raises(f"ip address add {plan.gateway()}/{plan.PREFIX} dev br0")
        self.hosts = []
        for number in range(size):
            host = self.net.add_host(f"c{number}")
            self.hosts.append(host)
            self.net.add_link(bridge, host, f"port{number}", "eth0")
            host.cmd_raises("ip link set lo up")
            host.cmd_raises(f"ip address add {plan.address(number)}/{plan.PREFIX} dev eth0")
            host.cmd_raises(f"ip route add default via {plan.gateway()}")

    def teardown(self) -> None:
        self.net.delete()

    def place(self, container: int) -> str:
        return f"/proc/{self.hosts[container].pid}/ns/net"
