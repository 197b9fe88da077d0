"""`netkit demo` interrupted, not read, on a terminal, and its web server: nothing is left."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from netkit import Namespace, wait_for
from netkit._demo import packets, page, scenes
from tests.harness import machine
from tests.harness.demo import COMMAND, reading_is_warm
from tests.harness.patience import LONG

__all__ = ["reading_is_warm"]  # the fixture

pytestmark = pytest.mark.usefixtures("reading_is_warm")


# -- interrupted ------------------------------------------------------------------------------


class Playing:
    """A demo that waits for its reader: its pipe holds one write (O_DIRECT: each takes a page)."""

    def __init__(self) -> None:
        reading, writing = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen(
            COMMAND, stdout=writing, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        os.close(writing)
        self.process.stdout = os.fdopen(reading)

    def until(self, text: str) -> None:
        assert self.process.stdout is not None
        while text not in (line := self.process.stdout.readline()):
            assert line, f"the demo ended before {text!r}"

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        os.killpg(self.process.pid, number)
        output, errors = self.process.communicate(timeout=LONG)
        return self.process.returncode, output, errors


@pytest.mark.parametrize("text", ["Scene 1", "Scene 2", "built by netkit", "Scene 3", "Scene 4", "you are"])
def test_ctrl_c_leaves_nothing(text: str) -> None:
    before = machine.read()
    demo = Playing()
    demo.until(text)
    status, output, errors = demo.end(signal.SIGINT)
    assert status == 130
    assert "Interrupted: what was made is undone." in output
    assert output.endswith("Verdict: nothing is left.\n")
    assert errors == ""
    assert machine.read() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_other_signals_leave_nothing(number: signal.Signals) -> None:
    before = machine.read()
    demo = Playing()
    demo.until("Scene 4")
    status, _, errors = demo.end(number)
    assert status == (-9 if number == signal.SIGKILL else 128 + number)
    assert errors == ""
    if number == signal.SIGKILL:  # what the guard and the kernel do takes a moment
        wait_for(lambda: machine.read() == before, timeout=LONG)
    assert machine.read() == before


def test_a_reader_that_has_seen_enough_is_no_traceback() -> None:
    demo = Playing()
    demo.until("Scene 2")
    assert demo.process.stdout is not None
    demo.process.stdout.close()
    _, errors = demo.process.communicate(timeout=LONG)
    assert demo.process.returncode == 1
    assert errors == ""


# -- on a terminal ------------------------------------------------------------------------------


def _on_a_terminal(**environment: str) -> str:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            COMMAND, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
        )
        os.close(theirs)
        text = b"".join(iter(lambda: _read(ours), b"")).decode()
        assert process.wait(LONG) == 0, text
    finally:
        os.close(ours)
    return text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def test_colours_are_for_terminals() -> None:
    assert "\x1b[36m" in _on_a_terminal(TERM="xterm", NO_COLOR="")


@pytest.mark.parametrize("environment", [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_refused(environment: dict[str, str]) -> None:
    assert "\x1b[" not in _on_a_terminal(**environment)


# -- the web server of scene 5 -------------------------------------------------------------------


def test_the_web_server_ends_with_its_standard_input(host: Namespace) -> None:
    server = host.popen([sys.executable, "-I", page.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    packets.wait_for_line(server)
    assert host.call(packets.fetch, "127.0.0.1").startswith("200 OK\n<h1>Hello from ns1</h1>")
    server.communicate(timeout=LONG)
    assert server.returncode == 0
    with host.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", 80))


def test_a_web_server_that_cannot_listen_is_told(host: Namespace) -> None:
    with host.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", 80))
        taken.listen()
        server = host.popen(
            [sys.executable, "-I", page.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with pytest.raises(EOFError):
            packets.wait_for_line(server)
        server.communicate(timeout=LONG)


def test_the_web_server_is_a_file_of_the_package() -> None:
    assert Path(page.__file__).parent == Path(scenes.__file__).parent
