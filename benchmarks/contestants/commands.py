"""What a person types: `ip` with `iptables` or `nft`, one command each; and `ip -batch` with `nft -f`.

Each is one shell script, so nothing but a shell comes on top of the commands.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from ..harness import Unavailable
from . import NAMES

LINKS = """
link add veth0 netns ns1 type veth peer name veth1 netns ns2
link add br0 netns host type bridge
link add enp1s0 netns host type veth peer name eth0 netns outside
link add veth0 netns host type veth peer name veth1 netns box
"""

INSIDE = {
    "ns1": """
link set lo up
link set veth0 up
address add 172.18.0.2/24 dev veth0
route add default dev veth0
""",
    "ns2": """
link set lo up
link set veth1 up
address add 172.18.0.3/24 dev veth1
route add default dev veth1
""",
    "host": """
link set lo up
link set br0 up
link set enp1s0 up
address add 192.168.122.220/24 dev enp1s0
link set veth0 master br0 up
route add 172.18.0.0/24 dev br0
""",
    "box": """
link set lo up
link set veth1 up
address add 172.18.0.2/24 dev veth1
route add default dev veth1
""",
    "outside": """
link set lo up
link set eth0 up
address add 192.168.122.1/24 dev eth0
""",
}

# box's only route is by device, so it asks for every address by ARP, and the host is to answer, at once
FORWARDING = (
    "ip netns exec host sysctl -qw net.ipv4.ip_forward=1"
    " net.ipv4.conf.br0.proxy_arp=1 net.ipv4.neigh.br0.proxy_delay=0\n"
)

NFT = """
add table ip demo
add chain ip demo prerouting { type nat hook prerouting priority dstnat; }
add chain ip demo postrouting { type nat hook postrouting priority srcnat; }
add rule ip demo postrouting ip saddr 172.18.0.0/24 oifname enp1s0 masquerade
add rule ip demo prerouting tcp dport 80 dnat to 172.18.0.2:80
"""

IPTABLES = """
-t nat -A POSTROUTING -s 172.18.0.0/24 -o enp1s0 -j MASQUERADE
-t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80
"""


def each(prefix: str, lines: str) -> str:
    """A command per line."""
    return "".join(f"{prefix} {line}\n" for line in lines.split("\n") if line)


def _quoted(prefix: str, lines: str) -> str:
    return "".join(f"{prefix} '{line}'\n" for line in lines.split("\n") if line)


def here(command: str, lines: str) -> str:
    """The command with the lines on its standard input."""
    return f"{command} <<'END'\n{lines.strip()}\nEND\n"


def _plain_links() -> str:
    inside = (each(f"ip -n {name}", lines) for name, lines in INSIDE.items())
    return "".join([each("ip netns add", "\n".join(NAMES)), each("ip", LINKS), *inside, FORWARDING])


def with_iptables() -> str:
    """One `ip` or `iptables` command per thing."""
    tool = next((tool for tool in ("iptables-legacy", "iptables") if shutil.which(tool)), None)
    if tool is None:
        raise Unavailable("no iptables (Debian: iptables)")
    return _plain_links() + each(f"ip netns exec host {tool} -w", IPTABLES)


def with_nft() -> str:
    """One `ip` or `nft` command per thing."""
    return _plain_links() + _quoted("ip netns exec host nft", NFT)


def with_batches() -> str:
    """One `ip -batch` for all namespaces and links, one inside each namespace, one `nft -f`."""
    first = each("netns add", "\n".join(NAMES)) + LINKS
    inside = (here(f"ip -n {name} -batch -", lines) for name, lines in INSIDE.items())
    rules = here("ip netns exec host nft -f -", NFT)
    return "".join([here("ip -batch -", first), *inside, FORWARDING, rules])


REMOVE = each("ip netns del", "\n".join(NAMES))


def sweep() -> None:
    """Names that a contestant left when it failed half-way: the next one needs them. (/run is ours alone.)"""
    for name in NAMES:
        if os.path.lexists(f"/run/netns/{name}"):
            subprocess.run(["ip", "netns", "del", name], check=True)


class Script:
    """Builds by running a shell script, tears down by deleting the namespaces by name."""

    def __init__(self, script: str) -> None:
        self.script = script

    def _run(self, script: str) -> float:
        began = time.perf_counter()
        command = ["sh", "-e", "-c", script]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise Unavailable(done.stderr.strip() or f"status {done.returncode}")
        return seconds

    def build(self) -> float:
        """Seconds from nothing to everything configured."""
        return self._run(self.script)

    def teardown(self) -> float:
        """Seconds to delete the five names."""
        return self._run(REMOVE)

    def namespaces(self) -> dict[str, str]:
        """Where `ip netns` keeps them."""
        return {name: f"/run/netns/{name}" for name in NAMES}

    def close(self) -> None:
        """Nothing runs between builds."""
