"""Commands inside a namespace: run and popen, how they end, and what they inherit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from netkit import CommandError, Namespace, SpecError
from tests.harness import place
from tests.harness.here import identity, inode
from tests.harness.inside import Alarm, alarm, box, nobody_has_moved
from tests.harness.patience import LONG, in_time

__all__ = ["alarm", "box", "nobody_has_moved"]  # the fixtures

pytestmark = pytest.mark.usefixtures("nobody_has_moved")


# -- run ---------------------------------------------------------------------------


def test_a_command_runs_inside(box: Namespace) -> None:
    done = box.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True, check=True)
    assert isinstance(done, subprocess.CompletedProcess)
    assert (done.stdout, done.stderr, done.returncode) == (f"{inode(box)}\n", "", 0)
    assert done.args == ["readlink", "/proc/self/ns/net"]


def test_the_keywords_are_those_of_subprocess(box: Namespace, tmp_path: Path) -> None:
    def said(argv: Any, **keywords: Any) -> Any:
        return box.run(argv, capture_output=True, check=True, **keywords).stdout

    assert said(["pwd"], cwd=tmp_path, text=True) == f"{tmp_path}\n"
    assert said(["/usr/bin/env"], env={"ONLY": "this"}) == b"ONLY=this\n"
    assert said(["cat"], input=b"bytes") == b"bytes"
    assert said(["cat"], input="text", text=True) == "text"
    assert said(["cat"], input="é", encoding="latin-1") == "é"
    assert said("echo $0 | cat", shell=True, text=True) == "/bin/sh\n"
    assert said(["zero", "-c", "echo $0"], executable="/bin/sh", text=True) == "zero\n"
    assert said(["sh", "-c", "umask"], umask=0o77, text=True).strip() == "0077"
    own = 0 if place.ROOTLESS else os.getsid(0)  # 0: its leader is in another pid namespace
    code = "import os; print(os.getsid(0))"
    assert int(said([sys.executable, "-c", code], start_new_session=True)) != own
    assert int(said([sys.executable, "-c", code])) == own
    with open(tmp_path / "out", "w+") as out, open("/dev/null") as nothing:
        box.run(
            ["sh", "-c", "cat; echo out; echo err >&2"], stdin=nothing, stdout=out, stderr=subprocess.STDOUT
        )
        out.seek(0)
        assert out.read() == "out\nerr\n"


def test_F08_descriptors_are_passed_only_when_asked(box: Namespace) -> None:
    """F08"""
    reading, writing = os.pipe()
    try:
        listing = box.run(["ls", "/proc/self/fd"], capture_output=True, text=True, pass_fds=[writing]).stdout
        assert {int(word) for word in listing.split()} - {0, 1, 2} <= {writing, 3}  # 3 is the listing's own
        assert str(writing) in listing.split()
    finally:
        os.close(reading)
        os.close(writing)


def test_an_unknown_keyword_is_a_type_error(box: Namespace) -> None:
    for method in (box.run, box.popen):
        with pytest.raises(TypeError, match="capture_ouput"):
            method(["true"], capture_ouput=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="preexec_fn"):
        box.run(["true"], preexec_fn=int)  # type: ignore[call-arg]


@pytest.mark.parametrize("argv", ["ip link", [], "", None, 3, ["ping", 3], ["a\0b"]], ids=repr)
def test_a_bad_command_is_refused_before_it_starts(box: Namespace, argv: Any) -> None:
    with pytest.raises(SpecError):
        box.run(argv)
    with pytest.raises(SpecError):
        box.popen(argv)


def test_a_missing_program_or_directory(box: Namespace) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        box.run(["no-such-program"])
    with pytest.raises(FileNotFoundError, match="no-such-directory"):
        box.run(["true"], cwd="/no-such-directory")


@pytest.mark.parametrize("text", [True, False])
def test_a_failure_says_what_was_said_last(box: Namespace, text: bool) -> None:
    argv = ["sh", "-c", "echo out; echo no route to Mars >&2; exit 3"]
    with pytest.raises(CommandError, match="no route to Mars") as caught:
        box.run(argv, check=True, capture_output=True, text=text)
    assert isinstance(caught.value, subprocess.CalledProcessError)
    assert (caught.value.returncode, caught.value.cmd) == (3, argv)
    assert caught.value.stdout == ("out\n" if text else b"out\n")
    assert "exit status 3" in str(caught.value)
    assert box.run(argv, capture_output=True).returncode == 3  # without check= no exception


def test_a_signal_is_a_failure_too(box: Namespace) -> None:
    with pytest.raises(CommandError, match="SIGKILL"):
        box.run(["sh", "-c", "kill -9 $$"], check=True)


def test_a_timeout_kills_the_child(box: Namespace) -> None:
    in_time(lambda: _a_timeout_kills_the_child(box))  # it is to say something before


def _a_timeout_kills_the_child(box: Namespace) -> None:
    reading, writing = os.pipe()
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        box.run(["sh", "-c", "echo $$; exec sleep 100"], timeout=0.3, capture_output=True, pass_fds=[writing])
    os.close(writing)
    assert select.select([reading], [], [], 0)[0]  # at its end: nobody has the other end any more
    os.close(reading)
    assert int(caught.value.output or 0) > 0


def test_an_interrupt_kills_the_child(box: Namespace, alarm: Alarm) -> None:
    reading, writing = os.pipe()
    sender = threading.Thread(target=lambda: (os.read(reading, 1), alarm.ring()))
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        box.run(["sh", "-c", "echo; exec sleep 100"], stdout=writing)
    sender.join()
    os.close(writing)
    # If it was interrupted while the child was being started, the starting thread ends it.
    assert os.read(reading, 1) == b""
    assert select.select([reading], [], [], LONG)[0]
    os.close(reading)


# -- popen -------------------------------------------------------------------------


def test_popen_is_subprocess_popen(box: Namespace) -> None:
    with box.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert isinstance(child, subprocess.Popen)
        assert identity(f"/proc/{child.pid}/ns/net") == identity(box.fileno())
        assert child.communicate("hello")[0] == "hello"
    assert child.returncode == 0


GROWS = """
echo $$
sh -c 'trap "" TERM HUP INT; echo $$; exec sleep 100' &
setsid sh -c 'echo $$; exec sleep 100' &
(setsid sh -c 'echo $$; exec sleep 100' &)
wait
"""


def test_processes_die_with_the_namespace() -> None:
    with Namespace() as ns:
        child = ns.popen(["sh", "-c", GROWS], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        pids = [int(child.stdout.readline()) for _ in range(4)]
        ends = [os.pidfd_open(place.pid_of(pid)) for pid in pids]
        assert not select.select(ends, [], [], 0)[0]
    assert sorted(select.select(ends, [], [], 0)[0]) == sorted(ends)
    assert child.returncode == -signal.SIGKILL
    for fd in ends:
        os.close(fd)
    child.stdout.close()


def test_what_others_started_there_dies_too() -> None:
    """A process would keep the namespace, and with it the links, alive: what we made ends whole."""
    with Namespace("box") as ns:
        ns.run(["true"])
        command = place.there("ip", "netns", "exec", "box", "sh", "-c", "echo; exec sleep 100")
        stranger = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert stranger.stdout is not None
        stranger.stdout.read(1)
    assert stranger.wait(LONG) == -signal.SIGKILL
    stranger.stdout.close()


def test_processes_in_a_borrowed_one_go_on(box: Namespace) -> None:
    with Namespace.open("box") as borrowed:
        child = borrowed.popen(["sh", "-c", "echo; exec sleep 100"], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.read(1)
    assert child.poll() is None
    box.delete()
    assert child.wait(LONG) == -signal.SIGKILL  # its owner ended it
    child.stdout.close()


# -- ping --------------------------------------------------------------------------


def test_a_program_has_the_priority_and_processors_of_the_thread_that_starts_it(host: Namespace) -> None:
    """Linux keeps both per thread: a program started by a thread that lives on would have that one's."""
    host.run(["true"])
    said: list[str] = []

    def start() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        code = "import os; print(os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0)))"
        said.append(host.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert said == ["5 1\n"]
