"""The broker: a helper process that is root of a user namespace, for a caller who is root of nothing.

    caller --spawn--> supervisor --fork--> broker, process 1 of a pid namespace
                      (waits for the      (the namespaces' owner; serves one socket, and ends when the
                       broker's end)       caller's pidfd says that it ended, or the socket does)

Whatever it started is in its pid namespace and ends with it; its mounts and names are in its mount
namespace. Run by broker.py as ``python -I -S -c ...``; descriptors: 3 the socket, 4 the caller's pidfd.
"""

from __future__ import annotations

import os
import select
import sys
from _socket import AF_UNIX, SOCK_SEQPACKET, socket

from netkit._system import broker_frames as frames
from netkit._system.broker_service import Service
from netkit._system.interpreter import close_above
from netkit._system.private_run import make_run_private
from netkit._system.refusals import refused, suspects
from netkit._system.syscalls import CLONE_NEWNET, MS_PRIVATE, MS_REC, mount
from netkit._system.user_namespace import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    bring_loopback_up,
    enter_user_namespace,
    take_namespaces,
)
from netkit.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

SOCKET, CALLER = 3, 4
_PROC = "mount a /proc of its own (parts of the old one are hidden, as in containers?)"
_signal: Any = sys.modules["_signal"]
# What a terminal sends to all of its foreground group. Programs inside are to have it as any child has.
_FROM_TERMINAL = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGHUP, _signal.SIGTSTP)


def main() -> None:
    """The supervisor, and in its child the broker."""
    close_above(CALLER)
    os.set_inheritable(SOCKET, False)
    os.set_inheritable(CALLER, False)
    os.umask(0o022)
    os.chdir("/")
    control = socket(AF_UNIX, SOCK_SEQPACKET, 0, SOCKET)
    try:
        told = suspects()
        enter_user_namespace(told)
        take_namespaces(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID, told)
        make_run_private(told)
        bring_loopback_up()
    except OSError as problem:
        frames.send(control, frames.ERROR, 0, frames.error_value(problem))
        return
    child = os.fork()
    if child == 0:
        try:
            _serve(control, told)
        finally:
            os._exit(0)
    # It was started with all signals blocked and keeps them so: it ends when the broker does.
    frames.send(control, frames.REPLY, 0, {"pid": child})
    control.close()
    os.close(CALLER)
    os.waitpid(child, 0)


def _serve(control: socket, told: Sequence[str]) -> None:
    # Process 1 of a pid namespace gets no signal that it does not handle but its parent's SIGKILL.
    for number in _FROM_TERMINAL:
        _signal.signal(number, _signal.SIG_DFL)
    woken, wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    _signal.signal(_signal.SIGCHLD, _wake)
    _signal.siginterrupt(_signal.SIGCHLD, False)  # Python does not try a close(2) again after EINTR
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    try:
        mount("none", "/proc", MS_REC | MS_PRIVATE)
        mount("proc", "/proc", 0, "proc")
    except OSError as problem:
        frames.send(control, frames.ERROR, 0, frames.error_value(refused(_PROC, problem, told)))
        return
    service = Service()
    frames.send(control, frames.REPLY, 0, {"version": frames.VERSION})
    poll = select.poll()
    for fd in (SOCKET, CALLER, woken):
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if CALLER in ready:
            return
        if woken in ready:
            os.read(woken, 4096)
            service.reap()
        if SOCKET in ready and not answer(control, service):
            return


def _wake(number: int, frame: object) -> None:
    """A child has ended: the number is written to the pipe that is polled."""


def answer(control: socket, service: Service) -> bool:
    """Serve one request; False when the connection is at its end."""
    try:
        frame = frames.receive(control)
    except (ProtocolError, OSError) as problem:
        frames.send(control, frames.ERROR, 0, frames.error_value(problem))
        return True
    if frame is None:
        return False
    passed: list[int] = []
    kind, value = frames.REPLY, None
    try:
        value = service.perform(frame, passed)
    except Exception as problem:
        kind, value = frames.ERROR, frames.error_value(problem)
        frames.close_all(passed)
        passed.clear()
    finally:
        frames.close_all(frame.fds)
    try:
        frames.send(control, kind, frame.serial, value, passed)
    except BrokenPipeError:
        return False
    except OSError as problem:  # of the descriptors: too many of this user's are on their way
        frames.send(control, frames.ERROR, frame.serial, frames.error_value(problem))
    finally:
        frames.close_all(passed)
    return True
