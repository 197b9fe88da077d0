"""`ip -batch` and `ip netns`: one batch for the namespaces, one in the hub, one inside each container.

Deletes link by link, as one does who wants the names free when the command returns.
"""

from __future__ import annotations

import subprocess

from .. import plan
from .commands import each, here


def run(script: str) -> None:
    """One shell script; its errors are the contestant's."""
    done = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"status {done.returncode}")


def names(size: int) -> str:
    """The containers', a line each."""
    return "\n".join(f"c{number}" for number in range(size))


class Star:
    """See contestants.Star."""

    survives = True

    GROUP, HUB = "", "hub-batch"

    def hub(self) -> str:
        run(f"ip netns add {self.HUB}\nip -n {self.HUB} link set lo up\n")
        return f"/run/netns/{self.HUB}"

    def _bridge(self, number: int) -> list[str]:
        bridge = f"link add br{number} {self.GROUP} up type bridge"
        if number == 0:
            return [bridge, f"address add {plan.gateway()}/{plan.PREFIX} dev br0"]
        near = f"down{number} {self.GROUP} master br0 up type veth peer name up{number} {self.GROUP}"
        return [bridge, f"link add {near}", f"link set up{number} master br{number} up"]

    def _port(self, number: int) -> str:
        near = f"port{number} {self.GROUP} master {plan.bridge_of(number)} up"
        return f"link add {near} type veth peer name eth0 netns c{number}"

    def _container(self, number: int) -> str:
        inside = (
            "link set lo up",
            "link set eth0 up",
            f"address add {plan.address(number)}/{plan.PREFIX} dev eth0",
            f"route add default via {plan.gateway()}",
        )
        return here(f"ip -n c{number} -batch -", "\n".join(inside))

    def build(self, size: int) -> None:
        self.size = size
        hub = [line for number in range(plan.bridges(size)) for line in self._bridge(number)]
        hub += [self._port(number) for number in range(size)]
        parts = [
            here("ip -batch -", each("netns add", names(size))),
            here(f"ip -n {self.HUB} -batch -", "\n".join(hub)),
            *(self._container(number) for number in range(size)),
        ]
        run("".join(parts))

    def _deletions(self) -> str:
        bridges = plan.bridges(self.size)
        links = [f"port{number}" for number in range(self.size)]
        links += [f"down{number}" for number in range(1, bridges)] + [
            f"br{number}" for number in range(bridges)
        ]
        return here(f"ip -n {self.HUB} -batch -", each("link delete", "\n".join(links)))

    def teardown(self) -> None:
        run(self._deletions() + here("ip -batch -", each("netns delete", names(self.size))))

    def place(self, container: int) -> str:
        return f"/run/netns/c{container}"
