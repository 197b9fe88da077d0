"""The caller's side of the worker, against a scripted process that needs no namespace and no iptc."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from netkit._nat.iptables_client import IptablesWorker
from netkit._nat.iptables_rules import rules_for
from netkit._spec.nat import masquerade
from netkit.errors import BackendError, BusyError, KernelError, NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from netkit._nat.iptables_client import Process

RULE = rules_for(masquerade(oif="eth0"))[0]

# Answers request N by the expression given, in which `r` is the request.
PROGRAM = """
import json, os, sys
def answer(**words):
    os.write(1, json.dumps(words).encode() + b"\\n")
for line in sys.stdin:
    r = json.loads(line)
    exec(sys.argv[1])
"""


@pytest.fixture
def scripted() -> Iterator[Callable[[str], IptablesWorker]]:
    made: list[IptablesWorker] = []

    def make(script: str) -> IptablesWorker:
        def spawn(argv: list[str], env: dict[str, str]) -> Process:
            return subprocess.Popen(
                [sys.executable, "-S", "-c", PROGRAM, script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )

        made.append(IptablesWorker(spawn, netns="netns 'box'"))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


Scripted = Callable[[str], IptablesWorker]


def test_an_answer_of_an_interrupted_call_is_not_taken_for_the_next(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = scripted("answer(id=r['id'], result=[str(r['id'])])")

    def interrupted(*args: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            worker.list()
    assert worker.list() == ["2"]


def test_a_flood_of_messages_does_not_stop_the_work(scripted: Scripted) -> None:
    worker = scripted("os.write(2, b'x' * 1_000_000); answer(id=r['id'], result=[])")
    assert worker.list() == []


def test_a_large_answer_and_a_large_request(scripted: Scripted) -> None:
    worker = scripted("answer(id=r['id'], result=list(range(len(r['remove']))))")
    assert worker.transaction(remove=[RULE] * 20_000) == [RULE] * 20_000


def test_the_end_of_the_worker_is_an_error_with_its_last_words(scripted: Scripted) -> None:
    worker = scripted("os.write(2, b'out of ' + b'memory'); os._exit(3)")
    with pytest.raises(BackendError) as caught:
        worker.list()
    assert str(caught.value) == (
        "cannot list iptables' table nat (IPv4) in netns 'box': "
        "the worker process ended (status 3): out of memory"
    )


def test_a_worker_that_does_not_answer_is_not_waited_for(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netkit._nat.iptables_client._GRACE", 0.2)
    with pytest.raises(BackendError, match=r"the worker process gave no answer in time, and was ended$"):
        scripted("os.read(0, 1)").list()


def test_an_answer_that_is_no_json_is_an_error(scripted: Scripted) -> None:
    worker = scripted("print('Traceback', flush=True)")
    with pytest.raises(BackendError, match="the worker process ended"):
        worker.list()


def test_nothing_to_do_starts_nothing() -> None:
    def spawn(argv: list[str], env: dict[str, str]) -> Process:
        raise AssertionError("started")

    worker = IptablesWorker(spawn)
    assert worker.transaction() == []
    worker.close()
    assert repr(worker) == "<IptablesWorker not running>"


FAILURES = [
    (
        "kernel",
        errno.EINVAL,
        "can't commit: Invalid argument",
        KernelError,
        "libiptc says: can't commit.*dmesg",
    ),
    ("kernel", errno.ENOENT, "can't initialize nat: Table does not exist", NotFoundError, "CONFIG_IP_NF_NAT"),
    ("kernel", errno.EOPNOTSUPP, "can't initialize nat", UnsupportedError, "libiptc says"),
    (
        "lock",
        errno.EAGAIN,
        "/run/xtables.lock was held for 5 s by process 7 (x)",
        BusyError,
        "held for 5 s by process 7",
    ),
    ("file", errno.EACCES, "cannot open /run/xtables.lock", KernelError, "XTABLES_LOCKFILE"),
    ("library", 0, "No module named 'iptc'", BackendError, "No module named 'iptc'"),
    ("internal", 0, "ZeroDivisionError: division by zero", BackendError, "division by zero"),
]


@pytest.mark.parametrize(("kind", "number", "text", "expected", "message"), FAILURES)
def test_F60_failures_keep_the_words(
    scripted: Scripted, kind: str, number: int, text: str, expected: type[Exception], message: str
) -> None:
    worker = scripted(f"answer(id=r['id'], error={kind!r}, errno={number}, text={text!r}, missing=None)")
    with pytest.raises(expected, match=message) as caught:
        worker.transaction(add=[RULE])
    assert type(caught.value) is expected
    assert "'-A POSTROUTING -o eth0 -j MASQUERADE'" in str(caught.value)
    assert "netns 'box'" in str(caught.value)
    assert message.split(".*")[0] in (worker.probe() or "")


def test_close_does_not_wait_for_ever(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netkit._nat.iptables_client._CLOSE_SECONDS", 0.1)
    worker = scripted("answer(id=r['id'], result=[]); signal = __import__('signal'); signal.pause()")
    worker.list()
    pid = int(repr(worker).split("pid ")[1].split()[0])
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
