"""A progress bar for long builds and teardowns: in a terminal on stderr, and in a notebook.

It shows up when the work has taken a moment, and is gone at its end. Nothing is shown where stderr is no
terminal; ``NETKIT_PROGRESS=0`` turns it off, ``=1`` draws it as text in any case.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LEAST = 100  # steps: fewer are done before one could read it
_DELAY, _INTERVAL = 0.4, 0.1  # seconds before it is shown, and between two looks
_WIDTH, _USUAL_COLUMNS = 30, 80


class Progress:
    """``with Progress("building", 2000) as advance:`` and then ``advance(1)`` for each step, from any thread.

    ``total`` may be an estimate: more steps leave the bar full.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = max(total, 1)
        self._done = 0
        self._lock = allocate_lock()
        self._draw: Callable[[str, float], None] | None = _canvas() if total >= _LEAST else None
        self._next = monotonic() + _DELAY
        self._shown = False

    def __enter__(self) -> Callable[[int], None]:
        return _ignore if self._draw is None else self._advance

    def __exit__(self, *exc: object) -> None:
        if self._shown:
            self._try_to_draw("", 0.0)

    def _advance(self, count: int) -> None:
        self._done += count
        if monotonic() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._next = monotonic() + _INTERVAL
            self._shown = True
            self._try_to_draw(self._what, min(self._done / self._total, 1.0))
        finally:
            self._lock.release()

    def _try_to_draw(self, what: str, part: float) -> None:
        try:
            if self._draw is not None:
                self._draw(what, part)
        except (OSError, ValueError):
            self._draw = None  # the terminal has gone; the work goes on


def _ignore(count: int) -> None:
    """Where nothing is shown."""


def _canvas() -> Callable[[str, float], None] | None:
    """How to draw a text and a fraction; an empty text takes it away. None: not at all."""
    wanted = os.environ.get("NETKIT_PROGRESS", "")
    if wanted == "0":
        return None
    if wanted == "1":
        return None if sys.stderr is None else _draw_text
    notebook = _notebook()
    if notebook is not None:
        return notebook
    return _draw_text if _is_terminal(sys.stderr) else None


def _is_terminal(stream: Any) -> bool:
    """Not one that is closed, as daemons do it, nor what a program put there that can be written to only.

    Nor a dumb one, such as an editor's window: it shows what is written, and no line is drawn anew.
    """
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def _draw_text(what: str, part: float) -> None:
    columns = _columns(sys.stderr)
    width = max(0, min(_WIDTH, columns - len(what) - len(" [] 100%") - 1))
    full = round(width * part)
    bar = f" [{'#' * full}{'.' * (width - full)}]" if width else ""
    line = f"{what}{bar} {part:4.0%}"[: columns - 1] if what else ""
    sys.stderr.write(f"\r{line}\x1b[K")
    sys.stderr.flush()


def _columns(stream: Any) -> int:
    """How wide the terminal is: of a line that goes on in the next one, `\\r` is not the beginning."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except (AttributeError, OSError):  # what NETKIT_PROGRESS=1 writes to is perhaps no file
        return _USUAL_COLUMNS


def _notebook() -> Callable[[str, float], None] | None:
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    from importlib import import_module

    show: Any = import_module("IPython.display")
    shown: list[Any] = []

    def draw(what: str, part: float) -> None:
        bar = f"<progress max='1' value='{part:.3f}'></progress>"
        page = show.HTML(f"{what} {bar} {part:.0%}" if what else "")
        if shown:
            shown[0].update(page)
        else:
            shown.append(show.display(page, display_id=True))

    return draw
