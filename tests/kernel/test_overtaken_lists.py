"""What is added to a list of the kernel's takes the place of a dead process's, and of nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import netkit
from netkit import ExistsError, Namespace, RouteTable
from netkit._address import Addresses
from netkit._lifecycle import collect
from netkit._neighbour import Neighbours
from netkit._rule import Rules
from netkit._system.journal import journal
from tests.harness.killed import doomed, said
from tests.harness.overtaken import before, dead, finish, left
from tests.kernel.test_gc import outside

__all__ = ["outside"]  # the fixture

pytestmark = pytest.mark.capable


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
