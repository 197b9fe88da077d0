"""The progress bar: when it shows, what it draws, and that it never hurts the work."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios
import threading
from types import SimpleNamespace

import pytest

from netkit import Namespace, Scope, _progress
from netkit._progress import Progress
from netkit.testing import FakeKernel


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.delenv("NETKIT_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(_progress, "_DELAY", 0.0)
    monkeypatch.setattr(_progress, "_INTERVAL", 0.0)
    stream = Terminal()
    _redirect(monkeypatch, stream)
    return stream


def _redirect(monkeypatch: pytest.MonkeyPatch, stream: object) -> None:
    """Not sys.stderr itself, which pytest sets anew when the test begins."""
    monkeypatch.setattr(_progress, "sys", SimpleNamespace(stderr=stream, modules=sys.modules))


def test_a_bar_is_drawn_and_taken_away(terminal: Terminal) -> None:
    with Progress("building", 200) as advance:
        advance(100)
        assert terminal.getvalue().endswith(f"\rbuilding [{'#' * 15}{'.' * 15}]  50%\x1b[K")
        advance(500)
        assert terminal.getvalue().endswith("] 100%\x1b[K")
    assert terminal.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("columns", "line"),
    [(40, "building [############...........]  50%"), (17, "building  50%"), (8, "buildin"), (0, None)],
)
def test_a_narrow_terminal_has_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal, columns: int, line: str | None
) -> None:
    controller, end = os.openpty()
    with open(controller, "rb", buffering=0) as screen, open(end, "w") as stream:
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        _redirect(monkeypatch, stream)
        with Progress("building", 200) as advance:
            advance(100)
            shown = screen.read(100).decode()
    assert shown == f"\r{line or 'building [###############...............]  50%'}\x1b[K"


def test_a_dumb_terminal_stays_empty(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Progress("building", 200) as advance:
        advance(200)
    assert terminal.getvalue() == ""


def test_short_work_shows_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with Progress("building", 99) as advance:
        advance(99)
    monkeypatch.setattr(_progress, "_DELAY", 1000.0)
    with Progress("building", 1000) as advance:
        advance(1000)
    assert terminal.getvalue() == ""


def test_what_is_no_terminal_stays_empty(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    stream = io.StringIO()
    _redirect(monkeypatch, stream)
    with Progress("building", 200) as advance:
        advance(200)
    assert stream.getvalue() == ""
    _redirect(monkeypatch, None)  # a daemon
    with Progress("building", 200) as advance:
        advance(200)


@pytest.mark.parametrize(("setting", "kind", "shows"), [("0", Terminal, False), ("1", io.StringIO, True)])
def test_the_environment_decides(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal, setting: str, kind: type[io.StringIO], shows: bool
) -> None:
    monkeypatch.setenv("NETKIT_PROGRESS", setting)
    stream = kind()
    _redirect(monkeypatch, stream)
    with Progress("building", 200) as advance:
        advance(200)
    assert bool(stream.getvalue()) is shows


def test_a_terminal_that_goes_away_does_not_stop_the_work(terminal: Terminal) -> None:
    with Progress("building", 200) as advance:
        terminal.close()
        advance(1)
        advance(1)


def test_a_terminal_that_is_gone_at_the_end_does_not_stop_the_work(terminal: Terminal) -> None:
    with Progress("building", 200) as advance:
        advance(1)
        assert terminal.getvalue()
        terminal.close()


def test_streams_that_cannot_say_what_they_are_stay_empty(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    closed = io.StringIO()
    closed.close()
    written: list[str] = []
    for stream in (closed, SimpleNamespace(write=written.append, flush=lambda: None)):
        _redirect(monkeypatch, stream)
        with Progress("building", 200) as advance:
            advance(200)
    assert written == []
    monkeypatch.setenv("NETKIT_PROGRESS", "1")
    _redirect(monkeypatch, None)
    with Progress("building", 200) as advance:
        advance(200)


def test_several_threads_may_advance(terminal: Terminal) -> None:
    bar = Progress("building", 4000)
    with bar as advance:
        threads = [threading.Thread(target=lambda: [advance(1) for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert terminal.getvalue().count("\r") >= 2


def test_a_notebook_gets_a_page(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    pages: list[str] = []
    handle = SimpleNamespace(update=pages.append)

    def display(page: str, display_id: bool) -> object:
        pages.append(page)
        return handle

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))  # type: ignore[arg-type]
    with Progress("building", 200) as advance:
        advance(100)
        advance(50)
    assert pages == [
        "building <progress max='1' value='0.500'></progress> 50%",
        "building <progress max='1' value='0.750'></progress> 75%",
        "",
    ]
    assert terminal.getvalue() == ""


def test_a_build_and_its_teardown_show_one(terminal: Terminal) -> None:
    with FakeKernel(), Scope() as scope:
        scope.own(*[Namespace() for _ in range(120)])
        assert "building 120 resources [" in terminal.getvalue()
        assert "] 100%" in terminal.getvalue()
    assert "removing 120 resources [" in terminal.getvalue()
