"""Published ports of an ordinary user: the same calls, in his own process."""

from __future__ import annotations

from tests.harness.ordinary import Ordinary
from tests.rootless.programs import program

TEXT = """
import socket
from netkit import Bridge, ExistsError

def asked(ns, address):
    with box.socket() as server, ns.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("172.18.0.2", 80))
        server.listen()
        client.settimeout(60)
        client.connect((address, 8080))
        connection, name = server.accept()
        connection.close()
        return name[0]

with Namespace() as host, Namespace() as box, Bridge(host, "br0", address="172.18.0.1/24") as bridge:
    bridge.connect(box, name="v", peer_address="172.18.0.2/24", default_route=True)
    with host.publish(8080, to="172.18.0.2:80", proto=["tcp", "udp"]) as web:
        print(*[asked(host, a) for a in ("172.18.0.1", "127.0.0.1", "::1")], asked(box, "172.18.0.1"))
        print(web.reserved, web.counters.packets)
        tracked = host.conntrack
        print(tracked.count(dport=8080), tracked.delete(dport=8080), tracked.count(dport=8080))
        try:
            host.publish(8080, to="172.18.0.2:81").create()
        except ExistsError as problem:
            print("held by this process" in str(problem))
    with host.publish(80, to="172.18.0.2:80"):
        print("a low port, too")
    print(host.snapshot().nat)
"""


def test_published_ports(nobody: Ordinary) -> None:
    assert program(nobody, TEXT) == [
        "172.18.0.1 172.18.0.1 172.18.0.1 172.18.0.1",
        "(('tcp', 8080), ('udp', 8080)) 3",
        "3 3 0",
        "True",
        "a low port, too",
        "()",
    ]
