"""Signals that wait until an undo is finished."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    _Handler = Callable[[int, FrameType | None], object] | int | None

_DEFERRED = (int(signal.SIGINT), int(signal.SIGTERM), int(signal.SIGHUP))

# The C functions below signal's own, which turn numbers into enums and cost several times as much.
_c_signal: Any = sys.modules.get("_signal", signal)
_get_handler, _set_handler = _c_signal.getsignal, _c_signal.signal


@contextmanager
def deferred_signals() -> Generator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP for the block; then deliver what came.

    Python runs handlers on the main thread only, so elsewhere there is nothing to hold back.
    A handler is swapped, not the signal mask: any thread may take a masked signal.
    """
    if current_thread() is not main_thread():
        yield
        return
    arrived: list[int] = []
    before: list[tuple[int, _Handler]] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number not in arrived:
            arrived.append(number)

    try:
        for held in _DEFERRED:
            handler: _Handler = _get_handler(held)
            if handler is not None and handler != signal.SIG_IGN:
                before.append((held, handler))
                _set_handler(held, note)
        yield
    finally:
        for held, handler in before:
            _set_handler(held, handler)
        for number in arrived:
            signal.raise_signal(number)
