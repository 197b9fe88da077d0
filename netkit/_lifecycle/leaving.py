"""The end of a `with`, which no signal keeps from beginning."""

from __future__ import annotations

from netkit._system.signals import held_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from functools import partial
    from types import TracebackType
    from typing import Any
else:
    from _functools import partial  # all that functools adds to it is in Python


class _Exit:
    """`__exit__` of a class with `_leave`.

    Python runs signal handlers between the call of a function and its first line, too. What one raises there
    would end the `with` before `__exit__` has reached a `try`, and what the block made would stay. So what a
    `with` gets is a function of C: `max`, which calls another one with each of its arguments. That one goes
    on with a generator, which has waited in a `try` since before the block began, and catches it.
    """

    def __get__(self, block: Leaves | None, owner: type[Leaves]) -> Callable[..., object]:
        if block is None:  # contextlib.ExitStack asks the class
            return _leave
        waiting = _waiting(block)
        next(waiting)
        leave: Callable[..., object] = partial(max, False, key=waiting.send)
        return leave


def _leave(block: Leaves, kind: object, problem: BaseException | None, traceback: object) -> None:
    with held_signals():
        block._leave(problem)


def _waiting(block: Leaves) -> Generator[bool, Any, None]:
    """Answers True to False, and False to the three arguments of `__exit__`: so `max` returns False."""
    came: BaseException | None = None
    held = held_signals()
    try:
        yield False  # here it waits for the end of the block
    except GeneratorExit:
        return  # the block has not begun
    except BaseException as interrupt:
        came = interrupt
    try:
        while True:
            try:
                held.__enter__()
                break
            except BaseException as interrupt:  # and another one
                came = interrupt
    except BaseException as interrupt:  # just between two tries
        came = interrupt
        held.__enter__()
    try:
        _, problem, _ = (yield True), (yield False), (yield False)
        block._leave(problem)
    finally:
        held.__exit__()
        if came is not None:
            raise came
    yield False


class Leaves:
    """What stands in a `with`: its `__enter__` begins it, and `_leave` ends it."""

    if TYPE_CHECKING:

        def __exit__(
            self,
            kind: type[BaseException] | None,
            problem: BaseException | None,
            traceback: TracebackType | None,
        ) -> None: ...

    else:
        __exit__ = _Exit()

    def _leave(self, problem: BaseException | None) -> None:
        """Undo what is to be undone; ``problem`` is what ends the block, if anything does."""
        raise NotImplementedError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, problem, traceback)
