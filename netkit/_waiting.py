"""Waiting for what the kernel has no event for: a condition that is looked at again until a deadline."""

from __future__ import annotations

import time

from netkit._spec import numbers
from netkit._spec.value import shown
from netkit.errors import NetkitError, SpecError, WaitTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import Any, TypeVar

    T = TypeVar("T")

_SHORTEST, _LONGEST = 0.001, 0.05  # seconds between two looks
_NOT_YET = (OSError, NetkitError, AssertionError)


def wait_for(condition: Callable[[], T], *, timeout: float = 10.0, what: str = "") -> T:
    """Call a function until its result is true, and return that.

    OSError, netkit's own errors and AssertionError mean "not yet"; any other exception comes through.
    ``timeout`` in seconds; ``what`` says in the error what was waited for. Twin: ``until CONDITION; do
    sleep 0.1; done``, with a deadline.

    Raises WaitTimeout with the last result, or from the last exception; SpecError for what can't be called.

    Examples:
        >>> from netkit import Namespace, wait_for
        >>> with Namespace() as box:
        ...     wait_for(lambda: box.ping("127.0.0.1").received)
        1
    """
    _check(condition)
    last: Any = None
    problem: Exception | None = None
    for pause in _pauses(timeout):
        try:
            last, problem = condition(), None
        except _NOT_YET as error:
            problem = error
        if problem is None and last:
            result: T = last
            return result
        time.sleep(pause)
    raise _timeout(condition, timeout, what, last, problem) from problem


async def wait_for_async(
    condition: Callable[[], Awaitable[T] | T], *, timeout: float = 10.0, what: str = ""
) -> T:
    """`wait_for` in an event loop, which goes on meanwhile; ``condition`` may be a coroutine function.

    Twin: ``until COMMAND; do sleep 0.1; done``.

    Examples:
        >>> import asyncio
        >>> from netkit import wait_for_async
        >>> asyncio.run(wait_for_async(lambda: "ready"))
        'ready'
    """
    import asyncio

    _check(condition)
    last: Any = None
    problem: Exception | None = None
    for pause in _pauses(timeout):
        try:
            last, problem = condition(), None
            if hasattr(last, "__await__"):
                last = await last
        except _NOT_YET as error:
            problem = error
        if problem is None and last:
            result: T = last
            return result
        await asyncio.sleep(pause)
    raise _timeout(condition, timeout, what, last, problem) from problem


def _check(condition: object) -> None:
    if not callable(condition):
        raise SpecError(f"wait_for() takes a function, not {shown(condition)}: write lambda: ...")


def _pauses(timeout: float) -> Iterator[float]:
    """How long to wait after each look; the last look comes at the deadline."""
    deadline = time.monotonic() + numbers.seconds(timeout, "timeout", 0.0)
    pause = _SHORTEST
    while (left := deadline - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(2 * pause, _LONGEST)
    yield 0.0


def _timeout(
    condition: object, timeout: float, what: str, last: object, problem: Exception | None
) -> WaitTimeout:
    name = what or getattr(condition, "__qualname__", "the condition").rpartition("<locals>.")[2]
    seen = f"it raised {type(problem).__name__}: {problem}" if problem else f"it gave {last!r}"
    return WaitTimeout(f"{name} did not come true within {timeout:g} s; at last {seen}")
