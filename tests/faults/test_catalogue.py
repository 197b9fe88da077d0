"""Every fault of the catalogue has a test that is called after it; and those that fit nowhere else."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

import pytest

from netkit import Namespace, Scope, VethPair
from tests.faults.catalogue import FAULTS
from tests.harness.reliability import names_of_tests, numbers_of

TESTS = Path(__file__).parents[1]


def test_every_fault_has_a_test() -> None:
    tested = {number for name in names_of_tests(TESTS) for number in numbers_of(name)}
    assert sorted(FAULTS.keys() - tested) == []
    assert sorted(tested - FAULTS.keys()) == []
    assert [*FAULTS] == [*range(1, 72)]


@pytest.mark.kernel
@pytest.mark.capable
def test_F33_nothing_is_forked_beside_busy_threads() -> None:
    """A fork beside threads may deadlock, and warns from Python 3.12 on."""
    forks: list[int] = []
    os.register_at_fork(before=lambda: forks.append(1) if watching else None)
    watching, ended = True, threading.Event()
    busy = [threading.Thread(target=_busy, args=(ended,)) for _ in range(4)]
    for thread in busy:
        thread.start()
    try:
        with warnings.catch_warnings(), Scope() as scope:
            warnings.simplefilter("error")
            boxes = [scope.own(Namespace(name)) for name in (None, "named")]
            scope.own(VethPair(*boxes, name="a", peer_name="b"))
            assert boxes[0].run(["true"]).returncode == 0
            assert boxes[0].call(os.getpid) == os.getpid()
    finally:
        ended.set()
        for thread in busy:
            thread.join()
        watching = False
    assert forks == []


def _busy(ended: threading.Event) -> None:
    while not ended.is_set():
        sum(range(1000))
