"""The program that the design shows: it runs as it stands there, against `ip`, `nft` and packets."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from netkit import Namespace
from tests.harness import place
from tests.harness.here import identity
from tests.harness.oracle import addresses, ip, link, nft_text, run_in
from tests.kernel.test_namespace import PIPES

# Literally; a name that the design's reader would have to fill in (`pid`) is given as a global.
VETH = """
with Namespace("red") as red, Namespace("blue") as blue:          # nothing exists before `with`
    with VethPair(red, blue, name="eth0", peer_name="eth0",
                  address="10.0.0.1/24", peer_address="10.0.0.2/24") as veth:   # both ends, up
        assert red.ping("10.0.0.2").loss == 0                       # no ping binary needed
        print(veth.link.name, veth.peer.ifindex, veth.peer.netns is blue)
"""
LAB = """
host = Namespace.current()                                        # borrowed: never deleted by netkit
with Scope() as lab:                                              # owns, undoes in reverse
    bridge = lab.own(Bridge(host, "br0", address="172.18.0.1/24"))
    box = lab.own(Namespace("box"))
    bridge.connect(box, name="veth0", peer_name="eth0", peer_address="172.18.0.2/24", default_route=True)
    lab.own(host.sysctl.override("net.ipv4.conf.all.forwarding", 1))
    lab.own(NatRule.masquerade(host, saddr="172.18.0.0/24", oif="eth0"))
    lab.own(NatRule.dnat(host, proto="tcp", dport=80, to="172.18.0.2:80"))
    print(box.run(["ip", "route"], capture_output=True, text=True, check=True).stdout)
    server = box.socket()                                         # an ordinary socket that lives in box
    print(box.call(socket.gethostname))                           # a function run inside box
    for route in box.routes:                                      # a fresh read of table main
        print(route.dst, route.via, route.dev)
    box.routes.replace("10.9.0.0/16", via="172.18.0.1", metric=50)
    print(box.routes.get("10.9.1.1").via)                         # the kernel's own decision
    with RouteTable(box, 100) as table:                           # what it adds, it removes
        table.add("default", via="172.18.0.1")
"""
CONTAINER = """
with Namespace.from_pid(pid) as box:                              # a running container: borrowed
    veth = VethPair(host, box, name="vbox0", peer_name="eth0", peer_address="172.18.0.9/24").create()
    Bridge.open(host, "br0").add_port(veth.link)
    veth.detach()                                                 # outlives this block and this process
"""
HEAD = """
import socket
import sys
import netkit
from netkit import Bridge, Namespace, NatRule, RouteTable, Scope, VethPair
"""


def names(ns: Namespace) -> list[str]:
    return sorted(item["ifname"] for item in ip(ns, "link", "show"))


def program(ns: Namespace, *parts: str) -> str:
    """The output of a program that runs in the namespace as its own."""
    return run_in(ns, sys.executable, "-c", HEAD + "".join(parts))


@pytest.fixture
def container() -> Iterator[int]:
    """A process in a namespace that netkit knows nothing of: its pid."""
    with subprocess.Popen(place.there("unshare", "-n", "sh", "-c", "echo; read x"), **PIPES) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        yield place.main_of(child.pid)
        child.communicate("x\n")


def test_two_namespaces_and_a_veth(host: Namespace) -> None:
    name, index, same = program(host, VETH).split()
    assert (name, same) == ("eth0", "True")
    assert int(index) > 1
    assert names(host) == ["lo"]


def test_the_lab(host: Namespace) -> None:
    run_in(host, *"ip link add eth0 type veth peer name uplink".split())
    before = nft_text(host), names(host), run_in(host, "sysctl", "-n", "net.ipv4.ip_forward")
    said = program(host, LAB).splitlines()
    assert said[0].startswith("default via 172.18.0.1 dev eth0")
    assert said[1].startswith("172.18.0.0/24 dev eth0")
    assert socket.gethostname() in said
    assert "default 172.18.0.1 eth0" in said
    assert "172.18.0.0/24 None eth0" in said
    assert said[-1] == "172.18.0.1"
    assert (nft_text(host), names(host), run_in(host, "sysctl", "-n", "net.ipv4.ip_forward")) == before


INSIDE_THE_LAB = """
    import subprocess
    def tool(ns, *words):
        return ns.run(list(words), capture_output=True, text=True, check=True).stdout
    assert "default via 172.18.0.1" in tool(box, "ip", "route", "show", "default")
    (line,) = tool(box, "ip", "route", "show", "10.9.0.0/16").splitlines()
    assert line.startswith("10.9.0.0/16 via 172.18.0.1 dev eth0") and "metric 50" in line
    assert tool(box, "ip", "route", "show", "table", "100") == ""
    assert tool(host, "sysctl", "-n", "net.ipv4.conf.all.forwarding") == "1\\n"
    rules = tool(host, "nft", "list", "ruleset")
    assert 'ip saddr 172.18.0.0/24' in rules and 'oifname "eth0"' in rules and "masquerade" in rules
    assert "tcp dport 80" in rules and "dnat" in rules and "172.18.0.2:80" in rules
    assert box.ping("172.18.0.1").loss == 0
    server.bind(("172.18.0.2", 80)); server.listen(); server.settimeout(60)
    with socket.create_connection(("172.18.0.2", 80), timeout=300) as client:
        server.accept()[0].sendall(b"served"); assert client.recv(10) == b"served"
    server.close()
    print("checked")
"""


def test_the_lab_is_what_the_tools_say(host: Namespace) -> None:
    run_in(host, *"ip link add eth0 type veth peer name uplink".split())
    assert program(host, LAB, INSIDE_THE_LAB).splitlines()[-1] == "checked"


def test_a_running_container(host: Namespace, container: int) -> None:
    run_in(host, *"ip link add br0 type bridge".split())
    run_in(host, *"ip link set br0 up".split())
    run_in(host, *"ip address add 172.18.0.1/24 dev br0".split())
    part = "host = Namespace.current()\npid = int(sys.argv[1])\n"
    run_in(host, sys.executable, "-c", HEAD + part + CONTAINER, str(place.number_there(container)))
    with Namespace.from_pid(container) as box:
        assert identity(box.fileno()) == identity(f"/proc/{container}/ns/net")
        assert addresses(box, "eth0") == ["172.18.0.9/24"]
        assert link(box, "eth0")["operstate"] == "UP"
        assert link(host, "vbox0")["master"] == "br0"
        assert link(host, "vbox0")["group"] == "default"
        assert host.ping("172.18.0.9").loss == 0
        veth = box.links["eth0"]
        veth.delete()
    assert names(host) == ["br0", "lo"]


def test_the_whole_page_as_one_program(host: Namespace, container: int) -> None:
    """Between the blocks only what the text leaves out: eth0, and that br0 exists again for the last."""
    run_in(host, *"ip link add eth0 type veth peer name uplink".split())
    again = 'outer = Scope().__enter__(); outer.own(Bridge(host, "br0", address="172.18.0.1/24"))\n'
    part = f"{again}pid = {place.number_there(container)}\n"
    end = "outer.__exit__(None, None, None)\n"
    program(host, VETH, LAB, "server.close()\n", part, CONTAINER, end)
    assert names(host) == ["eth0", "lo", "uplink", "vbox0"]
    assert "master" not in link(host, "vbox0")
    run_in(host, "ip", "link", "delete", "vbox0")


def test_the_blocks_run_in_this_process_too(host: Namespace) -> None:
    """As a test or a notebook would: `host` is a namespace here, not the one the program was started in."""
    run_in(host, *"ip link add eth0 type veth peer name uplink".split())
    scope: dict[str, Any] = {"HOST": host}
    exec(HEAD + VETH + LAB.replace("Namespace.current()", "HOST"), scope)
    scope["server"].close()
    assert names(host) == ["eth0", "lo", "uplink"]
