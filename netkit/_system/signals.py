"""Signals that wait until what they would break off is whole, and those for the program's own threads.

A handler runs between two bytecodes of the main thread, and what it raises loses whatever was done and not
noted yet: a descriptor that is a bare number, the number of a line in the journal. So each verb holds
signals back while it works. They take effect where nothing can be lost: before a request (`admit_signals`),
while it waits (`admitted_signals`), and at its end. After one that has raised, others do at the end only:
they would disturb the undoing of what it broke off. In an undo they wait in any case.

By the C functions below the signal module: that one turns numbers into enums, which costs
milliseconds at import and several times the call itself afterwards.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident, interrupt_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Self, TypeVar

    T = TypeVar("T")
    _Handler = Callable[[int, FrameType | None], object] | int | None

_c_signal: Any = sys.modules["_signal"]  # built in, and loaded by the interpreter itself
_get_handler, _set_handler, _raise_signal = _c_signal.getsignal, _c_signal.signal, _c_signal.raise_signal
_DEFAULT: int = _c_signal.SIG_DFL
_handle_next: Any = interrupt_main
# SIGALRM too: handlers that raise on it are how timeouts are made (pytest-timeout, signal.alarm).
_HELD: tuple[int, ...] = (_c_signal.SIGINT, _c_signal.SIGTERM, _c_signal.SIGHUP, _c_signal.SIGALRM)

_ALL: set[int] = _c_signal.valid_signals()


class _Holding:
    """What is held back now, on the main thread, by one block or several nested ones.

    Handlers are exchanged, not the signal mask: any thread may take a masked signal.
    """

    __slots__ = (
        "admitted", "arrived", "depth", "firm", "found", "handlers", "settled", "spent", "taken", "thread",
    )  # fmt: skip

    def __init__(self) -> None:
        self.thread = get_ident()
        self.depth = self.firm = self.admitted = 0
        self.spent = self.settled = False
        self.handlers: dict[int, _Handler] = {}
        self.arrived: list[int] = []
        self.found: list[_Handler] = []
        self.taken = 0

    def begin(self, firm: bool) -> None:
        """The first block: `take_over`, and what `begin_again` needs."""
        self.firm = int(firm)
        self.found = self.take_over()
        self.taken = len(self.handlers)

    def begin_again(self) -> bool:
        """The first block once more, if the program has the handlers that it had then."""
        global _idle, _now
        if [*map(_get_handler, _HELD)] != self.found:
            return False
        try:
            _ = [*map(_set_handler, self.handlers, [self.note] * self.taken)]  # see give_back
            _now, _idle = self, None
        except BaseException:  # one came before it was held back
            self.give_back()
            raise
        return True

    def take_over(self) -> list[_Handler]:
        """Handlers of the program's wait; in an undo, what would end the process does, too. Returns all."""
        global _now
        found: list[_Handler] = []
        for number in _HELD:
            handler: _Handler = _get_handler(number)
            found.append(handler)
            if isinstance(handler, int):
                wanted = self.firm and handler == _DEFAULT
            else:
                wanted = handler is not None and number not in self.handlers
                before: Any = getattr(handler, "__self__", None)
                if before.__class__ is _Holding:  # of another one, who could not give it back
                    handler = before.handlers[number]
            if wanted:
                self.handlers[number] = handler
                _ = [*map(_set_handler, [number], [self.note])]  # see give_back
                _now = self
        return found

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler meanwhile."""
        if _now is not self or (self.admitted and not self.firm and not self.spent):
            self.call(number, frame)
        elif number not in self.arrived:
            self.arrived.append(number)

    def call(self, number: int, frame: FrameType | None) -> None:
        """What the program has for it."""
        handler = self.handlers[number]
        if callable(handler):
            self.spent = True
            handler(number, frame)
            self.spent = False  # it has raised nothing
        else:
            _set_handler(number, handler)
            _raise_signal(number)

    def admit(self) -> None:
        """Those that came take effect, unless one has raised already, or something is undone."""
        while self.arrived and not self.firm and not self.spent:
            self.call(self.arrived.pop(0), sys._getframe(1))

    def leave(self, firm: bool, admitted: int) -> None:
        """A block ends; with the last one signals are the program's again."""
        self.admitted = admitted
        self.firm -= firm
        if firm and not self.firm:
            self.give_back_defaults()
        if self.depth > 1:
            self.depth -= 1
            return
        try:
            while self.arrived and not self.settled:
                self.call(self.arrived.pop(0), sys._getframe(1))
        finally:
            self.depth = 0
            self.give_back()

    def give_back_defaults(self) -> None:
        """Those that end the process, if one came."""
        for number, handler in [*self.handlers.items()]:
            if not callable(handler):
                _set_handler(number, handler)
                del self.handlers[number]
                if number in self.arrived:
                    _raise_signal(number)

    def give_back(self) -> None:
        """Restore the handlers, and leave what came at the last moment to be handled next.

        Python looks for signals after each call that a bytecode makes, not within a function of C:
        `[*map(...)]` restores all at once, and from there to the caller's next call no handler runs.
        """
        global _idle, _now
        numbers, handlers = [*self.handlers], [*self.handlers.values()]
        restoring, again = map(_set_handler, numbers, handlers), map(_set_handler, numbers, handlers)
        late = map(_handle_next, self.arrived)
        try:
            _ = [*restoring]
        except BaseException:  # by a handler that was restored already, of another signal
            _ = [*again]
            raise
        finally:
            _now = None
            _ = [*late]
        if not (self.spent or self.settled or self.arrived) and len(numbers) == self.taken:
            _idle = self


_now: _Holding | None = None
# The last one, as long as nothing is left of its block: to take over once more takes half the time.
_idle: _Holding | None = None
_main = 0  # the main thread, as soon as that is known


class held_signals:  # noqa: N801
    """Hold back what Python handlers of SIGINT, SIGTERM, SIGHUP and SIGALRM raise, for a verb's whole work.

    They take effect at its end, and where they are admitted meanwhile. Python runs handlers on the main
    thread only, so elsewhere there is nothing to hold back.
    """

    __slots__ = ("_admitted", "_holding")
    _firm = False

    def __enter__(self) -> Self:
        holding = _now
        if holding is None or holding.thread != get_ident():
            holding = _begin(self._firm)
        elif self._firm:
            holding.firm += 1
            if holding.firm == 1:
                holding.take_over()
        if holding is not None:
            holding.depth += 1
            # perhaps in a finalizer, while signals are admitted
            self._admitted, holding.admitted = holding.admitted, 0
        self._holding = holding
        return self

    def settle(self) -> None:
        """Let those take effect that have come; what comes from now on does when the block has ended."""
        holding = self._holding
        if holding is not None and holding.depth == 1:
            holding.admit()
            holding.settled = True

    def __exit__(self, *exc: object) -> None:
        if self._holding is not None:
            self._holding.leave(self._firm, self._admitted)


class deferred_signals(held_signals):  # noqa: N801
    """Hold all of them back for an undo: none is admitted meanwhile, and what would end the process waits."""

    __slots__ = ()
    _firm = True


def _begin(firm: bool) -> _Holding | None:
    """Hold back what there is to hold back; None if nothing."""
    global _main
    if _main and _main != get_ident():
        return None
    if not firm and _idle is not None and _idle.begin_again():
        return _now
    holding = _Holding()
    try:
        holding.begin(firm)
    except ValueError:  # this is not the main thread
        return None
    except BaseException:  # one came before it was held back
        holding.give_back()
        raise
    if not holding.handlers:
        return None
    _main = holding.thread
    return holding


def admit_signals() -> None:
    """Let the signals take effect that have come: nothing is lost here."""
    holding = _now
    if holding is not None and holding.arrived and holding.thread == get_ident():
        holding.admit()


class admitted_signals:  # noqa: N801
    """Signals take effect in the block, which waits for something, and loses nothing by what they raise."""

    __slots__ = ("_holding",)

    def __enter__(self) -> None:
        holding = self._holding = _now if _now is not None and _now.thread == get_ident() else None
        if holding is not None:
            if holding.arrived:
                holding.admit()
            holding.admitted += 1

    def __exit__(self, *exc: object) -> None:
        if self._holding is not None:
            self._holding.admitted -= 1


class locked:  # noqa: N801
    """``with locked(lock):``, an RLock; signals are admitted while another thread has it."""

    __slots__ = ("_lock",)

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        acquire(self._lock)

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


def acquire(lock: Any) -> None:
    """Acquire an RLock; signals are admitted while another thread has it."""
    if lock.acquire(False):
        return
    try:
        with admitted_signals():
            lock.acquire()
    except BaseException:
        if lock._is_owned():
            lock.release()
        raise


def undisturbed(work: Callable[[], T], discard: Callable[[T], object]) -> T:
    """The result of a function that no signal interrupts; one that comes meanwhile discards the result.

    What comes at the last moment takes effect in the caller, when he has the result. So `__exit__` is called
    in so many words: after a `with` up to Python 3.11 looks for signals.
    """
    held = held_signals()
    held.__enter__()
    try:
        result = work()
        try:
            held.settle()
        except BaseException:
            discard(result)
            raise
    finally:
        held.__exit__()
    return result


class blocked_signals:  # noqa: N801
    """A thread that is started in the block takes no signals: it inherits the mask."""

    __slots__ = ("_before", "_held")

    def __enter__(self) -> None:
        self._held = held_signals()
        self._held.__enter__()  # else one could come when all are blocked and the block has not begun
        self._before: set[int] = _c_signal.pthread_sigmask(_c_signal.SIG_BLOCK, _ALL)

    def __exit__(self, *exc: object) -> None:
        _c_signal.pthread_sigmask(_c_signal.SIG_SETMASK, self._before)
        self._held.__exit__()


def restore_ignored() -> None:
    """What Python itself ignores has its default effect again, for the program that takes over."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        _set_handler(getattr(_c_signal, name), _c_signal.SIG_DFL)


def _after_fork() -> None:
    """In a child of another thread than the one that holds signals back, nobody would give them back."""
    global _idle, _main, _now
    _main = 0  # it is the thread that forked
    _idle = None
    holding, _now = _now, None
    if holding is not None:
        if holding.thread == get_ident():
            _now = holding
        else:
            holding.arrived.clear()
            holding.give_back()


os.register_at_fork(after_in_child=_after_fork)
