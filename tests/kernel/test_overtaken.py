"""Whoever looks, and then acts on what he saw, is overtaken by who cleans up behind a dead process.

In each test the other one does its work between the two, at the one place where the look begins.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import netkit
from netkit import Bridge, ExistsError, Namespace, RouteTable, VethPair
from netkit._address import Addresses
from netkit._lifecycle import claims, collect
from netkit._neighbour import Neighbours
from netkit._rule import Rules
from netkit._system.journal import journal
from tests.harness.killed import Doomed, doomed, said
from tests.kernel.test_gc import NAMES, outside

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
