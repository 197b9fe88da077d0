"""A thing has one owner: what a living process owns is not adopted, what a dead one has left is inherited."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import netkit
from netkit import Bridge, Namespace, NotFoundError, RouteTable, StateError, VethPair
from netkit import _marks as marks
from netkit import _route_changes as changes
from netkit._lifecycle import claims
from netkit._system import registration
from netkit._system.journal import journal
from tests.harness.killed import doomed, said
from tests.harness.overtaken import before, dead, finish, left
from tests.harness.tools import needs_iptables
from tests.kernel.test_gc import outside

pytestmark = pytest.mark.capable

__all__ = ["outside"]

Adopt = Callable[[Namespace], Any]


def table(host: Namespace) -> RouteTable:
    return RouteTable(host, 191).__enter__()


def adopt_route(host: Namespace) -> RouteTable:
    opened = table(host)
    try:
        opened.adopt("10.92.0.0/16")
    except BaseException:
        opened.close()
        raise
    return opened


# What one process makes, how another one adopts it, and a command that says whether it is there.
THINGS: dict[str, tuple[str, Adopt, str]] = {
    "a bridge": ('Bridge(host, "br-a")', lambda host: Bridge.open(host, "br-a").adopt(), "ip link show br-a"),
    "a pair": (
        'VethPair(host, host, name="va", peer_name="vb")',
        lambda host: VethPair.open(host, "va").adopt(),
        "ip link show va",
    ),
    "any link": ('Bridge(host, "br-a")', lambda host: host.links["br-a"].adopt(), "ip link show br-a"),
    "a name": (
        'Namespace("two", persistent=True)',
        lambda host: Namespace("two").adopt(),
        "ls -d /run/netns/two",
    ),
    "a route": (
        'RouteTable(host, 191)).add("10.92.0.0/16", type="blackhole"',
        adopt_route,
        "ip route show table 191",
    ),
    "a route without all that it says": (
        'Bridge(host, "br-a", address="10.91.0.1/24")).detach(), '
        'own(RouteTable(host, 191)).add("10.92.0.0/16", via="10.91.0.2"',
        adopt_route,
        "ip route show table 191",
    ),
}
OWNED = [each for each in THINGS if "without" not in each]


@pytest.mark.parametrize("what", THINGS)
def test_what_a_dead_process_has_left_is_inherited(outside: Namespace, what: str) -> None:
    """Its guard is dead, too; whoever collects later leaves it to its new owner, also when he lets it go."""
    program, adopt, look = THINGS[what]
    with left(f"own({program})"):
        adopted = adopt(outside)
    assert said(look)[look]
    collected = {each.what for each in netkit.gc()}
    assert said(look)[look], f"its owner lives, and {collected} is gone"
    adopted.detach()
    assert netkit.gc() == []
    assert said(look)[look]
    if isinstance(adopted, RouteTable):
        adopted.adopt("10.92.0.0/16")
        adopted.close()
    else:
        adopted.adopt().delete()
    assert not said(look)[look]
    said("ip link del br-a")


@pytest.mark.parametrize("what", OWNED)
def test_what_its_guard_is_removing_is_not_there(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Not `owned by process 4711`, which is dead."""
    program, adopt, look = THINGS[what]
    with dead(f"own({program})") as process:
        calls = before(monkeypatch, claims, "locked_in_time", lambda: finish(process))
        with pytest.raises(NotFoundError):
            adopt(outside)
        assert calls
    assert not said(look)[look]
    assert not journal.entries()


@pytest.mark.parametrize("what", OWNED)
def test_what_a_living_process_owns_is_not_adopted(outside: Namespace, what: str) -> None:
    program, adopt, look = THINGS[what]
    with doomed(f"own({program})") as process:
        with pytest.raises(StateError, match=f"is owned by process {process.pid}, which has to detach"):
            adopt(outside)
        assert said(look)[look]
        assert not journal.entries()
        process.kill()
    assert not said(look)[look]


# Where the adoption notes what is to be its own, and what another process does just before.
NOTES = {
    "a bridge": (marks, "note_link", 'Bridge.open(host, "br-a").adopt()'),
    "a name": (registration, "_note_mount", 'Namespace("two").adopt()'),
    "a route": (changes, "_note", 'own(RouteTable(host, 191)).adopt("10.92.0.0/16")'),
}


@pytest.mark.parametrize("what", NOTES)
def test_of_two_that_adopt_at_once_one_gets_it(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Both have looked whose it is, and it was nobody's."""
    program, adopt, look = THINGS[what]
    where, name, theirs = NOTES[what]
    with doomed(f"own({program})\nscope.detach()") as first:
        first.kill()
    with _Later(f"kept = {theirs}") as other:
        before(monkeypatch, where, name, other.start)
        with pytest.raises(StateError, match="is owned by process"):
            adopt(outside)
        assert not journal.entries()
        assert said(look)[look]
    assert not said(look)[look], "the other one has had it"


class _Later:
    """A process that is started in the middle of something."""

    def __init__(self, program: str) -> None:
        self._context = doomed(program)
        self._started = False

    def __enter__(self) -> _Later:
        return self

    def start(self) -> None:
        self._process = self._context.__enter__()
        self._started = True

    def __exit__(self, *exc: object) -> None:
        if self._started:
            self._process.kill()
            self._context.__exit__(None, None, None)


def test_what_could_not_be_adopted_is_noted_no_more(
    outside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be removed, should this process be killed."""
    said("ip link add br-a type bridge")

    def refuse(*args: object, **options: object) -> object:
        raise NotFoundError("adopt link 'br-a'", 19)

    monkeypatch.setattr(marks, "set_link", refuse)
    bridge = Bridge.open(outside, "br-a")
    with pytest.raises(NotFoundError):
        bridge.adopt()
    assert not journal.entries()
    said("ip link del br-a")


def test_a_route_has_one_owner_in_a_program(outside: Namespace) -> None:
    with Namespace() as box, RouteTable(box, 191) as one, RouteTable(box, 191) as other:
        one.add("10.92.0.0/16", type="blackhole")
        with pytest.raises(StateError, match=r"owned in this program, by <RouteTable 191 in"):
            other.adopt("10.92.0.0/16")
        assert one.adopt("10.92.0.0/16") == one.detach("10.92.0.0/16").filter()[0]
        other.adopt("10.92.0.0/16")
        with RouteTable(box, 192) as third, RouteTable(outside, 191) as fourth:
            third.add("10.92.0.0/16", type="blackhole")
            fourth.add("10.92.0.0/16", type="blackhole")
            other.adopt("10.92.0.0/16")
        assert len(one) == 1
        other.close()
        assert len(one) == 0


@needs_iptables
def test_a_rule_of_iptables_is_inherited(outside: Namespace) -> None:
    look = "iptables-legacy -w -t nat -S POSTROUTING | grep 10.91"
    rule = 'NatRule.masquerade(host, saddr="10.91.0.0/24", backend="iptables")'
    with left(f"own({rule})"), doomed(f"{rule}.adopt().detach()") as heir:
        heir.kill()
    assert netkit.gc() == []
    assert said(look)[look]
    with doomed(f"kept = {rule}.adopt()") as owner:
        owner.kill()
    assert not said(look)[look]


def test_a_journal_that_nothing_is_left_in_goes(outside: Namespace) -> None:
    with left('own(Bridge(host, "br-a"))') as process, Bridge.open(outside, "br-a").adopt():
        assert not process.journal.exists()
        assert os.path.exists(journal.path)
