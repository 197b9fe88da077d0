"""What NAT needs of forwarding: firewalls of others that drop, and are opened."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netkit import Bridge, KernelError, Namespace, PortMapping, SpecError, StateError
from netkit._netlink.socket import NetlinkSocket
from tests.harness.forwarding import (
    BY_IPTABLES_NFT,
    BY_LEGACY,
    CHAINS,
    DROPS,
    END,
    FOUR,
    HOOK,
    LAST,
    LEGACY_CHAINS,
    LEGACY_END,
    NFT,
    SIX,
    World,
    drops,
    forwards,
    nft_only,
    said,
    shown,
    world,
)
from tests.harness.killed import doomed
from tests.harness.packets import bound, comes_through, tcp, udp

__all__ = ["world"]  # the fixture

# -- firewalls that drop ----------------------------------------------------------------------


@drops
def test_F64_a_firewall_that_drops_is_named(world: World, drop: str) -> None:
    said(world.host, DROPS[drop][0])
    before = shown(world.host, drop)
    with pytest.raises(StateError, match=DROPS[drop][1]) as caught:
        world.host.publish(8080, to=(world.box, 80)).create()
    assert "open_forward=True" in str(caught.value)
    assert shown(world.host, drop) == before


# As firewalld has it, by nftables and by iptables: what is published is not dropped.
PASSES = {
    "nft": f"{NFT}; nft add rule inet fw forward ct state established,related accept; "
    "nft add rule inet fw forward counter ct status dnat accept",
    "last": "nft add table inet fw; "
    f"nft add chain inet fw forward '{{ {HOOK} }}'; nft add rule inet fw forward ct status dnat accept; "
    "nft add rule inet fw forward ct state invalid drop; "
    "nft add rule inet fw forward reject with icmpx admin-prohibited",
    "jump": f"{CHAINS}; nft add rule inet fw forward ct status dnat accept; {END}",
    "legacy-goto": f"{LEGACY_CHAINS}; "
    + "; ".join(
        f"{each}-legacy -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT"
        for each in ("iptables", "ip6tables")
    )
    + f"; {LEGACY_END}",
    "iptables-nft": f"{BY_IPTABLES_NFT}; "
    + "; ".join(
        f"{each} -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT"
        for each in ("iptables", "ip6tables")
    ),
    "legacy": f"{BY_LEGACY}; "
    + "; ".join(
        f"{each}-legacy -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT"
        for each in ("iptables", "ip6tables")
    ),
}


@drops
def test_F64_a_firewall_that_accepts_what_is_published(world: World, drop: str) -> None:
    said(world.host, PASSES[drop])
    before = shown(world.host, drop)
    with world.host.publish(8080, to=(world.box, 80)):
        for addresses in (FOUR, SIX):
            with bound(world.box, addresses[0], 80) as server:
                assert tcp(world.outside, addresses[2], 8080, server) == addresses[3]
            assert not forwards(world.outside, world.box, addresses[0])
    assert _uncounted(shown(world.host, drop)) == _uncounted(before)


@drops
@pytest.mark.parametrize("more", ["iifname eth9", "ip daddr 192.0.2.9"])
def test_F64_one_that_accepts_some_of_it_is_named(world: World, drop: str, more: str) -> None:
    by_iptables = {"iifname eth9": "-i eth9", "ip daddr 192.0.2.9": "-d 192.0.2.9"}[more]
    asked = PASSES[drop].replace("forward ct status", f"forward {more} ct status")
    asked = asked.replace("counter ct status", f"{more} counter ct status")
    asked = asked.replace(" FORWARD -m", f" FORWARD {by_iptables} -m").replace("; ip6tables -A", "; : ")
    said(world.host, asked.replace("; ip6tables-legacy -A", "; : "))
    with pytest.raises(StateError, match=DROPS[drop][1]):
        world.host.publish(8080, to=(world.box, 80)).create()


@nft_only
def test_F64_one_that_accepts_it_in_the_chain_at_its_end(world: World) -> None:
    said(world.host, f"{CHAINS}; nft add rule inet fw most ct status dnat accept; {END}")
    with world.host.publish(8080, to=(world.box, 80)), bound(world.box, FOUR[0], 80) as server:
        assert tcp(world.outside, FOUR[2], 8080, server) == FOUR[3]


def _uncounted(text: str) -> str:
    return re.sub(r"packets \d+ bytes \d+", "", text)


@drops
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_F64_opened_for_what_is_published_and_closed_again(world: World, drop: str, proto: str) -> None:
    said(world.host, DROPS[drop][0])
    before = shown(world.host, drop)
    kind, talk = (socket.SOCK_STREAM, tcp) if proto == "tcp" else (socket.SOCK_DGRAM, udp)
    mapping = world.host.publish(8080, to=(world.box, 80), proto=proto, open_forward=True)
    with mapping:
        assert "netkit" in shown(world.host, drop)
        assert mapping.exists
        for addresses in (FOUR, SIX):
            with bound(world.box, addresses[0], 80, kind) as server:
                assert talk(world.outside, addresses[2], 8080, server) == addresses[3]
            assert not forwards(world.outside, world.box, addresses[0])  # what is not published
            assert not forwards(world.far, world.box, addresses[0])
    assert shown(world.host, drop) == before


@drops
def test_F64_left_to_the_caller(world: World, drop: str) -> None:
    said(world.host, DROPS[drop][0])
    before = shown(world.host, drop)
    with world.host.publish(8080, to=(world.box, 80), proto="udp", open_forward=False):
        assert shown(world.host, drop) == before
        with bound(world.box, FOUR[0], 80, socket.SOCK_DGRAM) as server:
            assert not comes_through(world.outside, FOUR[2], 8080, server)


def test_where_nothing_drops_nothing_is_inserted(world: World) -> None:
    said(
        world.host,
        "nft add table inet fw; nft add chain inet fw f '{ type filter hook forward priority 0; }'",
    )
    said(world.host, "nft add rule inet fw f tcp dport 22 drop")
    with world.host.publish(8080, to=(world.box, 80), open_forward=True):
        assert "netkit" not in said(world.host, "nft list table inet fw")
    with world.host.publish(8080, to=(world.box, 80)):
        pass


@nft_only
def test_what_the_host_alone_may_ask_for_is_not_forwarded(world: World) -> None:
    said(world.host, NFT)
    for address in ("127.0.0.1", "::1"):
        inside = FOUR[0] if address == "127.0.0.1" else SIX[0]
        mapping = world.host.publish(8080, to=(world.box, 80), host_ip=address)
        with mapping, bound(world.box, inside, 80) as server:
            tcp(world.host, address, 8080, server)
        with world.host.publish(8080, to=(world.box, 80), host_ip=address, open_forward=True):
            assert "netkit" not in shown(world.host, "nft")


@nft_only
def test_a_firewall_of_the_other_family_is_none_of_ours(world: World) -> None:
    said(world.host, NFT.replace("inet", "ip6"))
    with world.host.publish(8080, to="172.18.0.2:80"):
        pass
    with pytest.raises(StateError, match="nft chain ip6 fw forward"):
        world.host.publish(8080, to="[fd18::2]:80").create()


@nft_only
def test_many_targets_are_accepted_by_their_networks(world: World) -> None:
    said(world.host, NFT)
    many = {9000 + n: f"172.18.0.{n}:80" for n in range(2, 20)}
    with world.host.publish_many(many, reserve=False, open_forward=True):
        assert said(world.host, DROPS["nft"][2]).count("netkit:") == 2
        with bound(world.box, FOUR[0], 80) as server:
            assert tcp(world.outside, FOUR[2], 9002, server) == FOUR[3]


@nft_only
def test_a_flushed_chain_is_seen_and_its_end_is_no_error(world: World) -> None:
    said(world.host, NFT)
    with world.host.publish(8080, to=(world.box, 80), open_forward=True) as mapping:
        (opened,) = [each for each in mapping._held if "OpenedForward" in repr(each)]
        assert opened.exists  # type: ignore[attr-defined]
        said(world.host, "nft flush chain inet fw forward")
        assert not opened.exists  # type: ignore[attr-defined]
        said(world.host, "nft delete table inet fw")


@drops
def test_several_that_say_the_same_are_adopted_each(world: World, drop: str) -> None:
    """Ports that lead to one target are let pass by equal rules: each mapping has its own."""
    said(world.host, DROPS[drop][0])
    before = shown(world.host, drop)
    ports = range(8080, 8083)
    for port in ports:
        world.host.publish(port, to=(world.box, 80), open_forward=True).create().detach()
    adopted = [world.host.publish(port, to=(world.box, 80), open_forward=True).adopt() for port in ports]
    for each in adopted:
        assert "netkit" in shown(world.host, drop)
        each.delete()
    assert shown(world.host, drop) == before


def marks(text: str) -> set[str]:
    return set(re.findall(r"netkit[:-][0-9a-f]{16}", text))


OWNER = """
import sys
from netkit import Namespace
host = Namespace.current()
with host.publish(8081, to="172.18.0.2:80", open_forward=True):
    print("up", flush=True)
    sys.stdin.read()
"""


@drops
def test_what_a_living_process_has_opened_is_not_adopted(world: World, drop: str) -> None:
    said(world.host, DROPS[drop][0])
    command = [sys.executable, "-c", OWNER]
    world.host.publish(8080, to="172.18.0.2:80", open_forward=True).create().detach()
    left = marks(shown(world.host, drop))
    owner = world.host.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == "up\n"
        world.host.publish(8080, to="172.18.0.2:80", open_forward=True).adopt().delete()
        now = marks(shown(world.host, drop))
        assert now
        assert now.isdisjoint(left)
        with bound(world.box, "172.18.0.2", 80) as server:
            assert tcp(world.outside, "192.0.2.1", 8081, server) == "192.0.2.2"
    finally:
        owner.communicate()


@drops
def test_detached_and_adopted(world: World, drop: str) -> None:
    said(world.host, DROPS[drop][0])
    before = shown(world.host, drop)
    world.host.publish(8080, to=(world.box, 80), open_forward=True).create().detach()
    assert shown(world.host, drop) != before
    with bound(world.box, FOUR[0], 80) as server:
        assert tcp(world.outside, FOUR[2], 8080, server) == FOUR[3]
    world.host.publish(8080, to=(world.box, 80), open_forward=True).adopt().delete()
    assert shown(world.host, drop) == before


@pytest.mark.capable
@drops
def test_F64_killed_nothing_is_left_in_the_firewall(drop: str) -> None:
    """The host's own: the guard removes what stands in a chain that goes on."""
    host = Namespace.current()
    said(host, DROPS[drop][0])
    try:
        before = shown(host, drop)
        program = (
            'own(Bridge(host, "br-a", address=["172.18.0.1/24", "fd18::1/64"], open_forward=True))\n'
            'own(host.sysctl.override("net.ipv4.ip_forward", 1))\n'
            'own(host.publish(8080, to="172.18.0.2:80", open_forward=True, relay=False))\n'
        )
        with doomed(program) as process:
            assert shown(host, drop).count("netkit") >= 4
            process.kill()
        assert shown(host, drop) == before
    finally:
        said(
            host,
            "nft flush ruleset; for i in iptables-legacy ip6tables-legacy; do "
            "$i -P FORWARD ACCEPT; $i -F; $i -X; done",
        )


def created(mapping: PortMapping) -> PortMapping | None:
    try:
        return mapping.create()
    except KernelError as problem:
        if "the test" not in str(problem):
            raise
        return None


def refusals(make: Callable[[], PortMapping], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each request of a creation refused in turn, until none is left to refuse."""
    step = 0
    while True:
        step += 1
        left = [step]

        def refused(real: Any, left: list[int] = left) -> Any:
            def call(*arguments: Any, **keywords: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    raise KernelError("do what was asked", 12, netns="the test")
                return real(*arguments, **keywords)

            return call

        with monkeypatch.context() as patch:
            for name in ("request", "dump", "get", "batch", "transact"):
                patch.setattr(NetlinkSocket, name, refused(getattr(NetlinkSocket, name)))
            made = created(make())
        if made is not None:
            made.delete()
            assert left[0] > 0, "a refusal was passed over"
            return
        yield


@nft_only
def test_a_refusal_leaves_the_firewall_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said(world.host, NFT + "; " + LAST.replace(" fw", " fw2"))
    before = said(world.host, "nft list ruleset")
    count = 0
    for _ in refusals(lambda: world.host.publish(8080, to=(world.box, 80), open_forward=True), monkeypatch):
        count += 1
        assert said(world.host, "nft list ruleset") == before
    assert count > 5


# -- bridges that are set apart -----------------------------------------------------------------


def test_bad_input(host: Namespace) -> None:
    with pytest.raises(SpecError, match="internal=True with open_forward=True"):
        Bridge(host, "br0", internal=True, open_forward=True)
    with pytest.raises(SpecError, match="isolate 1 is an int: give True or False"):
        Bridge(host, "br0", isolate=1)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="open_forward 'yes' is a str"):
        host.publish(80, to="172.18.0.2", open_forward="yes")  # type: ignore[arg-type]
