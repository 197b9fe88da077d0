"""An iptables worker in a namespace made for each test, and iptables-legacy beside it.

A lock file of its own (XTABLES_LOCKFILE) keeps every test off the machine's /run/xtables.lock.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netkit._nat.iptables_client import IptablesWorker
from netkit._nat.iptables_rules import rules_for
from netkit._spec.nat import dnat, masquerade
from tests.harness.patience import LONG
from tests.harness.tools import needs_iptables

if TYPE_CHECKING:
    from netkit._nat.iptables_client import Process

MARKS = [
    pytest.mark.capable,
    pytest.mark.kernel,
    needs_iptables,
]

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _in_thread(action: Callable[[], int]) -> int:
    """Run in a thread that ends, so that no other code is ever in its namespace."""
    results: list[int] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _unshare() -> int:
    if _libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Net:
    """A namespace, the worker in it, and iptables-legacy in it."""

    def __init__(self, lock: Path) -> None:
        self.lock = lock
        self.fd = _in_thread(_unshare)
        self.spawned: list[subprocess.Popen[bytes]] = []
        self.worker = IptablesWorker(self.spawn, netns="test")

    def enter(self, argv: list[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/self/fd/{self.fd}", *argv]

    def spawn(self, argv: list[str], env: dict[str, str]) -> Process:
        process = subprocess.Popen(
            self.enter(argv),
            env={**env, "XTABLES_LOCKFILE": str(self.lock)},
            pass_fds=[self.fd],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.spawned.append(process)
        return process

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            self.enter(list(argv)),
            env={**os.environ, "XTABLES_LOCKFILE": str(self.lock)},
            pass_fds=[self.fd],
            capture_output=True,
            text=True,
            timeout=LONG,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def iptables(self, words: str, family: int = 4) -> str:
        program = "iptables-legacy" if family == 4 else "ip6tables-legacy"
        return self.run(program, "-w", *words.split())

    def shown(self, family: int = 4) -> list[str]:
        lines = self.iptables("-t nat -S", family).splitlines()
        return [line for line in lines if line.startswith("-A")]

    def close(self) -> None:
        self.worker.close()
        os.close(self.fd)


@pytest.fixture
def make_net(tmp_path: Path) -> Iterator[Callable[[], Net]]:
    with ExitStack() as stack:

        def make() -> Net:
            net = Net(tmp_path / "xtables.lock")
            stack.callback(net.close)
            return net

        yield make


@pytest.fixture
def net(make_net: Callable[[], Net]) -> Net:
    return make_net()


MASQUERADE = rules_for(masquerade(saddr="172.18.0.0/24", oif="enp1s0"))[0]
DNAT = rules_for(dnat(proto="tcp", dport=80, to="172.18.0.2:80"))[0]
