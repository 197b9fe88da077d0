"""Generators that are suspended inside a `with`, as pytest's fixtures are, on the real kernel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from netkit import Bridge, Namespace, NatRule, Scope
from tests.harness.oracle import whole_state
from tests.harness.patience import LONG

pytestmark = pytest.mark.kernel

PROGRAM = """
import subprocess
from netkit import *
host = Namespace.current()

def network():
    with Scope() as lab:
        lab.own(Bridge(host, "br0", address="10.0.0.1/24"))
        lab.own(VethPair(host, lab.own(Namespace("left")), name="v0", peer_name="eth0"))
        yield lab

fixture = network()
next(fixture)
assert "br0" in host.links
"""


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace() as host:
        yield host


def network(host: Namespace, number: int) -> Iterator[Scope]:
    """A fixture: built up to its yield."""
    with Scope() as lab:
        box = lab.own(Namespace(f"box{number}"))
        bridge = lab.own(Bridge(host, f"br{number}", address=f"10.{number}.0.1/24"))
        bridge.connect(box, name=f"v{number}", peer_name="eth0", peer_address=f"10.{number}.0.2/24")
        lab.own(NatRule.masquerade(host, saddr=f"10.{number}.0.0/24", oif="v9"))
        yield lab


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_suspended_blocks_end_in_any_order(host: Namespace, order: tuple[int, ...]) -> None:
    list(network(host, 9))
    before = whole_state(host)
    suspended = {number: network(host, number) for number in range(3)}
    scopes = {number: next(each) for number, each in suspended.items()}
    for number in order:
        suspended[number].close()  # type: ignore[attr-defined]
        del scopes[number]
        assert sorted(link.name for link in host.links if link.kind == "bridge") == [
            f"br{left}" for left in sorted(scopes)
        ]
    assert whole_state(host) == before


def test_one_that_raises_where_it_is_suspended(host: Namespace) -> None:
    list(network(host, 9))
    before = whole_state(host)
    suspended = network(host, 1)
    next(suspended)
    with pytest.raises(ZeroDivisionError):
        suspended.throw(ZeroDivisionError())  # type: ignore[attr-defined]
    assert whole_state(host) == before


@pytest.mark.capable
def test_one_that_is_never_ended_is_undone_at_exit(host: Namespace) -> None:
    before = whole_state(host)
    fd = host.fileno()
    done = subprocess.run(
        ["nsenter", f"--net=/proc/self/fd/{fd}", sys.executable, "-W", "ignore", "-c", PROGRAM],
        pass_fds=[fd], capture_output=True, text=True, timeout=LONG,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert whole_state(host) == before
