"""Whether packets really go as the demo's scenes say: three TCP connections, each once per contestant."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from .check_demo import Wrong

# where the server is, its port, where the client is, whom it calls, whom the server sees
CONNECTIONS = (
    ("ns2", 7000, "ns1", "172.18.0.3", "172.18.0.2"),  # scene 1: by the veth
    ("outside", 7000, "box", "192.168.122.1", "192.168.122.220"),  # scenes 3 and 4: masqueraded
    ("box", 80, "outside", "192.168.122.220", "192.168.122.1"),  # scene 5: dnat
)
SERVER = """
import socket
with socket.create_server(("", {port})) as server:
    server.settimeout(10)
    print("ready", flush=True)
    print(server.accept()[1][0])
"""
CLIENT = "import socket; socket.create_connection(({address!r}, {port}), timeout=5).close()"


def _python(path: str, program: str) -> list[str]:
    return ["nsenter", f"--net={path}", sys.executable, "-I", "-S", "-c", program]


def seen(server: str, client: str, address: str, port: int) -> str:
    """The client's address, as the server sees it."""
    with subprocess.Popen(
        _python(server, SERVER.format(port=port)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        calling = _python(client, CLIENT.format(address=address, port=port))
        called = subprocess.run(calling, capture_output=True, text=True)
        if called.returncode:
            process.kill()
            return called.stderr.strip().rpartition("\n")[2]
        return process.stdout.read().strip()


def check(namespaces: Mapping[str, str]) -> None:
    """Raises Wrong unless each connection is made, from the address it is to have."""
    for server, port, client, address, expected in CONNECTIONS:
        found = seen(namespaces[server], namespaces[client], address, port)
        if found != expected:
            raise Wrong(f"{client} calling {address}:{port}: wanted to be seen as {expected}, got {found!r}")
