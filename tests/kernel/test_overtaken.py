"""Whoever makes a link or a rule is overtaken by who cleans up behind a dead process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import netkit
from netkit import Bridge, ExistsError, Namespace, Scope, VethPair
from netkit._lifecycle import collect
from tests.harness.killed import Doomed, doomed, said
from tests.harness.overtaken import before, dead, finish, left
from tests.harness.tools import needs_iptables
from tests.kernel.test_gc import NAMES, outside

__all__ = ["outside"]  # the fixture

pytestmark = pytest.mark.capable


MADE: dict[str, tuple[str, Callable[[Namespace], Bridge | VethPair | Namespace]]] = {
    "a bridge": ('Bridge(host, "br-a")', lambda host: Bridge(host, "br-a", address="10.91.0.1/24")),
    "a pair, at its near end": (
        'VethPair(host, host, name="va", peer_name="vb")',
        lambda host: VethPair(host, host, name="va", peer_name="vx", address="10.91.0.1/24"),
    ),
    "a pair, at its far end": (
        'VethPair(host, host, name="va", peer_name="vb")',
        lambda host: VethPair(host, host, name="vx", peer_name="vb"),
    ),
    "a mounted name": ('Namespace("two", persistent=True)', lambda host: Namespace("two", persistent=True)),
}


@pytest.mark.parametrize("what", MADE)
def test_a_guard_that_is_quicker_than_the_look_leaves_the_way_free(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It removes what is in the way, and the journal, between the kernel's refusal and the look for both."""
    program, make = MADE[what]
    look = "collect_name" if "name" in what else "collect_link"
    seen = said(*NAMES)
    with dead(f"own({program})") as process:
        calls = before(monkeypatch, collect, look, lambda: finish(process))
        with make(outside) as made:
            assert made.exists
            assert calls
            assert not process.journal.exists()
    assert netkit.gc() == []
    netkit.shutdown()
    assert said(*NAMES) == seen


def test_a_guard_that_has_the_link_and_not_yet_the_rest_leaves_the_way_free(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal is there still, and the link's line is struck out already."""
    with dead('own(Namespace("one")), own(Bridge(host, "br-a"))') as process:
        calls = before(monkeypatch, collect, "collect_link", lambda: _undo_link(process))
        with Bridge(outside, "br-a"):
            assert calls
            assert process.journal.exists()


def _undo_link(process: Doomed) -> None:
    said("ip link del br-a")
    lines = process.journal.read_text().splitlines()
    (number,) = [line[1:].split()[0] for line in lines if line.startswith("+") and " link " in line]
    with process.journal.open("a") as file:
        file.write(f"-{number}\n")


def test_who_is_refused_twice_is_told_the_same(outside: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is a stranger's by the time of the second try: one more would not help either."""
    with dead('own(Bridge(host, "br-a"))') as process:

        def replaced() -> None:
            finish(process)
            said("ip link add br-a type bridge")

        calls = before(monkeypatch, collect, "collect_link", replaced)
        try:
            with pytest.raises(ExistsError, match=r"The name 'br-a' is taken in .*; Bridge\.open") as caught:
                Bridge(outside, "br-a").create()
            assert caught.value.operation == "create bridge 'br-a'"
            assert len(calls) == 1
        finally:
            said("ip link del br-a")


def test_ports_that_are_made_together_with_a_bridge_come_with_it(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused with the bridge, for they are in the same send."""
    with dead('own(Bridge(host, "br-a"))') as process, Scope() as scope:
        before(monkeypatch, collect, "collect_link", lambda: finish(process))
        bridge = Bridge(outside, "br-a", address="10.91.0.1/24")
        pairs = [bridge.pair(outside, name=f"va{n}", peer_name=f"vb{n}") for n in range(3)]
        scope.own(bridge, *pairs)
        ports = [link.name for link in outside.links if link.master == bridge.link]
        assert ports == ["va0", "va1", "va2"]


def test_what_a_guest_has_left_in_a_namespace_of_ours_is_not_in_the_way(outside: Namespace) -> None:
    """It has a name: others open it, make links there, and die."""
    with Namespace("inn") as inn:
        with doomed('own(Bridge(Namespace.open("inn"), "br-a"))') as guest:
            guest.kill_guard()
            guest.kill()
            assert "br-a" in inn.links
            with Bridge(inn, "br-a"):
                pass
        assert "br-a" not in inn.links
    assert netkit.gc() == []


@pytest.mark.parametrize("renamed", [True, False])
def test_a_link_gets_the_name_of_a_dead_processs(outside: Namespace, renamed: bool) -> None:
    with dead('own(Bridge(host, "br-a"))') as process, Namespace() as box:
        process.kill_guard()
        home, name = (outside, "v0") if renamed else (box, "br-a")
        with VethPair(home, box, name=name, peer_name="v1") as pair:
            link = pair.link.down()
            _ = link.rename("br-a") if renamed else link.move(outside)
            assert outside.links["br-a"].kind == "veth"


def test_a_veth_that_the_kernel_has_not_deleted_yet_is_waited_for(outside: Namespace) -> None:
    """Of a killed process' namespace without a name: nobody has noted it, for it goes with that."""
    for _ in range(5):
        with doomed('own(VethPair(host, own(Namespace()), name="va", peer_name="eth0"))') as process:
            process.kill()
            with Namespace() as box, VethPair(outside, box, name="va", peer_name="eth0") as pair:
                assert pair.exists


def test_a_veth_to_a_namespace_that_lives_is_in_the_way(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for, wherever it leads, and an end in the same namespace is not either."""
    monkeypatch.setattr("netkit._dying.subscribe", None)
    with (
        Namespace() as box,
        VethPair(outside, box, name="va", peer_name="eth0"),
        pytest.raises(ExistsError, match="'va' is taken"),
    ):
        VethPair(outside, box, name="va", peer_name="eth1").create()
    with VethPair(outside, outside, name="va", peer_name="vb"), pytest.raises(ExistsError):
        Bridge(outside, "vb").create()


# -- rules of iptables, which are counted --------------------------------------------------------------


LEGACY = 'NatRule.masquerade(host, saddr="10.91.0.0/24", backend="iptables")'
LISTED = "iptables-legacy -w -t nat -S POSTROUTING | grep 10.91"


@needs_iptables
def test_a_rule_of_the_dead_that_is_collected_later_is_no_rule_that_was_there(outside: Namespace) -> None:
    with left(f"own({LEGACY})"), doomed(f"own({LEGACY})") as process:
        assert [each.outcome for each in netkit.gc()] == ["removed"]
        assert len(said(LISTED)[LISTED].splitlines()) == 1
        process.kill()
        assert not said(LISTED)[LISTED]


@needs_iptables
def test_a_rule_that_a_guard_removes_while_they_are_counted_is_no_rule_that_was_there(
    outside: Namespace,
) -> None:
    """The guard is done between the count and the look whose they are."""
    overtaken = f"""
import os, select, signal
from netkit._lifecycle import claims
def late(*given):
    claims.noted_rules = real
    try:
        guard = os.pidfd_open({{0}})
        os.kill({{0}}, signal.SIGCONT)
        select.select([guard], [], [])
        os.close(guard)
    except ProcessLookupError:
        pass  # without root it has gone with its owner's processes
    return real(*given)
real, claims.noted_rules = claims.noted_rules, late
own({LEGACY})"""
    with dead(f"own({LEGACY})") as first, doomed(overtaken.format(first.guard)) as process:
        assert len(said(LISTED)[LISTED].splitlines()) == 1
        process.kill()
        assert not said(LISTED)[LISTED]
