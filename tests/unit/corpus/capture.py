"""Write the corpus anew: what this machine's kernel answers about a network with some of everything.

    unshare -n python -m tests.unit.corpus.capture

Run it in a network namespace of its own: it makes links, addresses, routes and rules. Each file
holds whole netlink messages, one after the other, each padded to four bytes.
"""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from struct import pack

from netkit._netlink.address import list_addresses
from netkit._netlink.fdb import list_fdb
from netkit._netlink.link import get_link, list_links
from netkit._netlink.neighbour import list_neighbours
from netkit._netlink.route import get_route, list_routes
from netkit._netlink.rule import list_rules
from netkit._netlink.wire import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, Request, messages
from netkit._spec.addresses import ip_address

HERE = Path(__file__).parent
SOL_NETLINK, CAP_ACK, EXT_ACK, STRICT = 270, 10, 11, 12

NETWORK = """
link set dev lo up
link add name br0 index 10 address 02:00:00:00:00:10 type bridge forward_delay 0
link add name a index 11 address 02:00:00:00:00:11 type veth peer index 12 name b address 02:00:00:00:00:12
link set dev a master br0 alias "the near end" group 7 txqueuelen 500
link property add dev b altname the-other-end-of-the-veth altname short
link add name far address 02:00:00:00:00:13 index 13 type veth peer name away netns 1
link add name m0 index 14 link b address 02:00:00:00:00:14 type macvlan mode bridge
link add name v0 index 15 type vxlan id 7 remote 10.0.0.9 dstport 4789 local 10.0.0.1
link add name i0 index 16 address 02:00:00:00:00:16 type ifb
link set dev br0 up
link set dev a up
link set dev b up
address add 10.0.0.1/24 brd + dev br0
address add 10.0.0.2/24 dev br0 label br0:two
address add 10.1.0.1 peer 10.1.0.2/32 dev br0
address add 10.2.0.1/24 dev b valid_lft 3600 preferred_lft 1800
address add fd00::1/64 dev br0 nodad
address add fd01::1 peer fd01::2/128 dev b nodad
route add default via 10.0.0.254
route add 10.9.0.0/16 via 10.0.0.253 metric 50 mtu 1300 src 10.0.0.1 proto static
route add 10.8.0.0/16 nexthop via 10.0.0.5 weight 3 nexthop via 10.2.0.6 dev b weight 1
route add 10.7.0.0/16 via 9.9.9.9 dev br0 onlink table 1000
route add blackhole 10.6.0.0/16 metric 9
route add 10.5.0.0/16 via inet6 fe80::1 dev br0
nexthop add id 5 via 10.0.0.7 dev br0
route add 10.4.0.0/16 nhid 5
route add ::/0 via fd00::2
route add fd02::/64 nexthop via fd00::3 weight 2 nexthop via fd00::4
route add unreachable fd03::/64
rule add from 10.0.0.0/8 lookup 100 priority 50
rule add to 10.1.0.0/16 iif a oif b fwmark 0x1/0xff blackhole priority 51
rule add not from 10.99.0.0/16 lookup 101 priority 53
neighbour add 10.0.0.7 lladdr 02:00:00:00:00:07 dev br0
neighbour add fd00::7 lladdr 02:00:00:00:00:07 dev br0 nud stale
neighbour add 10.0.0.8 dev br0 nud failed
"""


def main() -> None:
    """Make the network and write down what the kernel says of it."""
    # One end of a veth lies elsewhere, so that the other one has an IFLA_LINK_NETNSID.
    other = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; cat"], stdin=-1, stdout=-1)
    assert other.stdout is not None
    other.stdout.readline()
    try:
        script = NETWORK.replace("netns 1", f"netns {other.pid}")
        subprocess.run(["ip", "-batch", "-"], input=script, text=True, check=True)
        subprocess.run("ip -6 rule add from fd00::/8 lookup 1000 priority 52".split(), check=True)
        subprocess.run("bridge fdb add 02:00:00:00:00:77 dev a master static".split(), check=True)
        _write()
    finally:
        other.communicate()


def _write() -> None:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    for option in (EXT_ACK, STRICT):
        sock.setsockopt(SOL_NETLINK, option, 1)
    for name, requests in {
        "links": [list_links()],
        "addresses": [list_addresses()],
        "routes": [list_routes()],
        "rules": [list_rules()],
        "neighbours": [list_neighbours()],
        "fdb": [list_fdb(10)],
    }.items():
        (HERE / f"{name}.bin").write_bytes(b"".join([_answers(sock, r, NLM_F_DUMP) for r in requests]))
    found = [get_route(ip_address(text)) for text in ("10.9.1.1", "8.8.8.8", "fd02::1", "127.0.0.1")]
    (HERE / "found_routes.bin").write_bytes(b"".join([_answers(sock, r) for r in found]))
    _write_acknowledgements(sock)


def _write_acknowledgements(sock: socket.socket) -> None:
    """Refusals with and without words, offsets and the request's copy, and one success."""
    bad = get_link(name="x")
    bad.body = pack("=BxHiII", 0, 0, 0, 1, 0) + bad.body[16:]  # flags that a strict kernel dislikes
    long_name = get_link(name="x")
    long_name.body = long_name.body[:16] + pack("=HH", 20, 3) + b"n" * 16
    fine = Request(18, NLM_F_ACK, get_link(1).body, "")
    data = b""
    for capped in (0, 1):
        sock.setsockopt(SOL_NETLINK, CAP_ACK, capped)
        for request in (get_link(name="nosuch"), bad, long_name, list_routes(4, 999)):
            data += _answers(sock, request, NLM_F_DUMP if request.kind == 26 else 0)
        data += _answers(sock, fine, until=2)
    (HERE / "acknowledgements.bin").write_bytes(data)


def _answers(sock: socket.socket, request: Request, flags: int = 0, until: int = NLMSG_DONE) -> bytes:
    sock.send(request.pack(1, flags | NLM_F_REQUEST))
    written = b""
    while True:
        datagram = sock.recv(1 << 20)
        for kind, _, _, start, end in messages(datagram):
            message = datagram[start - 16 : end]
            written += message + bytes(-len(message) % 4)
            if kind in (until, 2) or (until == NLMSG_DONE and not flags):
                return written


if __name__ == "__main__":
    main()
