"""A journal that somebody else has locked: how long it is waited for, and what ends the wait (F03)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from fcntl import LOCK_EX, flock
from pathlib import Path
from types import FrameType

import pytest

from netkit._lifecycle import claims
from netkit._netlink import transport
from netkit._system import iptables_command
from netkit._system.signals import held_signals


class Arrived(Exception):
    """What the handler raises."""


@pytest.fixture
def alarm() -> Iterator[None]:
    """A signal that comes soon, again and again until its handler has raised: one may come just too early."""

    def handle(number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise Arrived

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_nobody_gives_up_before_a_guard_does() -> None:
    """It waits itself, for the kernel or for who else changes rules of iptables."""
    ours = claims._PATIENCE
    assert ours >= transport._PATIENCE
    assert ours >= float(iptables_command._WAIT)


def test_a_signal_ends_the_wait(tmp_path: Path, alarm: None) -> None:
    """For a guard that a freezer has stopped it would take a minute."""
    path = tmp_path / "journal"
    with closing(path.open("w")) as guard, closing(path.open("r+")) as ours:
        flock(guard, LOCK_EX)
        with held_signals(), pytest.raises(Arrived):
            claims.locked_in_time(ours.fileno())
    with path.open() as file:
        flock(file, LOCK_EX)  # the thread that waited for it keeps nothing locked
