"""What tests leave behind in netkit's keeping, and which test it was."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from netkit._lifecycle import ROOT, Owned, Scope


class Leaks:
    """Which test was the first after whose end something was owned."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[Owned, str] = WeakKeyDictionary()

    def look(self, test: str) -> None:
        """A test has ended: what is new was made by it, or by fixtures of a wider scope."""
        for owned in _held():
            self._found.setdefault(owned, test)

    def left(self) -> list[str]:
        """At the end: what nobody took down, a line each."""
        self.look("(after the last test)")
        return [f"{self._found[owned]} left {owned!r}" for owned in _held()]


def _held() -> list[Owned]:
    """What only the end of the process would take down."""
    alive = [each for each in ROOT._held if each._is_alive()]
    return [each for each in alive if not isinstance(each, Scope) or each._held]
