"""From one process to the next: detached by one, adopted by another, gone with that one however it ends."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

import netkit
from netkit import Namespace
from tests.harness.killed import doomed, said
from tests.harness.patience import LONG
from tests.harness.tools import needs_iptables

pytestmark = pytest.mark.capable

LOOKS = (  # routes of the kernel's own come and go with IPv6 addresses
    "ip -br link", "ip route show table all | grep -v 'proto kernel'",
    "ip rule", "nft list ruleset", "iptables-legacy -w -t nat -S", "ls /run/netns",
)  # fmt: skip
RULE = 'NatRule.masquerade(host, saddr="10.91.0.0/24"{})'
HANDED_OVER = {  # what the first one does, and the second
    "a pair": (
        'VethPair(host, host, name="va", peer_name="vb").create().detach()',
        'VethPair.open(host, "va").adopt()',
    ),
    "a bridge": ('Bridge(host, "br-a").create().detach()', 'Bridge.open(host, "br-a").adopt()'),
    "a persistent namespace": (
        'Namespace("box", persistent=True).create().detach()',
        'Namespace.open("box").adopt()',
    ),
    "a named namespace": ('Namespace("box").create().detach()', 'Namespace("box").adopt()'),
    "a rule": (f"{RULE.format('')}.create().detach()", f"{RULE.format('')}.adopt()"),
    "a route": (
        'own(RouteTable(host, 191)).add("10.92.0.0/16", type="blackhole")\nscope.detach()',
        'own(RouteTable(host, 191)).adopt("10.92.0.0/16")',
    ),
    "a box at a bridge": (
        'bridge = own(Bridge(host, "br-a", address="172.31.0.1/24"))\n'
        'box = own(Namespace("box", persistent=True))\n'
        'bridge.connect(box, name="vbox", peer_name="eth0", peer_address="172.31.0.2/24")\n'
        "scope.detach()",
        '[Bridge.open(host, "br-a").adopt(), VethPair.open(host, "vbox").adopt(), '
        'Namespace.open("box").adopt()]',
    ),
    "a published port": (
        'own(Bridge(host, "br-a", address="172.31.0.1/24"))\n'
        'own(host.publish(8080, to="172.31.0.2:80"))\nscope.detach()',
        '[Bridge.open(host, "br-a").adopt(), host.publish(8080, to="172.31.0.2:80").adopt()]',
    ),
}
LEGACY = RULE.format(', backend="iptables"')
KINDS = [*HANDED_OVER, pytest.param("a rule of iptables", marks=needs_iptables)]
HANDED_OVER["a rule of iptables"] = (f"{LEGACY}.create().detach()", f"{LEGACY}.adopt()")


@pytest.fixture(autouse=True)
def outside() -> Iterator[None]:
    with Namespace.current() as here, here.sysctl.override("net.ipv4.ip_forward", 1):
        yield
    netkit.shutdown()


@pytest.mark.parametrize("end", ["itself", "guard", "gc"])
@pytest.mark.parametrize("kind", KINDS)
def test_detached_it_outlives_its_maker_and_goes_with_who_adopts_it(kind: str, end: str) -> None:
    make, adopt = HANDED_OVER[kind]
    before = said(*LOOKS)
    with doomed(make, stderr=subprocess.DEVNULL) as first:
        first.kill()
    made = said(*LOOKS)
    assert made != before
    assert not first.journal.is_file()
    netkit.gc()
    assert said(*LOOKS) == made
    with doomed(f"kept = {adopt}", stderr=subprocess.DEVNULL) as second:
        if end == "itself":
            child = second._child
            assert child.stdin is not None
            child.stdin.close()
            assert child.wait(LONG) == 0
            second.await_guard()
        else:
            if end == "gc" and second.guard:  # a rule of nftables needs none: its table's owner is a socket
                second.kill_guard()
            second.kill()
            netkit.gc()
    until = time.monotonic() + LONG
    while said(*LOOKS) != before and time.monotonic() < until:
        continue  # a veth goes some 30 ms after the namespace at its other end (F35)
    assert said(*LOOKS) == before
    assert not second.journal.is_file()
