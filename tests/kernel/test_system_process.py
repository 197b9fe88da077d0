"""Programs inside a namespace: subprocess's behaviour, and nothing that outlives its namespace."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from netkit import Namespace
from netkit._system import process, worker
from netkit._system.members import kill_members
from netkit._system.nsfs import identity, open_current, path_identity
from netkit._system.piped_helper import spawn_helper
from netkit._system.process import Processes
from netkit.errors import CommandError, SpecError, StateError
from tests.harness.patience import LONG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._system.starting import Fresh

pytestmark = pytest.mark.capable

Start = Callable[[], "subprocess.Popen[Any]"]
LINK = ["readlink", "/proc/self/ns/net"]


@pytest.fixture
def fd() -> Iterator[int]:
    made, _ = worker.create_namespace(lambda: None)
    yield made
    os.close(made)


@pytest.fixture
def fresh(fd: int) -> Callable[[Start], subprocess.Popen[Any]]:
    return lambda start: worker.fresh(fd, start)


def test_a_program_runs_inside(fd: int, fresh: Fresh) -> None:
    done = process.run(fresh, LINK, capture_output=True, text=True, check=True)
    assert done.stdout == f"net:[{identity(fd)[1]}]\n"
    assert (done.args, done.returncode, done.stderr) == (LINK, 0, "")


def test_the_keywords_are_those_of_subprocess(fresh: Fresh, tmp_path: Path) -> None:
    code = "import os,sys; print(os.getcwd(), os.environ['A'], os.umask(0), os.getsid(0) == os.getpid())"
    options: dict[str, Any] = {"cwd": tmp_path, "env": {"A": "é"}, "umask": 0o27, "start_new_session": True}
    done = process.run(fresh, [sys.executable, "-c", code], capture_output=True, encoding="utf-8", **options)
    assert done.stdout == f"{tmp_path} é {0o27} True\n"
    assert process.run(fresh, ["cat"], input=b"abc", stdout=subprocess.PIPE).stdout == b"abc"
    assert process.run(fresh, "echo a b | wc -w", shell=True, capture_output=True, text=True).stdout == "2\n"
    assert process.run(fresh, [Path("/bin/true")]).returncode == 0
    assert process.run(fresh, "true").returncode == 0
    read, write = os.pipe()
    process.run(fresh, ["sh", "-c", f"echo passed > /dev/fd/{write}"], pass_fds=[write], check=True)
    os.close(write)
    assert os.read(read, 100) == b"passed\n"
    os.close(read)


def test_keywords_are_those_of_this_python() -> None:
    ours = set(signature(Namespace.popen).parameters) - {"self", "argv"}
    theirs = set(signature(subprocess.Popen).parameters)
    left_out = {"args", "preexec_fn", "startupinfo", "creationflags", "universal_newlines"}
    assert ours == theirs - left_out
    more = {"input", "capture_output", "timeout", "check"}
    assert set(signature(Namespace.run).parameters) - {"self", "argv"} == ours | more


def test_each_keyword_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = set(signature(Namespace.popen).parameters) - {"self", "argv"}
    passed: list[dict[str, Any]] = []

    def launch(_fresh: Any, _argv: Any, _processes: Any, keywords: dict[str, Any]) -> subprocess.Popen[bytes]:
        passed.append(keywords)
        return subprocess.Popen(["true"])

    monkeypatch.setattr(process, "_started", launch)
    given: dict[str, Any] = {each: object() for each in ours}
    with Namespace() as box:
        box.popen(["true"], **given).wait()
        box.run(["true"], **given)
    assert [set(keywords) for keywords in passed] == [ours, ours]
    assert all(keywords[each] is given[each] for keywords in passed for each in given)


def test_what_is_not_given_is_what_subprocess_has() -> None:
    theirs = signature(subprocess.Popen).parameters
    for name, value in process._DEFAULTS.items():
        assert [signature(each).parameters[name].default for each in (Namespace.run, Namespace.popen)] == [
            value
        ] * 2
        assert theirs[name].default == value
    assert process.unusual(process._USUAL) == {}
    assert process.unusual((*process._USUAL[:-1], 4096)) == {"pipesize": 4096}


def test_a_failure_has_the_command_and_its_last_words(fresh: Fresh) -> None:
    argv = ["sh", "-c", "echo why >&2; exit 3"]
    with pytest.raises(CommandError, match=r"exit 3.*status 3.*why") as caught:
        process.run(fresh, argv, capture_output=True, check=True)
    assert isinstance(caught.value, subprocess.CalledProcessError)
    assert (caught.value.cmd, caught.value.returncode, caught.value.stderr) == (argv, 3, b"why\n")
    assert process.run(fresh, argv, stderr=subprocess.DEVNULL).returncode == 3


def test_a_missing_program_is_what_subprocess_says(fresh: Fresh) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        process.run(fresh, ["no-such-program"])


def test_a_timeout_ends_the_program(fresh: Fresh) -> None:
    processes = Processes()
    with pytest.raises(subprocess.TimeoutExpired):
        process.run(fresh, ["sleep", "100"], processes, timeout=0.05)
    assert processes.running == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("ip link show 'a b'", r"\['ip', 'link', 'show', 'a b'\]"),
        ("", "empty"),
        ([], "empty"),
        (["ping", "-c", 1], r"argument 2 of the command, 1, is no str"),
        (["echo", "a\0b"], "NUL"),
        (None, "NoneType"),
        ({"ls"}, "set"),
    ],
)
def test_a_bad_command_is_refused_before_anything_starts(argv: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        process.run(lambda start: pytest.fail("started"), argv)


def test_streams_named_twice_are_refused(fresh: Fresh) -> None:
    with pytest.raises(SpecError, match="capture_output"):
        process.run(fresh, ["true"], capture_output=True, stdout=subprocess.PIPE)
    with pytest.raises(SpecError, match="input="):
        process.run(fresh, ["true"], input=b"", stdin=subprocess.PIPE)


def test_a_program_gets_the_callers_signal_mask(fresh: Fresh) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        code = "import signal; print(sorted(int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
        done = process.run(fresh, [sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == f"{sorted({*map(int, before), int(signal.SIGUSR2)})}\n"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_an_interrupted_start_ends_the_program() -> None:
    started: list[subprocess.Popen[Any]] = []

    def interrupted_after(start: Start) -> subprocess.Popen[Any]:
        started.append(start())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.popen(interrupted_after, ["sleep", "100"])
    assert started[0].returncode == -signal.SIGKILL

    later: list[Start] = []

    def interrupted_before(start: Start) -> subprocess.Popen[Any]:
        later.append(start)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.popen(interrupted_before, ["sleep", "100"])
    assert later[0]().returncode == -signal.SIGKILL


def test_what_runs_is_remembered_and_killed(fresh: Fresh) -> None:
    processes = Processes()
    ended = process.popen(fresh, ["true"], processes)
    ended.wait()
    running = [process.popen(fresh, ["sleep", "100"], processes) for _ in range(3)]
    assert processes.running == running
    processes.kill_all()
    assert [each.returncode for each in running] == [-signal.SIGKILL] * 3
    assert processes.running == []
    processes.kill_all()


def test_a_long_row_of_programs_is_not_kept(fresh: Fresh) -> None:
    processes = Processes()
    for _ in range(40):
        process.run(fresh, ["true"], processes)
    assert len(processes._started) < 30


def test_killing_works_without_a_free_descriptor(fresh: Fresh) -> None:
    processes = Processes()
    running = process.popen(fresh, ["sleep", "100"], processes)
    processes.kill_all  # noqa: B018  (imports happen here, before the limit)
    __import__("netkit._system.members")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        processes.kill_all()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert running.returncode == -signal.SIGKILL


def test_a_wait_elsewhere_does_not_disturb_the_end(fresh: Fresh) -> None:
    processes = Processes()
    running = process.popen(fresh, ["sleep", "100"], processes)
    waiter = threading.Thread(target=running.wait)
    waiter.start()
    processes.kill_all()
    waiter.join(LONG)
    assert running.returncode == -signal.SIGKILL


def test_grandchildren_are_members_too(fd: int, fresh: Fresh) -> None:
    script = "trap '' TERM; setsid sleep 100 & (sleep 100 &) ; echo ready; wait"
    parent = process.popen(fresh, ["sh", "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.read(6) == b"ready\n"
    outside = subprocess.Popen(["sleep", "100"])
    try:
        killed = kill_members(identity(fd))
        assert parent.pid in killed
        assert len(killed) >= 3
        assert parent.wait(LONG) == -signal.SIGKILL
        assert [
            pid for pid in os.listdir("/proc") if path_identity(f"/proc/{pid}/ns/net") == identity(fd)
        ] == []
        assert outside.poll() is None
        assert kill_members(identity(fd)) == set()
    finally:
        outside.kill()
        outside.wait()
        parent.stdout.close()


def test_a_process_that_moves_in_while_others_end_is_met_again(fd: int, fresh: Fresh) -> None:
    # A moving target: each sleep has ended, and another one has begun, when its turn comes.
    script = "(while :; do sleep 0.001; done) & for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; wait"
    parent = process.popen(fresh, ["sh", "-c", script])
    kill_members(identity(fd))
    assert parent.wait(LONG) == -signal.SIGKILL
    assert kill_members(identity(fd)) == set()


def test_our_own_namespace_is_never_cleared() -> None:
    fd = open_current()
    try:
        with pytest.raises(StateError, match="does not end its processes"):
            kill_members(identity(fd))
    finally:
        os.close(fd)
    first = path_identity("/proc/1/ns/net")
    if first is not None:
        with pytest.raises(StateError, match="does not end its processes"):
            kill_members(first)


def test_a_helper_has_pipes_and_a_session_of_its_own(fd: int, fresh: Fresh) -> None:
    code = "import os; print(os.getsid(0) != int(input()), os.readlink('/proc/self/ns/net'))"
    helper = spawn_helper(fresh, [sys.executable, "-c", code], {})
    assert helper.stdin is not None
    assert helper.stdout is not None
    helper.stdin.write(b"%d\n" % os.getsid(0))
    own, namespace = helper.stdout.read(1000).decode().split()
    helper.communicate()
    assert (own, namespace) == ("True", f"net:[{identity(fd)[1]}]")


def test_ends_are_waited_for_not_polled(fresh: Fresh) -> None:
    running = process.popen(fresh, ["sleep", "100"])
    pidfd = os.pidfd_open(running.pid)
    running.kill()
    assert select.select([pidfd], [], [], LONG)[0] == [pidfd]
    os.close(pidfd)
    running.wait()
