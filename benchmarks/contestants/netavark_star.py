"""netavark as podman calls it, a process per container; this process is in the hub, as podman is on its host.

It always adds its firewall rules for the network: there is no option to leave them out.
"""

from __future__ import annotations

import json
import os
import subprocess

from .. import peers, plan
from .commands import each, here
from .commands_star import names, run

STATE = "/run/netavark"
NETWORK = {
    "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
    "name": "star",
    "driver": "bridge",
    "network_interface": "br0",
    "subnets": [{"subnet": f"{plan.FIRST - 1}/{plan.PREFIX}", "gateway": plan.gateway()}],
    "ipv6_enabled": False,
    "internal": False,
    "dns_enabled": False,
    "ipam_options": {"driver": "host-local"},
}


class Star:
    """See contestants.Star."""

    survives = True

    def __init__(self) -> None:
        self.program = peers.need("/usr/lib/podman/netavark", "netavark")

    def hub(self) -> str:
        run(f"ip link set lo up\nmkdir -p {STATE}\n")
        return f"/proc/{os.getpid()}/ns/net"

    def _call(self, verb: str, number: int) -> None:
        options = {
            "container_id": f"{number:064x}",
            "container_name": f"c{number}",
            "networks": {"star": {"static_ips": [plan.address(number)], "interface_name": "eth0"}},
            "network_info": {"star": NETWORK},
        }
        command = [self.program, "--config", STATE, verb, self.place(number)]
        done = subprocess.run(command, input=json.dumps(options), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"netavark {verb}: {done.stdout.strip()} {done.stderr.strip()}")

    def build(self, size: int) -> None:
        if plan.bridges(size) > 1:
            raise RuntimeError(f"a network of netavark is one bridge: at most {plan.PORTS}")
        self.size = size
        run(here("ip -batch -", each("netns add", names(size))))
        for number in range(size):
            self._call("setup", number)

    def teardown(self) -> None:
        for number in range(self.size):
            self._call("teardown", number)
        run(here("ip -batch -", each("netns delete", names(self.size))))

    def place(self, container: int) -> str:
        return f"/run/netns/c{container}"
