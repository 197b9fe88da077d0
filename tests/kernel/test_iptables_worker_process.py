"""The iptables worker as a process: killed, interrupted, forked, and what must be there for it."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from netkit._nat.iptables_client import IptablesWorker
from netkit._nat.iptables_rules import rule_text
from netkit.errors import AccessError, BackendError, StateError
from tests.harness.iptables_worker import DNAT, MARKS, MASQUERADE, Net, make_net, net
from tests.harness.patience import LONG

if TYPE_CHECKING:
    from netkit._nat.iptables_client import Process

__all__ = ["make_net", "net"]  # the fixtures

pytestmark = MARKS


def test_a_worker_that_was_killed_is_an_error_once(net: Net) -> None:
    net.worker.transaction(add=[MASQUERADE])
    net.spawned[0].kill()
    with pytest.raises(BackendError, match=r"the worker process ended \(status -9\)"):
        net.worker.transaction(add=[DNAT])
    net.worker.transaction(add=[DNAT])
    assert len(net.spawned) == 2
    assert net.shown() == [rule_text(DNAT), rule_text(MASQUERADE)]


def test_a_crash_shows_what_the_worker_said_last(net: Net) -> None:
    net.worker.list()
    os.kill(net.spawned[0].pid, signal.SIGSEGV)
    with pytest.raises(BackendError, match="Segmentation fault"):
        net.worker.list()


def test_the_worker_survives_ctrl_c_and_ends_with_its_parent(net: Net) -> None:
    net.worker.list()
    process = net.spawned[0]
    os.kill(process.pid, signal.SIGINT)
    assert net.worker.list() == []
    assert os.getsid(process.pid) != os.getsid(0)
    ended = os.pidfd_open(process.pid)
    try:
        assert process.stdin is not None
        process.stdin.close()
        assert select.select([ended], [], [], LONG)[0]
    finally:
        os.close(ended)
    with pytest.raises(BackendError):
        net.worker.list()


def test_F34_close_ends_the_process_and_lets_the_namespace_go(make_net: Callable[[], Net]) -> None:
    net = make_net()
    net.worker.transaction(add=[MASQUERADE])
    net.worker.close()
    assert net.spawned[0].returncode == 0
    net.worker.close()
    assert net.worker.list() == [rule_text(MASQUERADE)]  # started anew; the rules had stayed


def test_a_forked_child_is_refused_and_keeps_nothing_open(net: Net) -> None:
    net.worker.list()
    process = net.spawned[0]
    assert process.stdin is not None
    fd = process.stdin.fileno()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            net.worker.list()
            os.write(write_end, b"answered")
        except StateError:
            os.write(write_end, b"open" if os.path.exists(f"/proc/self/fd/{fd}") else b"refused")
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        assert pipe.read() == b"refused"
    os.waitpid(pid, 0)
    assert net.worker.list() == []


def test_probe(net: Net) -> None:
    assert net.worker.probe() is None
    assert net.worker.probe([4, 6]) is None


def test_probe_without_capabilities(net: Net) -> None:
    def spawn(argv: list[str], env: dict[str, str]) -> Process:
        return net.spawn(["setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-all", *argv], env)

    worker = IptablesWorker(spawn)
    try:
        assert "CAP_NET_ADMIN" in (worker.probe() or "")
        with pytest.raises(AccessError, match="CAP_NET_ADMIN"):
            worker.transaction(add=[MASQUERADE])
    finally:
        worker.close()


def test_probe_without_iptc(net: Net) -> None:
    def spawn(argv: list[str], env: dict[str, str]) -> Process:
        # A site-packages without iptc: -S, and only the first of the directories.
        return net.spawn([*argv[:2], "-S", *argv[2:5]], env)

    worker = IptablesWorker(spawn)
    try:
        reason = worker.probe() or ""
        assert "No module named 'iptc'" in reason
        assert "python3-iptables" in reason
        with pytest.raises(BackendError, match="python-iptables"):
            worker.list()
    finally:
        worker.close()


def test_spawn_that_fails() -> None:
    def spawn(argv: list[str], env: dict[str, str]) -> Process:
        raise PermissionError(errno.EPERM, "no setns")

    with pytest.raises(BackendError, match=r"no worker process: .*no setns"):
        IptablesWorker(spawn).list()


def test_the_worker_changes_nothing_of_the_caller(net: Net) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    net.worker.transaction(add=[MASQUERADE])
    assert os.readlink("/proc/thread-self/ns/net") == before
    assert "iptc" not in sys.modules
    assert socket.if_nameindex()  # the caller still sees its own links
