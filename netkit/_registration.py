"""By which name and path others find a namespace, and what is done for that in /run/netns."""

from __future__ import annotations

import os

from netkit._spec import names, numbers
from netkit._system.namespace_files import path_identity
from netkit.errors import ExistsError, SpecError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._opener import Registered
    from netkit._runtime import Runtime


_OF_THIS_PROGRAM = ("/proc/self/", "/proc/thread-self/")  # other programs find their own there


class Registration:
    """The name of one namespace: None for an anonymous one, until it is registered only a wish."""

    __slots__ = ("_origin", "_registered", "name", "persistent")

    def __init__(self, name: str | None, persistent: bool, origin: str | None = None) -> None:
        self.name = None if name is None else names.namespace_name(name)
        self.persistent = numbers.boolean(persistent, "persistent")
        if persistent and name is None:
            raise SpecError("persistent=True needs a name: Namespace('red', persistent=True)")
        self._origin = origin
        self._registered: Registered | None = None

    def path(self, runtime: Runtime) -> str:
        """A path by which other programs of this user find it: the name, while that stands for it."""
        named = self._named(runtime)
        if named and (not runtime.opener.journals or path_identity(named) == runtime.identity):
            return named
        return f"/proc/{os.getpid()}/fd/{runtime.fd}"

    def holds(self, path: str) -> bool:
        """Whether this is the path of the name, and made here."""
        return self._registered is not None and self._registered.path == path

    def _named(self, runtime: Runtime) -> str:
        if self._registered is not None:
            return self._registered.path
        if self._origin is not None:
            return "" if self._origin.startswith(_OF_THIS_PROGRAM) else os.path.abspath(self._origin)
        return "" if self.name is None else runtime.opener.path_of(self.name)

    def register(self, runtime: Runtime) -> None:
        """Make the name; a symlink and the runtime share one descriptor from then on."""
        if self.name is None:
            return
        self._registered = self._made(runtime, self.name)
        runtime.named = True
        held = self._registered.give_descriptor()
        if held >= 0:  # one for both: the name goes before it is closed
            runtime.move_to(held)

    def _made(self, runtime: Runtime, name: str) -> Registered:
        """Register; a name that a dead process has left is collected, and tried once more."""
        try:
            return runtime.opener.register(name, runtime.fd, self.persistent)
        except ExistsError as taken:
            _refuse_own(name, taken)
            if not runtime.opener.guarded:
                raise
        from netkit._lifecycle.collect import collect_name

        collect_name(name)  # in any case once more: its guard may have been quicker, and left no journal
        return runtime.opener.register(name, runtime.fd, self.persistent)

    def remove(self) -> None:
        """Remove the name, if it is there."""
        registered, self._registered = self._registered, None
        if registered is not None:
            registered.remove()

    def forget(self) -> None:
        """Leave the name where it is."""
        self._registered = None

    def check_persistent(self, runtime: Runtime) -> None:
        """Raises StateError without a name, UnsupportedError where nothing can outlive this process."""
        if self.name is None:
            raise StateError(
                "an anonymous namespace lives only while somebody holds it: it can't outlive the process. "
                "Give it a name to detach it"
            )
        if not self.persistent:
            runtime.opener.check_persistent(self.name)

    def persist(self, runtime: Runtime) -> None:
        """Let it outlive this process, which it does only by a mount: a named one gets it now."""
        self.check_persistent(runtime)  # before the name is given up
        if not self.persistent and self.name is not None:
            self.remove()
            self._registered = runtime.opener.register(self.name, runtime.check(), True)
            self.persistent = True
        if self._registered is not None:
            self._registered.disown()
        runtime.disown()

    def take_over(self, runtime: Runtime, called: str) -> None:
        """Own a name that is there already."""
        if self.name is None:
            raise StateError(
                f"{called} has no name by which it could be deleted: only a named one can be adopted"
            )
        self._registered = runtime.opener.registered(self.name, runtime.check())
        self.persistent = True

    def give_back(self, persistent: bool) -> None:
        """Undo `take_over`: it stays whose it was."""
        registered, self._registered = self._registered, None
        self.persistent = persistent
        if registered is not None:
            registered.disown()


def _refuse_own(name: str, taken: ExistsError) -> None:
    """Say so if another object of this program has the name: a notebook's cell is run once more, say."""
    from netkit._lifecycle.owned import ROOT
    from netkit._namespace import Namespace

    for member in ROOT._held_members():
        if isinstance(member, Namespace) and member.name == name and member._registration.holds(member.path):
            own = f"It is this program's own, {member!r}: delete() that one to make it anew"
            raise taken._hinted(f"{taken.hint}. {own}" if taken.hint else own) from None


ANONYMOUS = Registration(None, False)  # one for all: without a name, nothing of it ever changes
