"""A helper program that reaches from a namespace to the outside, and the process that keeps it.

    caller --spawn--> keeper --fork--> keeper, process 1 of a pid namespace --spawn--> program
                      (waits)          (ends when the caller does, or hangs up)

With process 1 the kernel ends the program and all that it started, so nothing can outlive the caller. For a
namespace of the broker's there is one more keeper: that pid namespace is made within the broker's.
"""

from __future__ import annotations

import os
import select
from _socket import SHUT_RDWR, socket
from signal import SIGKILL, pidfd_send_signal
from weakref import WeakSet

from netkit._system import broker_frames as frames
from netkit._system.interpreter import spawn_server
from netkit._system.orphan import Orphan
from netkit._system.outside_programs import plain_words
from netkit._system.signals import admitted_signals
from netkit.errors import CommandError, KernelError, StateError, WaitTimeout, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from netkit._system.broker_values import Value

_CLOSE_SECONDS = 30.0
_TWO = 2  # descriptors of who is adopted: the program's, and its keeper's


class Keeper:
    """A keeper and its program, as the process sees them that started it."""

    def __init__(self, namespace: int, home: int, order: Mapping[str, Any]) -> None:
        """``home`` is the pid of process 1 of the pid namespace to be in; 0 for one of its own."""
        self._argv: list[str] = list(order["argv"])
        self._program = -1
        self._sock: socket | None = None
        # A session of its own: what a terminal or a shell sends to the group is not for it.
        self._sock, self._process = spawn_server("_system.keeper_server", "a way outside", new_session=True)
        _keepers.add(self)
        try:
            self._send_order(namespace, home, order)
        except BaseException:
            self.close()
            raise

    @classmethod
    def adopt(cls, control: socket) -> tuple[Keeper, dict[str, Any]] | None:
        """Take over one that was told to `stay`, by a connection to where it listens, and what it was told.

        It ends with this process from now on. None: it wants nothing of this user, or has just ended.
        """
        ourselves = os.pidfd_open(os.getpid())
        try:
            frames.send(control, frames.REQUEST, 0, {"request": "adopt"}, [ourselves])
            answer = frames.receive(control) if _readable(control.fileno(), _CLOSE_SECONDS) else None
        except (BrokenPipeError, ConnectionResetError):
            answer = None
        finally:
            os.close(ourselves)
        if answer is None or len(answer.fds) != _TWO:
            return None
        told: dict[str, Any] = answer.fields()
        self = cls.__new__(cls)
        self._argv = [str(told.get("backend"))]
        self._program = answer.fds[0]
        self._process = Orphan.held_by(answer.fds[1])
        self._sock = control
        _keepers.add(self)
        return self, told

    def _send_order(self, namespace: int, home: int, order: Mapping[str, Any]) -> None:
        assert self._sock is not None
        joined = [os.pidfd_open(home)] if home else []
        try:
            fields = {**order, "joins": bool(home)}
            frames.send(self._sock, frames.REQUEST, 0, fields, [namespace, *joined])
        finally:
            frames.close_all(joined)

    def wait_ready(self, seconds: float) -> None:
        """Return when the program does its work; CommandError with its own words if it has ended instead."""
        answer = self._answer(seconds, f"`{self._argv[0]}` was not ready")
        fields = answer.fields()
        if "status" in fields:
            frames.close_all(answer.fds)
            self._raise_ended(fields["status"], fields["words"])
        (self._program,) = answer.fds

    def _raise_ended(self, status: Any, words: Any) -> None:
        raise CommandError(os.waitstatus_to_exitcode(status), self._argv, None, plain_words(words))

    def stay(self, listener: int, told: Mapping[str, Value]) -> None:
        """The program goes on when this process ends; who connects to the listener adopts it, and is told."""
        self._request("detach", told, [listener])

    def belong(self) -> None:
        """The program ends with this process, again."""
        self._request("adopt", {}, ())

    def _request(self, what: str, fields: Mapping[str, Value], fds: Sequence[int]) -> None:
        if self._sock is None or not self.running:
            raise StateError(f"cannot {what} `{self._argv[0]}`: it has ended")
        try:
            frames.send(self._sock, frames.REQUEST, 0, {"request": what, **fields}, fds)
        except (BrokenPipeError, ConnectionResetError):
            raise self._gone() from None
        self._answer(_CLOSE_SECONDS, f"`{self._argv[0]}` could not be told to {what}")

    def _gone(self) -> StateError:
        return StateError(
            f"the helper process that keeps `{self._argv[0]}` was killed, or another process has adopted it"
        )

    def _answer(self, seconds: float, late: str) -> frames.Frame:
        assert self._sock is not None
        if not _readable(self._sock.fileno(), seconds):
            raise WaitTimeout(f"{late} within {seconds:g} s")
        try:
            frame = frames.receive(self._sock)
        except ConnectionResetError:
            frame = None
        if frame is None:
            raise self._gone()
        if frame.kind == frames.ERROR:
            raise self._failure(frames.error_of(frame.fields()))
        return frame

    def _failure(self, problem: Exception) -> Exception:
        if isinstance(problem, OSError) and not isinstance(problem, KernelError):
            return kernel_error(f"start `{self._argv[0]}`", problem.errno or 0)
        return problem

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._program >= 0 and not _readable(self._program, 0)

    def close(self) -> None:
        """End the program; when it returns, the device and the ports are free."""
        self._hang_up()  # also in children made by fork, which have the socket, too
        try:
            self._process.wait(_CLOSE_SECONDS)
            self._process.end()
        finally:
            self._end_program()
            self._close_descriptors()

    def _hang_up(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            try:
                sock.shutdown(SHUT_RDWR)
            except OSError:
                pass  # the other end is closed
            finally:
                sock.close()

    def _end_program(self) -> None:
        """It is there no more, unless its keeper was killed."""
        if not self.running:
            return
        try:
            pidfd_send_signal(self._program, SIGKILL)
        except ProcessLookupError:
            return
        if not _readable(self._program, _CLOSE_SECONDS):
            raise WaitTimeout(f"`{self._argv[0]}` did not end within {_CLOSE_SECONDS:g} s of SIGKILL")

    def _close_descriptors(self) -> None:
        program, self._program = self._program, -1
        if program >= 0:
            os.close(program)
        self._process.forget()

    def forget(self) -> None:
        """Let go of it: in a child after fork, or when it was left to itself."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        self._close_descriptors()

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self.forget()


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    with admitted_signals():
        return bool(poll.poll(seconds * 1000))


_keepers: WeakSet[Keeper] = WeakSet()


def _after_fork() -> None:
    for keeper in list(_keepers):
        keeper.forget()


os.register_at_fork(after_in_child=_after_fork)
