"""Mininet: hosts on a LinuxBridge, without a controller. This process is in the hub, Mininet's root.

`Mininet.init` is not called: it would set limits of the whole machine (fs.file-max, net.core.wmem_max).
"""

from __future__ import annotations

import os
from typing import Any

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge

from .. import plan
from .commands_star import run


class Star:
    """See contestants.Star."""

    survives = True

    def __init__(self) -> None:
        setLogLevel("error")
        Mininet.inited = True

    def hub(self) -> str:
        run("ip link set lo up\n")
        return f"/proc/{os.getpid()}/ns/net"

    def build(self, size: int) -> None:
        if plan.bridges(size) > 1:
            raise RuntimeError(f"written for one bridge: at most {plan.PORTS}")
        self.net: Any = Mininet(controller=None, switch=LinuxBridge)
        bridge = self.net.addSwitch("br0")
        for number in range(size):
            host = self.net.addHost(
                f"c{number}",
                ip=f"{plan.address(number)}/{plan.PREFIX}",
                defaultRoute=f"via {plan.gateway()}",
            )
            self.net.addLink(bridge, host)
        self.net.start()
        bridge.cmd(f"ip address add {plan.gateway()}/{plan.PREFIX} dev br0")

    def teardown(self) -> None:
        self.net.stop()

    def place(self, container: int) -> str:
        return f"/proc/{self.net.hosts[container].pid}/ns/net"
