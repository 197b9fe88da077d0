"""How it ends: with the process that began it, or with the broker; and what a broker starts with."""

from __future__ import annotations

import os
import select
import signal
import subprocess

import pytest

from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.processes import descendants, interrupt
from tests.rootless.programs import START, program

HOLDS = """
with Namespace("held") as a:
    words = ["sh", "-c", "trap '' HUP TERM INT; (setsid sleep 1000 &) ; echo; sleep 1000"]
    p = a.popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdout.readline()
    from netkit._system import broker
    print(broker.processes()[0], flush=True)  # the supervisor
    sys.stdin.read()
"""


def user_namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/user")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None])
def test_all_of_it_ends_with_the_process(nobody: Ordinary, number: int | None) -> None:
    with nobody.popen([PYTHON, "-c", START + HOLDS], stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        supervisor = int(process.stdout.readline())
        started = {supervisor, *descendants(supervisor)}
        assert len(started) >= 4  # supervisor, broker, shell, sleeps
        # Nothing runs as him outside the user namespace.
        assert not {user_namespace(pid) for pid in started} & {user_namespace(process.pid)}
        watched = [os.pidfd_open(pid) for pid in started]
        if number is None:
            process.communicate(timeout=LONG)
        else:
            interrupt(process, number)
    for pidfd in watched:
        assert select.select([pidfd], [], [], LONG)[0], started
        os.close(pidfd)


def test_a_killed_broker_is_told(nobody: Ordinary) -> None:
    text = """
import signal
from netkit._system import broker
a = Namespace().create()
p = a.popen(["sleep", "1000"])
os.kill(broker.running().pid, signal.SIGKILL)
print(p.wait(60))
try:
    a.run(["true"])
except StateError as problem:
    print(problem)
a.delete()
with Namespace() as b:
    print(b.ping("127.0.0.1").loss)
"""
    lines = program(nobody, text)
    assert lines[0] == "-9"
    assert lines[1].startswith("the helper process that holds the rootless namespaces has ended")
    assert lines[2] == "0.0"


def test_a_forked_child_leaves_the_broker_alone(nobody: Ordinary) -> None:
    text = """
with Namespace() as a:
    pid = os.fork()
    if pid == 0:
        with Namespace() as mine:
            os._exit(int(mine.ping("127.0.0.1").loss))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), a.run(["true"]).returncode)
"""
    assert program(nobody, text) == ["0 0"]


def test_the_broker_inherits_nothing(nobody: Ordinary) -> None:
    text = """
from netkit._system import broker
read, write = os.pipe()
os.set_inheritable(write, True)
with Namespace() as a:
    a.sysctl["net.ipv4.ip_forward"]  # before it answers this, it has closed what it passed before
    at = f"/proc/{broker.running().pid}"
    links = [os.readlink(f"{at}/fd/{each}") for each in os.listdir(f"{at}/fd")]
    links = [each for each in links if "/libffi.so" not in each]  # since 3.5 it keeps itself open, for ctypes
    print(sorted({each.partition(":")[0].partition("[")[0] for each in links}), len(links))
    with open(f"{at}/environ") as file:
        print(file.read())
os.close(write)
print(os.read(read, 1))
"""
    lines = program(nobody, text, SECRET="not for it")
    # The standard three, the socket, the caller's pidfd, the pipe that SIGCHLD writes to.
    assert lines == [str(["/dev/null", "anon_inode", "pipe", "socket"]) + " 7", "", "b''"]
