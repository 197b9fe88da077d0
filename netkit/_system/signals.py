"""Signals that wait until an undo is finished."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    _Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers

_DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP for the block; then deliver what came.

    Python runs handlers on the main thread only, so elsewhere there is nothing to hold back.
    A handler is swapped, not the signal mask: any thread may take a masked signal.
    """
    if current_thread() is not main_thread():
        yield
        return
    arrived: list[int] = []
    before: list[tuple[signal.Signals, _Handler]] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number not in arrived:
            arrived.append(number)

    try:
        for held in _DEFERRED:
            handler = signal.getsignal(held)
            if handler is not None and handler is not signal.SIG_IGN:
                before.append((held, handler))
                signal.signal(held, note)
        yield
    finally:
        for held, handler in before:
            signal.signal(held, handler)
        for number in arrived:
            signal.raise_signal(number)
