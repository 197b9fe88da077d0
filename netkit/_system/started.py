"""A program that was started in a namespace: a Popen that knows when it can be talked to."""

from __future__ import annotations

import os
import subprocess
import time

from netkit._command_error import CommandError
from netkit._shown import Shown
from netkit._spec import addresses, numbers
from netkit._spec.value import shown
from netkit._system import members as members  # now: ending a program must not need a free descriptor
from netkit.errors import SpecError, WaitTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from netkit._spec.addresses import AddressLike

    # Of a protocol: the addresses and ports that are listened at in the program's namespace.
    Listened = Callable[[str], set[tuple[bytes, int]]]
    _Popen = subprocess.Popen[Any]
else:
    _Popen = subprocess.Popen

_SHORTEST, _LONGEST = 0.001, 0.02  # seconds between two looks


class Process(_Popen, Shown):
    """A program started by ``Namespace.popen``: a ``subprocess.Popen`` with one method more.

    Examples:
        >>> from netkit import Namespace
        >>> with Namespace() as box:
        ...     server = box.popen(["python3", "-m", "http.server", "80"], stdout=-3, stderr=-3)
        ...     server.wait_listening(80) is server
        True
    """

    _listened: Listened | None = None  # told by who started it

    def wait_listening(
        self, port: int, *, proto: str = "tcp", address: AddressLike | None = None, timeout: float = 10.0
    ) -> Self:
        """Return when somebody in the program's namespace listens at a port; then it can be connected to.

        Twin: ``until ss -Hltn sport = :PORT | grep -q .; do sleep 0.1; done``. UDP has no listening: there
        it is a bound socket. ``proto`` is ``"tcp"`` or ``"udp"``; with an ``address`` only a socket bound
        to it, or to all addresses, will do; ``timeout`` in seconds.

        Raises CommandError when the program ends before, with what it said on a stderr that is a pipe;
        WaitTimeout after ``timeout`` seconds, naming the ports that are listened at.
        Source: sock_diag(7). The kernel has no event for a socket that begins to listen, so this looks again
        and again, and at once when the program ends.
        """
        port = numbers.port(port)
        wanted = None if address is None else addresses.ip_address(address).packed
        deadline = time.monotonic() + numbers.seconds(timeout, "timeout", 0.0)
        if proto not in ("tcp", "udp"):
            raise SpecError(f"proto {shown(proto)} is not waited for: give 'tcp' or 'udp'")
        pause = _SHORTEST
        while True:
            ended = self.poll() is not None  # asked first: what listens after that is somebody else
            found = self._listening(proto)
            if any(number == port and _serves(bound, wanted) for bound, number in found):
                return self
            if ended:
                raise self._ended_early(f"{proto} port {port}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(self._still_deaf(f"{proto} port {port}", timeout, found))
            self._pause(min(pause, left))
            pause = min(2 * pause, _LONGEST)

    @property
    def command(self) -> str:
        """What was started, on one line and not longer than a few words."""
        return _command(self.args)

    def _listening(self, proto: str) -> set[tuple[bytes, int]]:
        return self._listened(proto) if self._listened is not None else set()

    def _pause(self, seconds: float) -> None:
        """Until it ends, or so long."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def _ended_early(self, what: str) -> CommandError:
        problem = CommandError(self.returncode, self.args, *self._last_words())
        problem.add_note(f"It ended before it listened at {what}.")
        return problem

    def _last_words(self) -> tuple[str | bytes | None, str | bytes | None]:
        """What it has said, as far as it has come: a child of its own may hold the pipe."""
        try:
            for last in (False, True):  # on a busy machine the second passes before anything is read
                try:
                    return self.communicate(timeout=1.0)
                except subprocess.TimeoutExpired as late:
                    if last or late.stdout or late.stderr:
                        return self._text(late.stdout), self._text(late.stderr)
        except ValueError:
            pass  # closed by the caller
        return None, None

    def _text(self, said: bytes | None) -> str | bytes | None:
        return said.decode(errors="replace") if said is not None and self.universal_newlines else said

    def _still_deaf(self, what: str, timeout: float, found: set[tuple[bytes, int]]) -> str:
        others = ", ".join(sorted({_text(*each) for each in found}))
        return f"process {self.pid} ({self.command}) does not listen at {what} after {timeout:g} s; " + (
            f"listened at in its namespace: {others}" if others else "nobody listens in its namespace"
        )


def _serves(bound: bytes, wanted: bytes | None) -> bool:
    return wanted is None or bound == wanted or not any(bound)


def _text(address: bytes, port: int) -> str:
    ip = addresses.address_of(address)
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def _command(args: Any) -> str:
    words = [args] if isinstance(args, str | bytes) or not hasattr(args, "__iter__") else [*args]
    words[0] = os.path.basename(os.fsdecode(words[0])) if len(words) > 1 else words[0]
    text = " ".join([os.fsdecode(each) for each in words])
    return text if len(text) <= 60 else text[:57] + "..."
