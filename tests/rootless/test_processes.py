"""What runs inside is as with subprocess: each thing is done by both, and compared."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from pathlib import Path

import pytest

from netkit import wait_for
from tests.harness.ordinary import BECOME, PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.rootless.programs import START, program

# What a child can say of itself. Its pid is another number inside; whether it leads is none.
CHILD = """
import json, os, resource, signal, sys
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
print(json.dumps({
    "argv": sys.argv[1:], "cwd": os.getcwd(), "umask": status["Umask"].strip(), "env": dict(os.environ),
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "ignored": [n for n in range(1, 32) if int(status["SigIgn"], 16) >> n - 1 & 1 and n not in (13, 25)],
    "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
    "fds": {n: os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in sorted(os.listdir("/proc/self/fd"))
            if os.path.exists(f"/proc/self/fd/{n}") and "/proc" not in os.readlink(f"/proc/self/fd/{n}")},
    "tty": [os.isatty(n) for n in (0, 1, 2) if n in map(int, os.listdir("/proc/self/fd"))],
}))
"""
BOTH = f"""
import signal
CHILD = [sys.executable, "-I", "-c", {CHILD!r}]
"""
BOTH += """
def _plain(kind):
    return next(each for each in kind.mro() if not each.__module__.startswith("netkit"))
def outcome(run, argv, keywords):
    try:
        done = run(argv, **keywords)
    except (OSError, ValueError, subprocess.SubprocessError) as problem:
        told = [getattr(problem, name, None) for name in ("errno", "filename", "returncode", "output", "cmd")]
        return _plain(type(problem)).__name__, told
    return done.returncode, done.stdout, done.stderr
def compare(argv, tries=1, **keywords):
    global box
    with Namespace() as box:
        for _ in range(tries):
            theirs, ours = outcome(subprocess.run, argv, keywords), outcome(box.run, argv, keywords)
            if theirs == ours:
                break
    print("same" if theirs == ours else f"{argv}: {theirs} but {ours}")
"""


ASKED = """
compare([*CHILD, 'a', b'b', ''], capture_output=True)
compare(CHILD, capture_output=True, cwd='/usr')
compare(CHILD, capture_output=True, cwd=b'..')
compare(CHILD, capture_output=True, env={})
compare(CHILD, capture_output=True, env={b'IT': b'\\xff', b'LC_ALL': b'C.UTF-8'})
compare(CHILD, capture_output=True, umask=0o077)
compare(CHILD, capture_output=True, start_new_session=True)
compare(CHILD, capture_output=True, process_group=0)
compare(CHILD, stdout=-1, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
compare(CHILD, capture_output=True, text=True, input='x')
compare(['cat'], input='å', stdout=-1, encoding='utf-16')
compare(['cat'], input=b'x' * 3_000_000, stdout=-1)
compare('echo $0 $1; echo x >&2; exit 3', shell=True, capture_output=True)
compare(['it', '-c', 'echo $0'], executable='/bin/sh', stdout=-1)
compare(['sh', '-c', 'echo $0'], executable='nosuch', stdout=-1)
compare(['sh', '-c', 'kill -SEGV $$'])
compare(['sh', '-c', 'exit 255'])
# On a busy machine what one of them says may come too late to be told, but not each time.
compare(['sh', '-c', 'echo some; exec sleep 100'], tries=10, stdout=-1, timeout=0.3)
compare(['nosuch'])
compare(['/nosuch/it'])
compare(['/usr'])
compare(['/etc/passwd'])
compare(['true'], cwd='/nosuch')
compare(['true'], cwd='/etc/passwd')
compare(['true', 'x' * 200_000])
compare(['true'], env={'A=B': 'c'})
compare(['true'], env={'A': 'c\\0'})
compare(['true'], cwd='/tmp\\0')
compare(['sh', '-c', 'yes | head -1'], capture_output=True, restore_signals=False)
compare(['sh', '-c', 'exit 3'], check=True, capture_output=True)
"""


def test_it_is_as_with_subprocess(nobody: Ordinary) -> None:
    lines = program(nobody, BOTH + ASKED)
    assert [line for line in lines if line != "same"] == []
    assert len(lines) == ASKED.count("compare(")


@pytest.mark.parametrize(
    "state",
    [
        "os.umask(0o027)",
        "signal.signal(10, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {12, 15})",
        "r, w = os.pipe() && os.set_inheritable(w, True)",
        "r, w = os.pipe() && os.set_inheritable(w, True) && compare(CHILD, stdout=-1, close_fds=False)",
        "r, w = os.pipe() && compare(CHILD, stdout=-1, pass_fds=[r, w])",
        "os.dup2(1, 200) && compare(CHILD, stdout=-1, pass_fds=[200])",
        "os.close(0)",
    ],
)
def test_what_a_child_inherits_is_inherited(nobody: Ordinary, state: str) -> None:
    asked = state if "compare" in state else f"{state} && compare(CHILD, capture_output=True)"
    assert program(nobody, BOTH + asked.replace(" && ", "\n")) == ["same"]


# -- a terminal -------------------------------------------------------------------------------------

CTRL_C = "\x03"
# It leads a session, whose terminal is its own; so a Ctrl-C goes to it and to all of its group.
ON_A_TERMINAL = """
import fcntl, signal, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
with Namespace() as box:
"""


def on_a_terminal(nobody: Ordinary, text: str, *typed: tuple[str, str]) -> str:
    """Run a program there; each time it has said the first thing, the second is typed. All it said."""
    ours, theirs = pty.openpty()
    source = START + ON_A_TERMINAL + text
    argv = [PYTHON, "-W", "error", "-c", source]
    with subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, cwd=nobody.home, **BECOME,
        env={"PYTHONPATH": str(nobody.home), "PATH": "/usr/bin:/bin"},
    ) as process:  # fmt: skip
        os.close(theirs)
        said = ""
        for heard, answer in typed:
            said += _until(ours, heard)
            if answer == CTRL_C:  # one just before a wait does not end that
                wait_for(lambda: _state(process.pid) == "S", timeout=LONG)
            os.write(ours, answer.encode())
        said += _until(ours, None)
        assert process.wait(LONG) == 0, said
    os.close(ours)
    return said.replace("\r\n", "\n")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _until(terminal: int, heard: str | None) -> str:
    """Read until this was said, or until nobody has the terminal any more."""
    said = ""
    while heard is None or heard not in said:
        assert select.select([terminal], [], [], LONG)[0], f"no {heard!r} in {said!r}"
        try:
            said += os.read(terminal, 4096).decode()
        except OSError:  # EIO: the other side is closed
            assert heard is None, said
            break
    return said


@pytest.mark.parametrize("start", ["subprocess.Popen", "box.popen"])
def test_ctrl_c_reaches_the_program_and_its_caller(nobody: Ordinary, start: str) -> None:
    text = f"""
    # It ends after its caller was interrupted: subprocess loses a status that comes in the same moment.
    script = "trap 'echo trapped; read on; exit 7' INT; read go; echo waiting; while :; do read it; done"
    process = {start}(["sh", "-c", script])
    try:
        print("started")
        process.wait()
    except KeyboardInterrupt:
        print("caught")
        print("interrupted", process.wait(60))
    print({start}(["sh", "-c", "test -t 0 && read it < /dev/tty && echo $it"]).wait())
    print(box.ping("127.0.0.1").loss)
"""
    answers = [("started", "go\n"), ("waiting", CTRL_C), ("caught", "on\n"), ("interrupted 7\r\n", "typed\n")]
    said = on_a_terminal(nobody, text, *answers)
    words = said.replace("^C", "").split()
    assert words.count("trapped") == 1
    assert words.count("typed") == 2  # by the terminal's echo, and by the program
    assert words[-2:] == ["0", "0.0"]


@pytest.mark.parametrize("start", ["subprocess.Popen", "box.popen"])
def test_a_terminal_of_its_own(nobody: Ordinary, start: str) -> None:
    """As pexpect and `script` do it: a new session, whose terminal is another one."""
    text = f"""
    import pty
    ours, theirs = pty.openpty()
    argv = ["setsid", "--ctty", "sh", "-c", "read it < /dev/tty; stty size; exec cat"]
    termios.tcsetwinsize(ours, (7, 70))
    process = {start}(argv, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"begin\\nhello\\n")
    said = b""
    while said.count(b"hello") < 2:
        said += os.read(ours, 100)
    os.write(ours, b"\\x03")
    print(b"7 70" in said, process.wait(60))
"""
    assert on_a_terminal(nobody, text) == "True -2\n"


def test_ctrl_c_while_the_broker_begins(nobody: Ordinary) -> None:
    """Also for a program that lives on: the broker does, too."""
    text = """
import signal, threading
interrupts = []
signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
def interrupt():
    while not done:
        os.killpg(0, signal.SIGINT)
done = []
os.setpgid(0, 0)
for _ in range(5):
    thread = threading.Thread(target=interrupt)
    thread.start()
    with Namespace() as box:
        print(box.ping("127.0.0.1").loss)
    done.append(True)
    thread.join()
    done.clear()
    netkit.shutdown()
print(len(interrupts) > 0)
"""
    assert program(nobody, text) == ["0.0"] * 5 + ["True"]


def test_signals_and_stops_by_the_process_object(nobody: Ordinary) -> None:
    text = """
import select, signal
with Namespace() as box:
    process = box.popen(["sleep", "100"])
    process.send_signal(signal.SIGSTOP)
    state = ""
    while "T" not in state:
        with open(f"/proc/{process.pid}/stat") as file:
            state = file.read().split()[2]
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired as problem:
        print(problem.timeout, process.poll())
    os.kill(process.pid, signal.SIGCONT)
    process.terminate()
    print(process.wait(60), process.poll(), process.returncode)
    process = box.popen(["sleep", "100"])
    pidfd = os.pidfd_open(process.pid)
    process.kill()
    print(select.select([pidfd], [], [], 60)[0] == [pidfd], process.wait())
"""
    assert program(nobody, text) == ["0.1 None", "-15 -15 -15", "True -9"]


def test_its_pid_is_good_here(nobody: Ordinary) -> None:
    text = """
with Namespace() as box:
    process = box.popen(["sleep", "100"], start_new_session=True)
    print(os.getpgid(process.pid) == process.pid, os.readlink(f"/proc/{process.pid}/exe"))
    os.killpg(process.pid, 15)
    print(process.wait(60))
"""
    assert program(nobody, text) == ["True /usr/bin/sleep", "-15"]
