"""CNI's plugins as a container runtime calls them: bridge with host-local, a process per container.

This process is in the hub, as a runtime is on its host. Addresses are asked for, since host-local hands
out the next one in each round; its records are kept in the benchmark's own /run.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from .. import peers, plan
from .commands import each, here
from .commands_star import names, run

STATE = "/run/cni"


class Star:
    """See contestants.Star."""

    survives = True

    chain: tuple[dict[str, Any], ...] = ()  # what comes after the bridge plugin

    def __init__(self) -> None:
        self.plugins = os.path.dirname(peers.need("/usr/lib/cni/bridge", "containernetworking-plugins"))
        subnet = {"subnet": f"{plan.FIRST - 1}/{plan.PREFIX}", "gateway": plan.gateway()}
        ipam = {
            "type": "host-local",
            "ranges": [[subnet]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": STATE,
        }
        bridge = {"type": "bridge", "bridge": "br0", "isGateway": True, "ipam": ipam}
        self.configurations = [bridge, *self.chain]

    def hub(self) -> str:
        run("ip link set lo up\n")
        return f"/proc/{os.getpid()}/ns/net"

    def _call(self, command: str, configuration: dict[str, Any], number: int, previous: object) -> Any:
        whole = {"cniVersion": "0.4.0", "name": "star", **configuration}
        if previous is not None:
            whole["prevResult"] = previous
        environment = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"c{number}",
            "CNI_NETNS": self.place(number),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.plugins,
            "CNI_ARGS": f"IgnoreUnknown=1;IP={plan.address(number)}",
        }
        program = os.path.join(self.plugins, configuration["type"])
        done = subprocess.run(
            [program], input=json.dumps(whole), env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(
                f"{configuration['type']} {command}: {done.stdout.strip() or done.stderr.strip()}"
            )
        return json.loads(done.stdout) if done.stdout.strip() else None

    def build(self, size: int) -> None:
        if plan.bridges(size) > 1:
            raise RuntimeError(f"a network of the bridge plugin is one bridge: at most {plan.PORTS}")
        self.size = size
        run(here("ip -batch -", each("netns add", names(size))))
        self.results = []
        for number in range(size):
            result = None
            for configuration in self.configurations:
                result = self._call("ADD", configuration, number, result)
            self.results.append(result)

    def teardown(self) -> None:
        for number in range(self.size):
            for configuration in reversed(self.configurations):
                self._call("DEL", configuration, number, self.results[number])
        run("ip link delete br0\n" + here("ip -batch -", each("netns delete", names(self.size))))

    def place(self, container: int) -> str:
        return f"/run/netns/c{container}"
