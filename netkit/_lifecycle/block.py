"""Block: what can be used in a ``with``, or owned by a Scope, and undoes what was done through it."""

from __future__ import annotations

from netkit._forks import process
from netkit._lifecycle.owned import ROOT, ROUTES, Owned
from netkit._lifecycle.teardown import leave_block, undo
from netkit._runtime import Runtime
from netkit._system.signals import held_signals, undisturbed
from netkit.errors import TeardownError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, Self


class Block(Owned):
    """Has no create() and delete(): `with` or `Scope.own` begin it, `close` ends it."""

    _stage = ROUTES
    _state: Literal["new", "open", "closed"] = "new"
    _pid = 0
    _needed: Runtime | None = None

    def _open(self) -> Runtime:
        """Get ready, or raise StateError; the namespace."""
        raise NotImplementedError

    def close(self) -> None:
        """End the scope: undo what was added through it. A second call does nothing.

        Twin: ``ip ... del`` for each. Raises TeardownError, or the one error, with what could not be undone.
        """
        with held_signals():
            if self._state == "closed" or self._pid != process():
                return
            errors = undo([self])
            if len(errors) == 1:
                raise errors[0]
            if errors:
                raise TeardownError(f"{self!r} could not be undone whole", errors)

    def __enter__(self) -> Self:
        if self._state != "open":
            undisturbed(self._enter, Block.close)
        return self

    def _enter(self) -> Self:
        runtime = self._open()
        self._pid, self._state = process(), "open"
        if not runtime.ours:  # what is added outlives a borrowed handle: else it could not be undone
            runtime.users += 1
            self._needed = runtime
        if self._holder is None:
            ROOT._hold(self)
        return self

    def _leave(self, problem: BaseException | None) -> None:
        if self._state == "open" and self._pid == process():
            leave_block(repr(self), undo([self]), problem)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    def _is_alive(self) -> bool:
        return self._state == "open"

    def _begin(self, group: int) -> None:
        self.__enter__()

    def _removed(self) -> None:
        self._state = "closed"
        needed, self._needed = self._needed, None
        if needed is not None:
            needed.release()
        self._let_go()
