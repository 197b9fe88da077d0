"""The iptables worker beside other namespaces, programs and threads, and the lock of all of them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netkit._nat.iptables_client import IptablesWorker
from netkit._nat.iptables_rules import rule_text, rules_for
from netkit._spec.nat import dnat
from netkit.errors import BusyError, NotFoundError
from tests.harness.calls import at_once
from tests.harness.iptables_worker import DNAT, MARKS, MASQUERADE, Net, make_net, net
from tests.harness.patience import LONG

if TYPE_CHECKING:
    from netkit._nat.iptables_rules import Rule

__all__ = ["make_net", "net"]  # the fixtures

pytestmark = MARKS


def test_F53_two_namespaces_do_not_mix(make_net: Callable[[], Net]) -> None:
    one, two = make_net(), make_net()
    one.worker.transaction(add=[MASQUERADE])
    two.worker.transaction(add=[DNAT])
    one.worker.transaction(add=[DNAT])
    assert one.shown() == [rule_text(DNAT), rule_text(MASQUERADE)]
    assert two.shown() == [rule_text(DNAT)]


def test_F55_F56_no_update_of_another_program_is_lost(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE])
    net.iptables("-t nat -A POSTROUTING -o between -j MASQUERADE")
    net.worker.transaction(add=[DNAT])
    net.iptables("-t nat -R POSTROUTING 2 -o changed -j ACCEPT")
    net.worker.transaction(remove=[DNAT])
    assert net.shown() == [rule_text(MASQUERADE), "-A POSTROUTING -o changed -j ACCEPT"]


def test_F57_lock_held_by_another_process(net: Net) -> None:
    assert net.worker.list() == []  # started; and reading takes no lock
    with _holding(net.lock) as pid:
        with pytest.raises(BusyError) as caught:
            net.worker.transaction(add=[MASQUERADE], deadline=0.2)
        assert f"process {pid} ({sys.executable}" in str(caught.value)
        assert f"{net.lock} was held for 0.2 s" in str(caught.value)
        with pytest.raises(BusyError):
            net.worker.transaction(add=[MASQUERADE], deadline=0)
        assert net.worker.list() == []
    net.worker.transaction(add=[MASQUERADE])
    assert net.shown() == [rule_text(MASQUERADE)]


def test_waits_for_a_lock_that_is_released_in_time(net: Net) -> None:
    net.worker.list()
    answers: list[list[Rule]] = []
    with _holding(net.lock):
        thread = threading.Thread(target=lambda: answers.append(net.worker.transaction(add=[MASQUERADE])))
        thread.start()
        _wait_for_lock_waiter(net.lock, thread)
        assert answers == []
    thread.join(LONG)
    assert answers == [[]]
    assert net.shown() == [rule_text(MASQUERADE)]


@contextmanager
def _holding(lock: Path) -> Iterator[int]:
    program = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.stdin.write(b"\n")


def _wait_for_lock_waiter(lock: Path, thread: threading.Thread) -> None:
    """Until somebody is queued for the lock (a line with ``->`` in /proc/locks)."""
    inode = f":{lock.stat().st_ino} "
    while thread.is_alive():
        if any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()):
            return


def test_F55_four_workers_at_once_lose_nothing(net: Net) -> None:
    workers = [IptablesWorker(net.spawn) for _ in range(4)]

    def work(number: int) -> None:
        for port in range(1, 11):
            rule = rules_for(dnat(proto="tcp", dport=number * 100 + port, to="172.18.0.2:80"))[0]
            workers[number].transaction(add=[rule], deadline=20)

    assert at_once(4, work) == []
    for worker in workers:
        worker.close()
    assert len(set(net.shown())) == 40


def test_F58_one_worker_from_many_threads(net: Net) -> None:
    rules = [rules_for(dnat(proto="tcp", dport=port, to="172.18.0.2:80"))[0] for port in range(1, 41)]
    assert at_once(4, lambda start: [net.worker.transaction(add=[r]) for r in rules[start::4]]) == []
    assert len(net.spawned) == 1
    assert sorted(net.shown()) == sorted(rule_text(rule) for rule in rules)


def test_lock_file_that_cannot_be_opened(net: Net) -> None:
    net.lock = net.lock.parent / "missing" / "xtables.lock"
    with pytest.raises(NotFoundError, match=r"Cannot open .*missing/xtables.lock.*XTABLES_LOCKFILE"):
        net.worker.transaction(add=[MASQUERADE])
