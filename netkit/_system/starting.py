"""One start of a program: who is interrupted leaves none behind that nobody knows of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    class Fresh(Protocol):
        """Runs a function on a new thread inside the namespace; its result comes back."""

        def __call__(self, function: Callable[[], Any], /) -> Any: ...

    class Program(Protocol):
        """What was started: a Popen, or a `PipedHelper`."""

        def kill(self) -> None: ...
        def communicate(self) -> object: ...


def start_with(
    fresh: Fresh,
    launch: Callable[..., Program],
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    remember: Callable[[Any], object] | None = None,
) -> Any:
    """The program that ``launch(*arguments, **keywords)`` starts, on a thread inside.

    It is ended if the start is interrupted, whether that thread is there already or not yet.
    """
    claim: dict[str, Program | None] = {}

    def start() -> Program:  # on a thread that no KeyboardInterrupt reaches
        process = launch(*arguments, **keywords)
        if remember is not None:
            remember(process)
        # setdefault is atomic: whoever comes second sees what the first one put there.
        if claim.setdefault("process", process) is None:
            end(process)
        return process

    try:
        return fresh(start)
    except BaseException:  # the start failed, or a KeyboardInterrupt ended the wait for it
        started = claim.setdefault("process", None)
        if started is not None:
            end(started)
        raise


def end(process: Program) -> None:
    """Kill it, close its streams, and wait for its end."""
    process.kill()
    process.communicate()
