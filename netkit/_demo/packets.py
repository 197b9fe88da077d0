"""What is asked of the networks in scenes.py; the demo prints these bodies too."""

from __future__ import annotations

import os
import sys
from socket import AF_PACKET, SOCK_RAW
from subprocess import PIPE

from netkit import KernelError, Link, Namespace, PingResult
from netkit._demo import page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import Popen

WEB_SERVER = page.__file__
EXPERIMENTAL = 0x88B5  # an Ethertype for local experiments: IEEE 802, clause 9.2.4
BROADCAST = b"\xff" * 6
PATIENCE = 30.0  # seconds, for an answer that takes a millisecond: a busy machine is no failure


def frame(ns1: Namespace, outside: Namespace) -> bytes:
    """Scene 2: an Ethernet frame from the container, as it comes out of the uplink."""
    with (
        ns1.socket(AF_PACKET, SOCK_RAW) as sender,
        outside.socket(AF_PACKET, SOCK_RAW) as receiver,
    ):
        receiver.bind(("eth0", EXPERIMENTAL))
        receiver.settimeout(PATIENCE)
        sender.bind(("veth1", EXPERIMENTAL))
        header = BROADCAST + mac_bytes(ns1.links["veth1"]) + EXPERIMENTAL.to_bytes(2, "big")
        sender.send(header + b"a frame for everybody")
        received = receiver.recv(2048)
    return received  # noqa: RET504


def ping_peer(ns1: Namespace) -> PingResult:
    """Scene 1: the other end of the veth."""
    reply = ns1.ping("172.18.0.3")
    return reply  # noqa: RET504


def ping_host(ns1: Namespace) -> PingResult:
    """Scene 3: the host, by its address on another device than the bridge."""
    reply = ns1.ping("192.168.122.220")
    return reply  # noqa: RET504


def who_am_i(ns1: Namespace, outside: Namespace) -> str:
    """Scene 4: a TCP request from the container; the server outside answers with whom it sees."""
    with outside.socket() as server, ns1.socket() as client:
        server.settimeout(PATIENCE)
        client.settimeout(PATIENCE)
        server.bind(("192.168.122.1", 7000))
        server.listen()
        client.connect(("192.168.122.1", 7000))
        client.sendall(b"who am I?")
        connection, (address, _) = server.accept()
        with connection:
            connection.sendall(address.encode())
            answer = client.recv(100).decode()
    return answer


def no_route(outside: Namespace, address: str) -> str | None:
    """Scene 4: the kernel's words on why the server has no way to an address; None if it has one."""
    try:
        outside.routes.get(address)
    except KernelError as refusal:
        return os.strerror(refusal.errno or 0)
    return None


def get_page(ns1: Namespace, outside: Namespace) -> str:
    """Scene 5: a page from the container's web server, by the host's address."""
    program = [sys.executable, "-I", WEB_SERVER]
    server = ns1.popen(program, stdin=PIPE, stdout=PIPE, process_group=0)  # Ctrl-C is ours
    try:
        wait_for_line(server)  # it says when it listens
        text = outside.call(fetch, "192.168.122.220")
    finally:
        server.kill()
        server.communicate()
    return text


def wait_for_line(process: Popen[bytes]) -> None:
    """Wait until a program says something; EOFError if it ends instead."""
    if process.stdout is None or not process.stdout.readline():
        raise EOFError("the program ended before it said anything")


def mac_bytes(link: Link) -> bytes:
    """A link's MAC as it stands in a frame."""
    return bytes.fromhex((link.mac or "").replace(":", ""))


def fetch(address: str) -> str:
    """GET http://ADDRESS/, from wherever this is called."""
    from http.client import HTTPConnection

    connection = HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        return f"{response.status} {response.reason}\n{response.read().decode()}"
    finally:
        connection.close()
