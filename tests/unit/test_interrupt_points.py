"""An interrupt wherever Python lets one in: a function is entered, or one of C returns (F02, F03).

Random moments (tests/kernel/test_interrupt.py) find the long stretches; here a profile function raises the
signal at the n-th point of a block, for one n after the other.
"""

from __future__ import annotations

import inspect
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import pytest

import netkit
from netkit import RouteTable, Scope, Topology, VethPair
from netkit._lifecycle import ROOT
from tests.unit.fake_lab import Lab

_NETKIT = f"{Path(netkit.__file__).parent}/"
_SIMULATED = (f"{_NETKIT}_testing/", f"{_NETKIT}testing.py")
# What comes while handlers are given back is handled in the caller, if no profile function is called before.
_AT_THE_LAST_MOMENT = f"{_NETKIT}_system/signals.py"
_HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
POINTS = int(os.environ.get("NETKIT_TEST_EXAMPLES", "100"))  # of each block, chosen anew each time


def scope(lab: Lab) -> None:
    with Scope() as all_of_it:
        all_of_it.own(VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.1.0.1/24"))
        all_of_it.own(RouteTable(lab.red, 100)).add("10.9.0.0/16", via="10.1.0.2")


def pair(lab: Lab) -> None:
    with VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.1.0.1/24"):
        pass


def table(lab: Lab) -> None:
    with RouteTable(lab.red, 100) as routes:
        routes.add("10.9.0.0/16", dev="lo")
        routes.add("10.8.0.0/16", type="blackhole")


def topology(lab: Lab) -> None:
    with Topology.star(2, named=True, subnet="10.7.0.0/24"):
        pass


BLOCKS: dict[str, Callable[[Lab], None]] = {
    "scope": scope, "pair": pair, "table": table, "topology": topology,
}  # fmt: skip


class Interrupt:
    """Counts the points; at the n-th of them, or the next one possible, the program gets a SIGINT."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.points = 0
        self.where: tuple[CodeType, int] | None = None

    def __enter__(self) -> Interrupt:
        sys.setprofile(self._event)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)

    def _event(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "c_return") or not _is_point(frame, event):
            return
        self.points += 1
        if self.where is None and self.at and self.points >= self.at:
            self.where = frame.f_code, frame.f_lineno
            signal.raise_signal(signal.SIGINT)


def _is_point(frame: FrameType, event: str) -> bool:
    if not frame.f_code.co_filename.startswith(_NETKIT) or frame.f_code.co_filename == _AT_THE_LAST_MOMENT:
        return False
    if event == "call" and frame.f_code.co_flags & inspect.CO_GENERATOR:
        return False  # one that is closed counts as called, but there Python lets nothing in
    above: FrameType | None = frame
    while above is not None and not above.f_code.co_filename.startswith(_SIMULATED):
        above = above.f_back
    return above is None


@pytest.mark.parametrize("work", BLOCKS.values(), ids=BLOCKS.keys())
def test_F02_F03_an_interrupt_at_any_point_leaves_nothing(lab: Lab, work: Callable[[Lab], None]) -> None:
    """Handlers are what they were, too: each of them is swapped while something is undone."""
    work(lab)  # what is imported or kept for good is there before
    before, owned = lab.kernel.state(), set(ROOT._held)
    handlers = [signal.getsignal(each) for each in _HELD_BACK]
    with Interrupt() as counted:
        work(lab)
    assert counted.points > 100
    for n in sorted(random.sample(range(1, counted.points + 1), min(POINTS, counted.points))):
        interrupt, problem = Interrupt(n), None
        try:
            with interrupt:
                work(lab)
        except KeyboardInterrupt as raised:
            problem = raised
        assert (problem is None) == (interrupt.where is None), (n, interrupt.where, problem)
        assert lab.kernel.state() == before, (n, interrupt.where)
        assert set(ROOT._held) == owned, (n, interrupt.where)
        assert [signal.getsignal(each) for each in _HELD_BACK] == handlers, (n, interrupt.where)
