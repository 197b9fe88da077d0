"""Strangers at work beside netkit: what they put in the place of what it made is there in the end.

Each case three times over: undone by the process itself, by its guard, and by `netkit gc`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

import netkit
from netkit import Namespace
from netkit._lifecycle.protocol_mark import addresses_have_numbers
from tests.harness.killed import Doomed, doomed
from tests.harness.patience import LONG
from tests.harness.tools import needs_iptables

pytestmark = pytest.mark.capable


class Case(NamedTuple):
    """What netkit makes, what a stranger does then, what must hold in the end, and how that is cleared up."""

    made: str
    done: str
    holds: str
    cleared: str


# In `done`, INDEX(name), GROUP(name) and ALIAS(name) are what the link has.
CASES = {
    "group and MAC changed": Case(
        'own(Bridge(host, "br-a"))',
        "ip link set br-a group 77 address 02:00:00:00:00:01",
        "ip link show br-a",
        "ip link del br-a",
    ),
    "name taken": Case(
        'own(Bridge(host, "br-a"))',
        "ip link del br-a; ip link add br-a type bridge",
        "ip link show br-a",
        "ip link del br-a",
    ),
    "name, index and alias taken": Case(
        'own(Bridge(host, "br-a"))',
        "ip link del br-a; ip link add br-a index INDEX(br-a) type bridge\n"
        "ip link set br-a alias ALIAS(br-a)",
        "ip link show br-a",
        "ip link del br-a",
    ),
    "renamed, and the name taken": Case(
        'own(Bridge(host, "br-a"))',
        "ip link set br-a down; ip link set br-a name other; ip link add br-a type bridge",
        "ip link show br-a && ! ip link show other",
        "ip link del br-a",
    ),
    "a pair with both indexes": Case(
        'own(VethPair(host, host, name="va", peer_name="vb"))',
        "ip link del va; ip link add va index INDEX(va) type veth peer name vb index INDEX(vb)",
        "ip link show va && ip link show vb",
        "ip link del va",
    ),
    "a link in our group": Case(
        'own(Bridge(host, "br-a")), own(Bridge(host, "br-b"))',
        "ip link add mine type bridge; ip link set mine group GROUP(br-a)",
        "ip link show mine && ! ip link show br-a && ! ip link show br-b",
        "ip link del mine",
    ),
    "a port of our bridge": Case(
        'own(Bridge(host, "br-a"))',
        "ip link add mine type veth peer name mine2; ip link set mine master br-a",
        "ip link show mine && ! ip link show br-a",
        "ip link del mine",
    ),
    "a route replaced": Case(
        'own(RouteTable(host, 191)).add("10.92.0.0/16", type="blackhole")',
        "ip route replace prohibit 10.92.0.0/16 table 191",
        "ip route show table 191 | grep prohibit",
        "ip route flush table 191",
    ),
    "a route that was replaced by us, replaced": Case(
        'sh("ip route add blackhole 10.92.0.0/16 table 191")\n'
        'own(RouteTable(host, 191)).replace("10.92.0.0/16", type="prohibit")',
        "ip route replace unreachable 10.92.0.0/16 table 191",
        "ip route show table 191 | grep unreachable",
        "ip route flush table 191",
    ),
    "a route made anew": Case(
        'own(RouteTable(host, 191)).add("10.92.0.0/16", type="blackhole", metric=5)',
        "ip route flush table 191; ip route add blackhole 10.92.0.0/16 table 191 metric 5",
        "ip route show table 191 | grep blackhole",
        "ip route flush table 191",
    ),
    "an IPv6 route made anew": Case(
        'own(RouteTable(host, 191)).add("fd92::/64", type="blackhole", metric=5)',
        "ip -6 route flush table 191; ip -6 route add blackhole fd92::/64 table 191 metric 5",
        "ip -6 route show table 191 | grep blackhole",
        "ip -6 route flush table 191",
    ),
    "a route of another metric": Case(
        'own(RouteTable(host, 191)).add("10.92.0.0/16", type="blackhole")',
        "ip route flush table 191; ip route add blackhole 10.92.0.0/16 table 191 metric 9 proto 110",
        "ip route show table 191 | grep blackhole",
        "ip route flush table 191",
    ),
    "a route beside ours": Case(
        'own(RouteTable(host, 191)).add("10.92.0.0/16", type="blackhole")',
        "ip route add blackhole 10.99.0.0/16 table 191",
        "ip route show table 191 | grep 10.99 && ! ip route show table 191 | grep 10.92",
        "ip route flush table 191",
    ),
    "the device of a route renamed": Case(
        'sh("ip link add mine type bridge; ip link set mine up")\n'
        'own(RouteTable(host, 191)).add("fd92::/64", dev="mine")',
        "ip link set mine name mine3",
        "! ip -6 route show table 191 | grep fd92",
        "ip link del mine3",
    ),
    "a rule made anew": Case(
        'own(host.rules).add(src="10.92.0.0/16", table=191, priority=901)',
        "ip rule del priority 901; ip rule add from 10.92.0.0/16 lookup 191 priority 901",
        "ip rule | grep 901",
        "ip rule del priority 901",
    ),
    "an equal rule": Case(
        'own(host.rules).add(src="10.92.0.0/16", table=191, priority=901)',
        "ip rule add from 10.92.0.0/16 lookup 191 priority 901",
        "test $(ip rule | grep -c 901) = 1 && ! ip -d rule | grep 901 | grep 'proto 110'",
        "ip rule del priority 901",
    ),
    "an address made anew": Case(
        'sh("ip link add mine type bridge")\nown(host.links["mine"].addresses).add("10.91.0.7/24")',
        "ip addr del 10.91.0.7/24 dev mine; ip addr add 10.91.0.7/24 dev mine",
        "ip addr show mine | grep 10.91.0.7",
        "ip link del mine",
    ),
    "a neighbour made anew": Case(
        'sh("ip link add mine type bridge; ip link set mine up")\n'
        'own(host.neighbours).add("10.91.0.9", mac="02:00:00:00:00:09", dev="mine")',
        "ip neigh del 10.91.0.9 dev mine; ip neigh add 10.91.0.9 lladdr 02:00:00:00:00:09 dev mine",
        "ip neigh show | grep 10.91.0.9",
        "ip link del mine",
    ),
    "a sysctl changed": Case(
        'own(host.sysctl.override("net.ipv4.ip_default_ttl", 91))',
        "sysctl -qw net.ipv4.ip_default_ttl=77",
        "test $(sysctl -n net.ipv4.ip_default_ttl) = 77",
        "sysctl -qw net.ipv4.ip_default_ttl=64",
    ),
    "a name made anew": Case(
        'own(Namespace("box"))',
        "rm /run/netns/box; ip netns add box",
        "ip netns exec box true",
        "ip netns del box",
    ),
    "a persistent name made anew": Case(
        'own(Namespace("box", persistent=True))',
        "ip netns del box; ip netns add box",
        "ip netns exec box true",
        "ip netns del box",
    ),
}
RULE = "POSTROUTING -s 10.91.0.0/24 -j MASQUERADE"
IPTABLES_CASE = Case(
    'own(NatRule.masquerade(host, saddr="10.91.0.0/24", backend="iptables"))',
    f"iptables-legacy -w -t nat -A {RULE}",
    "test $(iptables-legacy -w -t nat -S POSTROUTING | grep -c 10.91) = 1",
    f"iptables-legacy -w -t nat -D {RULE}",
)
HELP = "import subprocess\ndef sh(command): subprocess.run(command, shell=True, check=True)\n"


def by_itself(process: Doomed) -> None:
    child = process._child
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(LONG) == 0
    process.await_guard()


def by_the_guard(process: Doomed) -> None:
    process.kill()


def by_gc(process: Doomed) -> None:
    process.kill_guard()
    process.kill()
    netkit.gc()


End = Callable[[Doomed], None]
ends = pytest.mark.parametrize("end", [by_itself, by_the_guard, by_gc])


@pytest.fixture(autouse=True)
def outside() -> Iterator[None]:
    with Namespace.current():
        yield
    netkit.shutdown()


@ends
@pytest.mark.parametrize("name", CASES)
def test_what_others_put_in_its_place_is_theirs(name: str, end: End) -> None:
    check(CASES[name], end)


@ends
@needs_iptables
def test_an_equal_rule_of_iptables_is_theirs(end: End) -> None:
    check(IPTABLES_CASE, end)


def check(case: Case, end: End) -> None:
    with doomed(HELP + case.made, stderr=subprocess.DEVNULL) as process:
        sh(expanded(case.done))
        end(process)
    try:
        sh(case.holds)
    finally:
        subprocess.run(case.cleared, shell=True)
    assert netkit.gc() == []


def sh(command: str) -> str:
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def expanded(command: str) -> str:
    """With what `ip -j link` says of the links that are named."""
    for record in json.loads(sh("ip -j link")):
        name = record["ifname"]
        command = command.replace(f"INDEX({name})", str(record["ifindex"]))
        command = command.replace(f"GROUP({name})", record["group"])
        command = command.replace(f"ALIAS({name})", f"'{record.get('ifalias', '')}'")
    return command


@pytest.mark.parametrize(
    ("release", "they_have"),
    [
        ("5.15.0-91-generic", False),
        ("5.18", True),
        ("6.1.0-18-amd64", True),
        ("6.18.44-fc", True),
        ("4.19.1", False),
    ],
)
def test_kernels_that_say_who_made_an_address(release: str, they_have: bool) -> None:
    assert addresses_have_numbers(release) is they_have
