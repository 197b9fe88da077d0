"""netkit gc is overtaken by a guard, another collector, a reader, and waits for the right ones."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import netkit
from netkit import Namespace
from netkit._lifecycle import claims, collect
from tests.harness.overtaken import before, dead, finish, left
from tests.kernel.test_gc import outside

__all__ = ["outside"]  # the fixture

pytestmark = pytest.mark.capable


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
