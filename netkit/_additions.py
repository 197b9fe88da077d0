"""Lists of the kernel (rules, neighbours, addresses) that can be scopes: what was added there is deleted."""

from __future__ import annotations

from netkit._leftovers import past_leftovers
from netkit._lifecycle import Block, Teardown
from netkit._runtime import Runtime
from netkit._system.signals import held_signals
from netkit.errors import KernelError, NotFoundError, StateError, TeardownError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TypeVar

    from netkit._netlink.wire import Request

    T = TypeVar("T")


class Addition:
    """One thing that was added: what it is, the message that deletes it, its number in the journal."""

    __slots__ = ("deletion", "key", "noted")

    def __init__(self, key: object, deletion: Request, noted: int) -> None:
        self.key = key
        self.deletion = deletion
        self.noted = noted

    def strike(self) -> None:
        """It needs no deleting any more."""
        noted, self.noted = self.noted, 0
        if noted:
            from netkit._system.journal import strike

            strike(noted)


class Additions(Block):
    """Used in a ``with``, or owned by a Scope, it deletes at the end what was added through it.

    Otherwise what is added stays.
    """

    # What a subclass fills in.

    def _place(self) -> Runtime:
        """The namespace."""
        raise NotImplementedError

    def _add(self, key: object, request: Request, deletion: Request) -> None:
        """Send an addition, and keep its deletion if this is a scope."""
        self._adding(key, lambda: deletion, lambda: self._place().route.request(request))

    def _adding(self, key: object, deletion: Callable[[], Request], send: Callable[[], T]) -> T:
        """The same, by whatever sends it."""
        if self._state == "new":
            return past_leftovers(self._place(), deletion, send)
        with held_signals():
            return past_leftovers(self._place(), deletion, lambda: self._noted(key, deletion(), send))

    def _noted(self, key: object, deletion: Request, send: Callable[[], T]) -> T:
        addition = self._expect(key, deletion)
        try:
            return send()
        except KernelError:
            self._drop(addition)
            raise

    def _expect(self, key: object, deletion: Request) -> Addition | None:
        """Before an addition is sent: note how it is taken back, if this is a scope."""
        if self._state == "closed":
            raise StateError(f"{self!r} is closed: ask for it again")
        if self._state == "new":
            return None
        runtime = self._place()
        addition = Addition(key, deletion, _note(runtime, deletion) if runtime.survives else 0)
        self._made.append(addition)
        return addition

    def _drop(self, addition: Addition | None) -> None:
        if addition is not None:
            self._made.remove(addition)
            addition.strike()

    def _forget(self, key: object) -> None:
        """It was deleted: nobody has to undo it."""
        if self._state == "open":
            for addition in [each for each in self._made if each.key == key]:
                self._drop(addition)

    def detach(self) -> Self:
        """Leave what was added through it so far: it outlives the block and the process.

        Returns itself. Twin: none. Raises StateError outside a block: there nothing is owned, and what is
        added stays anyway.
        """
        if self._state != "open":
            raise StateError(f"cannot detach {self!r}: it owns nothing outside a `with` or a Scope")
        with held_signals():
            self._leave_in_place()
        return self

    # -- a scope ------------------------------------------------------------------------

    def _open(self) -> Runtime:
        if self._state == "closed":
            raise StateError(f"{self!r} is closed: ask for it again")
        self._made: list[Addition] = []
        return self._place()

    def _leave_in_place(self) -> None:
        while self._made:
            self._made.pop().strike()

    def _runtimes(self) -> tuple[Runtime | None, ...]:
        return (self._needed,)

    def _remove(self, teardown: Teardown) -> None:
        runtime = self._needed or self._place()
        if runtime.fd < 0 or runtime in teardown.doomed:
            self._leave_in_place()
            return
        from netkit._lifecycle.protocol_mark import Look

        errors: list[Exception] = []
        look = Look.at(runtime)
        for addition in self._made[::-1]:
            try:
                deletion = addition.deletion
                if look is None or look.has(deletion.kind, deletion.body):
                    runtime.route.request(deletion)
            except NotFoundError:
                pass  # gone already
            except Exception as problem:
                problem.add_note(f"{addition.key} may still be in {runtime.label}")
                errors.append(problem)
                continue
            self._drop(addition)
        if errors:
            raise errors[0] if len(errors) == 1 else TeardownError(f"{self!r}", errors)


def _note(runtime: Runtime, deletion: Request) -> int:
    from netkit._system.entries import MESSAGES, message_word
    from netkit._system.journal import note

    word = message_word(deletion.kind, deletion.flags, deletion.body)
    return note(MESSAGES, runtime.place, deletion.operation.removeprefix("delete "), word)
