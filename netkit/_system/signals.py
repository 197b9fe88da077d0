"""Signals that wait until an undo is finished, and those that are for the program's own threads.

By the C functions below the signal module: that one turns numbers into enums, which costs
milliseconds at import and several times the call itself afterwards.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, TypeVar

    T = TypeVar("T")
    _Handler = Callable[[int, FrameType | None], object] | int | None

_c_signal: Any = sys.modules["_signal"]  # built in, and loaded by the interpreter itself
_get_handler, _set_handler, _raise_signal = _c_signal.getsignal, _c_signal.signal, _c_signal.raise_signal
_IGNORED: int = _c_signal.SIG_IGN
# SIGALRM too: handlers that raise on it are how timeouts are made (pytest-timeout, signal.alarm).
_DEFERRED: tuple[int, ...] = (_c_signal.SIGINT, _c_signal.SIGTERM, _c_signal.SIGHUP, _c_signal.SIGALRM)


class deferred_signals:  # noqa: N801
    """Hold back SIGINT, SIGTERM, SIGHUP and SIGALRM for the block; then deliver what came.

    Python runs handlers on the main thread only, so elsewhere there is nothing to hold back.
    A handler is swapped, not the signal mask: any thread may take a masked signal.
    """

    __slots__ = ("_arrived", "_before")

    def __init__(self) -> None:
        self._arrived: list[int] = []
        self._before: list[tuple[int, _Handler]] = []

    def __enter__(self) -> None:
        try:
            for held in _DEFERRED:
                handler: _Handler = _get_handler(held)
                if handler is not None and handler != _IGNORED:
                    self._before.append((held, handler))
                    _set_handler(held, self._note)
        except ValueError:  # this is not the main thread
            self._before.clear()
        except BaseException:  # one came before it was held back
            self._deliver()
            raise

    def __exit__(self, *exc: object) -> None:
        self._deliver()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number not in self._arrived:
            self._arrived.append(number)

    def _deliver(self) -> None:
        try:
            self._restore()
        except BaseException:  # one whose own handler was there again before the others'
            self._restore()
            raise
        for number in self._arrived:
            _raise_signal(number)

    def _restore(self) -> None:
        for held, handler in self._before:
            _set_handler(held, handler)


def undisturbed(work: Callable[[], T], discard: Callable[[T], object]) -> T:
    """The result of a function that no signal interrupts; one that comes meanwhile discards the result."""
    done: list[T] = []
    try:
        with deferred_signals():
            done.append(work())
    except BaseException:
        for each in done:
            discard(each)
        raise
    return done[0]


class blocked_signals:  # noqa: N801
    """A thread that is started in the block takes no signals: it inherits the mask."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before: set[int] = _c_signal.pthread_sigmask(_c_signal.SIG_BLOCK, _c_signal.valid_signals())

    def __exit__(self, *exc: object) -> None:
        _c_signal.pthread_sigmask(_c_signal.SIG_SETMASK, self._before)


def restore_ignored() -> None:
    """What Python itself ignores has its default effect again, for the program that takes over."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        _set_handler(getattr(_c_signal, name), _c_signal.SIG_DFL)
