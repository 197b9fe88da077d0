"""Waiting for a blocking call in an event loop. asyncio is there already where there is a loop."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


async def on_a_thread(work: Callable[[], T], give_up: Callable[[], object] | None = None) -> T:
    """The result of what waits. A default executor has a few threads only, who would wait for each other.

    A cancelled task calls ``give_up``, by which the work ends soon, and waits for that; without one it leaves
    the work alone.
    """
    import asyncio
    from contextvars import copy_context
    from threading import Thread

    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def settle(result: Callable[[], None]) -> None:
        if not future.done():
            result()

    def serve() -> None:
        try:
            done = context.run(work)
        except BaseException as problem:
            error = RuntimeError(repr(problem)) if isinstance(problem, StopIteration) else problem
            outcome = lambda: future.set_exception(error)  # noqa: E731
        else:
            outcome = lambda: future.set_result(done)  # noqa: E731
        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    Thread(target=serve, name="netkit-await", daemon=True).start()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if give_up is None:
            future.cancel()
        else:
            give_up()
            await asyncio.wait([future])
            future.exception()  # seen: it is of no interest any more
        raise
