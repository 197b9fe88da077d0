"""Whoever looks, and then acts on what he saw, is overtaken by who cleans up behind a dead process.

In each test the other one does its work between the two, at the one place where the look begins.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import netkit
from netkit import Bridge, ExistsError, Namespace, NotFoundError, RouteTable, Scope, VethPair
from netkit._address import Addresses
from netkit._lifecycle import claims, collect
from netkit._neighbour import Neighbours
from netkit._rule import Rules
from netkit._system import namespace_files, nsfs, registration
from netkit._system.journal import journal
from tests.harness.killed import Doomed, doomed, said
from tests.kernel.test_gc import NAMES, outside
from tests.kernel.test_nat import needs_iptables

pytestmark = pytest.mark.capable

__all__ = ["outside"]


@contextmanager
def dead(program: str) -> Generator[Doomed]:
    """A process that was killed, and a guard that has not begun yet: `finish` lets it."""
    with doomed(program) as process:
        os.kill(process.guard, signal.SIGSTOP)
        process._child.kill()
        process._child.wait()
        try:
            yield process
        finally:
            finish(process)


@contextmanager
def left(program: str) -> Generator[Doomed]:
    """A process that was killed, its guard first."""
    with doomed(program) as process:
        process.kill_guard()
        process.kill()
        yield process


def finish(process: Doomed) -> None:
    """Let the guard do all its work."""
    try:
        os.kill(process.guard, signal.SIGCONT)
    except ProcessLookupError:
        return  # it has
    process.await_guard()


def before(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, act: Callable[[], object], times: int = 1
) -> list[tuple[Any, ...]]:
    """Do this before the first calls of a function; the list is to have what it was called with."""
    real = getattr(where, name)
    calls: list[tuple[Any, ...]] = []

    def late(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) <= times:
            act()
        return real(*args, **options)

    monkeypatch.setattr(where, name, late)
    return calls


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


# -- netkit gc beside a guard, another collector, a reader ------------------------------------------


def lock_last(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do this when a collector has opened a journal, and has not locked it yet."""
    before(monkeypatch, claims, "_is_locked", act)


def test_a_collector_comes_to_a_journal_that_its_guard_has_just_finished(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dead('own(Bridge(host, "br-a"))') as process:
        lock_last(monkeypatch, lambda: finish(process))
        assert netkit.gc() == []
        assert not process.journal.exists()
        assert "br-a" not in outside.links


def test_a_collector_comes_to_a_journal_that_another_one_has_just_finished(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = [sys.executable, "-m", "netkit", "gc"]
    with left('own(Bridge(host, "br-a"))') as process:
        lock_last(monkeypatch, lambda: subprocess.run(other, check=True, stdout=subprocess.DEVNULL))
        assert netkit.gc() == []
        assert not process.journal.exists()


def test_a_collector_waits_for_who_only_reads(outside: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As who asks whether somebody owns what he is to adopt, for some microseconds."""
    with left('own(Bridge(host, "br-a"))') as process:
        reader = os.open(process.journal, os.O_RDONLY)
        fcntl.flock(reader, fcntl.LOCK_SH)
        assert [each.outcome for each in netkit.gc(dry_run=True)] == ["would be removed"]
        calls = before(monkeypatch, claims, "locked_in_time", lambda: os.close(reader))
        assert [each.outcome for each in netkit.gc()] == ["removed"]
        assert calls


def test_a_collector_waits_for_no_guard(outside: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    with dead('own(Bridge(host, "br-a"))') as process:
        calls = before(monkeypatch, claims, "locked_in_time", lambda: None)
        assert netkit.gc() == netkit.gc(dry_run=True) == []
        assert not calls
        assert process.journal.exists()


def test_two_that_only_look_see_the_same(outside: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[str]] = []
    with left('own(Bridge(host, "br-a"))'):
        look = collect.Reclaiming.run

        def second(*args: Any) -> None:
            monkeypatch.undo()
            found.append([each.outcome for each in netkit.gc(dry_run=True)])
            look(*args)

        monkeypatch.setattr(collect.Reclaiming, "run", second)
        found.append([each.outcome for each in netkit.gc(dry_run=True)])
        assert found == [["would be removed"]] * 2
        assert [each.outcome for each in netkit.gc()] == ["removed"]


# -- what is added to a list of the kernel's ---------------------------------------------------------

Scoped = RouteTable | Rules | Addresses | Neighbours
# What the dead process has added; the list; what is added to that.
ADDED: dict[str, tuple[str, Callable[[Namespace], Scoped], Callable[[Any], object]]] = {
    "a route": (
        'RouteTable(host)).add("10.92.0.0/16", type="blackhole"',
        lambda host: host.routes,
        lambda routes: routes.add("10.92.0.0/16", type="blackhole"),
    ),
    "a route to there by another way": (
        'RouteTable(host)).add("10.92.0.0/16", type="blackhole"',
        lambda host: host.routes,
        lambda routes: routes.add("10.92.0.0/16", dev="br-n"),
    ),
    "a route of IPv6": (
        'RouteTable(host)).add("fd92::/64", type="blackhole"',
        lambda host: host.routes,
        lambda routes: routes.add("fd92::/64", type="prohibit"),
    ),
    "a rule": (
        'host.rules).add(src="10.93.0.0/16", table=191, priority=901',
        lambda host: host.rules,
        lambda rules: rules.add(src="10.93.0.0/16", table=191, priority=901),
    ),
    "an address": (
        'host.links["br-n"].addresses).add("10.94.0.1/24"',
        lambda host: host.links["br-n"].addresses,
        lambda addresses: addresses.add("10.94.0.1/24"),
    ),
    "an address of IPv6, of another prefix": (
        'host.links["br-n"].addresses).add("fd94::1/64"',
        lambda host: host.links["br-n"].addresses,
        lambda addresses: addresses.add("fd94::1/48"),
    ),
    "a neighbour": (
        'host.neighbours).add("10.91.0.9", mac="02:00:00:00:00:09", dev="br-n"',
        lambda host: host.neighbours,
        lambda neighbours: neighbours.add("10.91.0.9", mac="02:00:00:00:00:08", dev="br-n"),
    ),
}


@pytest.fixture
def device() -> Iterator[None]:
    said("ip link add br-n type bridge; ip link set br-n up")
    yield
    said("ip link del br-n; ip route flush proto 110; ip -6 route flush proto 110; ip rule del priority 901")


@pytest.mark.parametrize("scoped", [True, False])
@pytest.mark.parametrize("how", [dead, left])
@pytest.mark.parametrize("what", ADDED)
def test_what_is_added_takes_the_place_of_a_dead_processs(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch, device: None, what: str, how: Any, scoped: bool
) -> None:
    program, place, add = ADDED[what]
    with how(f"own({program})") as process:
        if how is dead:
            before(monkeypatch, collect, "collect_message", lambda: finish(process))
        listing = place(outside)
        if not scoped:
            add(listing)
        else:
            with listing:
                add(listing)
                assert len(journal.entries()) == 1
    assert not journal.entries()
    assert not process.journal.exists()


@pytest.mark.parametrize("scoped", [True, False])
@pytest.mark.parametrize("what", ADDED)
def test_what_a_living_process_has_added_is_in_the_way(
    outside: Namespace, device: None, what: str, scoped: bool
) -> None:
    program, place, add = ADDED[what]
    with doomed(f"own({program})") as process:
        listing = place(outside)
        if scoped:
            listing.__enter__()
        with pytest.raises(ExistsError) as caught:
            add(listing)
        assert caught.value.__context__ is None
        assert not journal.entries()
        if scoped:
            listing.close()
        process.kill()


def test_what_this_program_has_added_is_in_the_way(outside: Namespace, device: None) -> None:
    """Though a dead one had noted the same: somebody has removed its route since."""
    add = ADDED["a route"][2]
    with left('own(RouteTable(host)).add("10.92.0.0/16", type="blackhole")'):
        said("ip route del blackhole 10.92.0.0/16")
        with RouteTable(outside) as ours, RouteTable(outside) as again:
            add(ours)
            with pytest.raises(ExistsError):
                add(again)
            assert "10.92.0.0/16" in ours
    netkit.gc()


# -- a name that goes while somebody opens it, or makes it anew --------------------------------------


GOING: dict[str, tuple[str, str]] = {  # what makes a name; what takes it away, or half of it
    "a symlink whose maker dies": ("Namespace('two')", "kill"),
    "a symlink that its maker removes": ("Namespace('two')", "rm /run/netns/two"),
    "a mount that is half removed": ("Namespace('two', persistent=True)", "umount -l /run/netns/two"),
    "a mount that is removed": ("Namespace('two', persistent=True)", "ip netns del two"),
}


@pytest.mark.parametrize("when", ["_open", "_is_regular"])
@pytest.mark.parametrize("what", GOING)
def test_a_name_that_goes_while_it_is_opened_is_not_found(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    program, how = GOING[what]
    with doomed(f"own({program})") as process:
        before(monkeypatch, namespace_files, when, lambda: process.kill() if how == "kill" else said(how))
        words = "stale" if "half" in what else "cannot open namespace '?two"
        with pytest.raises(NotFoundError, match=words):
            Namespace.open("two")
        process.kill()
    said("umount -l /run/netns/two; rm -f /run/netns/two")


def test_a_name_whose_maker_dies_while_it_is_opened_is_not_followed(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if its pid and descriptor had come back in another process, between the look and the opening."""
    with Namespace() as other, doomed("own(Namespace('two'))") as process:
        target, alive = os.readlink("/run/netns/two"), f"/proc/{os.getpid()}/fd/{other.fileno()}"

        def replaced() -> None:
            process.kill_guard()
            process.kill()
            said(f"ln -sfn {alive} /run/netns/two")
            process.journal.write_text(process.journal.read_text().replace(target, alive))

        before(monkeypatch, namespace_files, "_is_stale", replaced)
        with pytest.raises(NotFoundError, match="stale"):
            Namespace.open("two")
        assert [each.what for each in netkit.gc()] == ["namespace 'two'"]


def test_a_name_that_is_made_anew_while_it_is_opened_is_the_new_one(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Namespace("one") as one, Namespace("two") as two:
        swap = "mv -T /run/netns/one /run/netns/three; mv -T /run/netns/two /run/netns/one"
        real = namespace_files.open_name_or_path
        opened: list[int] = []

        def late(name: str) -> int:
            opened.append(real(name))
            if len(opened) == 1:
                said(swap)
            return opened[-1]

        monkeypatch.setattr(nsfs, "open_name_or_path", late)
        with Namespace.open("one") as found:
            assert found._same_as(two)
        monkeypatch.undo()
        said("mv -T /run/netns/one /run/netns/two; mv -T /run/netns/three /run/netns/one")
        assert one.exists


def test_a_name_that_others_make_while_a_mount_goes_is_theirs(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unmounted, it is stale: whoever repairs that would have found his own name removed."""
    made: list[registration.Registration] = []
    with Namespace() as other, Namespace("two", persistent=True).create() as two:
        maker = Thread(target=lambda: made.append(registration.register_symlink("two", other.fileno())))
        unmount = registration.umount2

        def half(path: str, flags: int) -> None:
            unmount(path, flags)
            maker.start()
            waiting = re.compile(rf"-> FLOCK .* {os.getpid()} ")
            while not (os.path.islink(path) or waiting.search(Path("/proc/locks").read_text())):
                continue

        monkeypatch.setattr(registration, "umount2", half)
        two.delete()
        maker.join()
        assert made[0].holds
        made[0].remove()


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
    guard = os.pidfd_open(int({{}}))
    os.kill(int({{}}), signal.SIGCONT)
    select.select([guard], [], [])
    os.close(guard)
    return real(*given)
real, claims.noted_rules = claims.noted_rules, late
own({LEGACY})"""
    with dead(f"own({LEGACY})") as first, doomed(overtaken.format(first.guard, first.guard)) as process:
        assert len(said(LISTED)[LISTED].splitlines()) == 1
        process.kill()
        assert not said(LISTED)[LISTED]
