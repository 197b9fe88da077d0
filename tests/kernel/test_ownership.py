"""Own, borrow, adopt, detach: each object, also between processes; what is adopted is deleted at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netkit import Bridge, Namespace, NatRule, NotFoundError, Resource, Scope, StateError, VethPair
from tests.harness.oracle import sorted_names
from tests.harness.ownership import PAIR, elsewhere, living, state

# How another process makes and detaches it; how this one finds it; where it is seen.
DETACHED: dict[str, tuple[str, Callable[[Namespace, Namespace], Resource]]] = {
    "pair, opened": (PAIR, lambda host, box: VethPair.open(host, "v0")),
    "pair, opened by its other end": (PAIR, lambda host, box: VethPair.open(box, "eth0", peer_ns=host)),
    "pair, described": (PAIR, lambda host, box: VethPair(host, box, name="v0", peer_name="eth0")),
    "bridge, opened": ("Bridge(host, 'br0').create().detach()", lambda host, box: Bridge.open(host, "br0")),
    "bridge, described": ("Bridge(host, 'br0').create().detach()", lambda host, box: Bridge(host, "br0")),
    "rule": (
        "NatRule.dnat(host, proto='tcp', dport=80, to='10.0.0.2:8080', local=True).create().detach()",
        lambda host, box: NatRule.dnat(host, proto="tcp", dport=80, to="10.0.0.2:8080", local=True),
    ),
}


@pytest.mark.parametrize("kind", DETACHED)
@pytest.mark.parametrize("how", ["with", "scope", "delete", "exit"])
def test_adopted_it_is_deleted_at_the_end(kind: str, how: str, host: Namespace, box: Namespace) -> None:
    code, find = DETACHED[kind]
    before = state(host)
    elsewhere(code, host, box)
    assert state(host) != before
    found = find(host, box)
    if how == "with":
        with found.adopt() as adopted:
            assert adopted is found
            assert found.exists
            assert state(host) != before
    elif how == "scope":
        with Scope() as lab:
            lab.own(found.adopt())
    elif how == "delete":
        found.adopt().delete()
    else:  # in a process that only ends
        name = "v0" if "pair" in kind else "br0"
        text = f"VethPair.open(host, '{name}')" if "pair" in kind else f"Bridge.open(host, '{name}')"
        if kind == "rule":
            text = "NatRule.dnat(host, proto='tcp', dport=80, to='10.0.0.2:8080', local=True)"
        elsewhere(f"import warnings; warnings.simplefilter('ignore'); it = {text}.adopt()", host)
    assert state(host) == before


@pytest.mark.parametrize("kind", [kind for kind in DETACHED if "opened" in kind])
def test_borrowed_it_cannot_be_deleted(kind: str, host: Namespace, box: Namespace) -> None:
    code, find = DETACHED[kind]
    elsewhere(code, host, box)
    before = state(host)
    found = find(host, box)
    with found:
        assert found.exists
        for refused in (found.delete, found.detach, lambda: Scope().__enter__().own(found), found.create):
            with pytest.raises(StateError, match=r"borrowed.*adopt\(\)"):
                refused()
    assert state(host) == before
    found.adopt().delete()


@pytest.mark.parametrize("kind", DETACHED)
def test_adopted_and_detached_again_it_stays(kind: str, host: Namespace, box: Namespace) -> None:
    code, find = DETACHED[kind]
    before = state(host)
    elsewhere(code, host, box)
    detached = state(host)
    with find(host, box).adopt() as again:
        again.detach()
    assert state(host) == detached
    with pytest.raises(StateError, match="borrowed"):
        again.delete()
    again.adopt().delete()
    assert state(host) == before
    with pytest.raises(StateError, match="deleted"):
        again.delete()


@pytest.mark.parametrize("kind", [kind for kind in DETACHED if "opened" not in kind])
def test_there_is_none_to_adopt(kind: str, host: Namespace, box: Namespace) -> None:
    found = DETACHED[kind][1](host, box)
    with pytest.raises(NotFoundError):
        found.adopt()
    assert not found.exists
    with found.create():  # nothing has happened to it
        pass
    assert sorted_names(host) == ["lo"]


def test_owned_it_is_not_adopted(host: Namespace, box: Namespace) -> None:
    with VethPair(host, box, name="v0", peer_name="eth0") as pair, pytest.raises(StateError, match="created"):
        pair.adopt()


@pytest.mark.capable
def test_what_a_living_process_owns_is_not_adopted(host: Namespace, box: Namespace) -> None:
    code = "lab.own(Bridge(host, 'br0')); lab.own(VethPair(host, box, name='v0', peer_name='eth0'))"
    with living(f"{code}; lab.own(Namespace('red', persistent=True))", host, box) as pid:
        before = elsewhere(SHOWS, host, box)
        with pytest.raises(StateError, match=f"process {pid}"):
            Bridge.open(host, "br0").adopt()
        assert f"process {pid}" in elsewhere(TRIES, host, box)
        assert elsewhere(SHOWS, host, box) == before
    assert sorted_names(host) == ["lo"]
    assert not Path("/run/netns/red").exists()


def test_a_link_that_a_program_inside_owns_is_not_adopted(host: Namespace) -> None:
    """Without root, too: what runs beside the broker's namespaces is root there, and notes what it makes."""
    with living("lab.own(Bridge(host, 'br0'))", host) as pid:
        for found in (Bridge.open(host, "br0"), host.links["br0"]):
            with pytest.raises(StateError, match=f"is owned by process {pid}"):
                found.adopt()
    assert sorted_names(host) == ["lo"]


SHOWS = "print(sorted((l.name, l._read().group, l._read().alias) for l in [*host.links, *box.links]))"
TRIES = """
for found in (
    Bridge.open(host, "br0"), Bridge(host, "br0"), VethPair.open(host, "v0"), VethPair.open(box, "eth0"),
    VethPair(host, box, name="v0", peer_name="eth0"), Namespace.open("red"), Namespace("red"),
):
    try:
        found.adopt()
    except StateError as refusal:
        print(refusal)
    else:
        raise SystemExit(f"{found!r} is adopted")
"""


@pytest.mark.parametrize("again", ["opened", "described", "link"])
def test_of_two_objects_one_owns(again: str, host: Namespace, box: Namespace) -> None:
    """Else the one would delete what the other still needs."""
    made = [VethPair(host, box, name="v0", peer_name="eth0"), Bridge(host, "br0")]
    with Scope() as lab:
        lab.own(*made)
        found: dict[str, list[Callable[[], Any]]] = {
            "opened": [
                VethPair.open(host, "v0").adopt,
                VethPair.open(box, "eth0").adopt,
                Bridge.open(host, "br0").adopt,
            ],
            "described": [
                VethPair(host, box, name="v0", peer_name="eth0").adopt,
                Bridge(host, "br0").adopt,
            ],
            "link": [host.links[name].adopt for name in ("v0", "br0")],
        }
        for adopt in found[again]:
            with pytest.raises(StateError, match="owned in this program"):
                adopt()
    assert sorted_names(host) == ["lo"]


@pytest.mark.capable
def test_of_two_objects_for_a_namespace_one_owns() -> None:
    with Namespace("red", persistent=True) as red:
        with Namespace.open("red") as again, pytest.raises(StateError, match="owned in this program"):
            again.adopt()
        with pytest.raises(StateError, match="owned in this program"):
            Namespace("red").adopt()
        assert red.exists
    assert not Path("/run/netns/red").exists()
