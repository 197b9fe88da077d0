"""The keeper: starts one program that reaches from a namespace to the outside, and ends it in time.

Run by keeper.py as ``python -I -S -c ...``; descriptors: 3 the control socket, 4 the caller's pidfd. It and
the program are in the network namespace that the caller's thread was in: that is the outside.
"""

from __future__ import annotations

import os
import select
from _socket import (
    AF_UNIX,
    SHUT_WR,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)
from struct import Struct

from netkit._system import broker_frames as frames
from netkit._system.interpreter import close_above
from netkit._system.outside_programs import API_DIRECTORY
from netkit._system.privilege import missing_capability
from netkit._system.syscalls import MS_PRIVATE, MS_REC, mount, setns
from netkit._system.user_namespace import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, take_namespaces
from netkit.errors import BackendError, ProtocolError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONTROL, CALLER = 3, 4
_SIGKILL, _SIGPIPE, _SIGXFSZ = 9, 13, 25
_KEPT = 4000  # bytes of what the program says
_API_SECONDS = 20  # seconds for what takes milliseconds: on a busy machine some pass
_VISIT_SECONDS = 20
_CREDENTIALS = Struct("iII")  # struct ucred
_FIELDS: dict[str, type] = {"argv": list, "ready": int, "api": str, "asks": list, "joins": bool}


def main() -> None:
    """The keepers above, and in the last one's child process 1 of the pid namespace, which does the work."""
    close_above(CALLER)
    os.set_inheritable(CONTROL, False)
    os.set_inheritable(CALLER, False)
    os.chdir("/")
    control = socket(AF_UNIX, SOCK_SEQPACKET, 0, CONTROL)
    try:
        frame = frames.receive(control)
        if frame is None:
            return
        order = checked(frame)
        if take_place(order, frame.fds):
            Watch(control, order, frame.fds[0]).run()
    except (OSError, ProtocolError) as problem:
        frames.send(control, frames.ERROR, 0, frames.error_value(problem))


def checked(frame: frames.Frame) -> dict[str, Any]:
    """The order; ProtocolError for anything else."""
    order: dict[str, Any] = dict(frame.fields())
    if order.keys() != _FIELDS.keys() or any(type(order[key]) is not kind for key, kind in _FIELDS.items()):
        raise ProtocolError(f"no order for a keeper: {sorted(order)}")
    if not all(type(each) is str for each in [*order["argv"], *order["asks"]]) or not order["argv"]:
        raise ProtocolError("no order for a keeper: its command is none")
    if order["ready"] not in (1, 3) or len(frame.fds) != 1 + order["joins"]:
        raise ProtocolError("no order for a keeper: its descriptors are not those")
    return order


def take_place(order: dict[str, Any], fds: list[int]) -> bool:
    """Be process 1 of a new pid namespace, within one that ends with the caller; False in who only waits.

    Whatever the program starts is in there, and gone before process 1 can be waited for.
    """
    if order["joins"]:
        # The broker's: root there, but still in the outside's network namespace, and in its files.
        try:
            setns(fds[1], CLONE_NEWUSER | CLONE_NEWPID)
        except OSError as problem:
            raise kernel_error("join the namespaces of the rootless helper", problem.errno or 0) from None
        os.close(fds.pop())
        if not _fork():  # only a member of a pid namespace can make one within it
            return False
    else:
        _check_privilege()
    take_namespaces(CLONE_NEWPID)
    if not _fork():
        return False
    if order["api"]:  # its socket has a path
        take_namespaces(CLONE_NEWNS)
        mount("none", "/", MS_REC | MS_PRIVATE)
        mount("tmpfs", API_DIRECTORY, 0, "tmpfs", "mode=700")
    return True


def _fork() -> bool:
    """True in the child; in this process False, when the child has ended."""
    child = os.fork()
    if child:
        close_above(CONTROL - 1)
        os.waitpid(child, 0)
    return not child


def _check_privilege() -> None:
    missing = missing_capability("CAP_SYS_ADMIN")
    if missing:
        raise kernel_error("keep a program in a pid namespace", 1, missing_capability=missing)


class Left:
    """What was detached: where it is asked for, and what is told to who adopts it."""

    def __init__(self, listener: int, told: dict[str, Any]) -> None:
        # Any: the accept() of the class below socket.socket has another name.
        self.listener: Any = socket(AF_UNIX, SOCK_SEQPACKET, 0, listener)
        self.told = {key: value for key, value in told.items() if key != "request"}

    def admit(self, visitor: socket) -> int:
        """The pidfd of who adopts it; OSError or ProtocolError for others."""
        user = _CREDENTIALS.unpack(visitor.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))[1]
        if user not in (0, os.geteuid()):
            raise PermissionError(1, "it is another user's")
        visitor.settimeout(_VISIT_SECONDS)
        frame = frames.receive(visitor)
        visitor.settimeout(None)
        if frame is None:
            raise ProtocolError("it says nothing")
        if frame.fields().get("request") != "adopt" or len(frame.fds) != 1:
            frames.close_all(frame.fds)
            raise ProtocolError("no request of who adopts")
        return frame.fds[0]


class Watch:
    """One program, from its start to its end."""

    def __init__(self, control: socket, order: dict[str, Any], namespace: int) -> None:
        self._control = control
        self._order = order
        self._namespace = namespace
        self._said = b""
        self._poll = select.poll()
        self._going = True
        self._detached = False
        self._left: Left | None = None

    def run(self) -> None:
        """Start it, and return when it has ended."""
        try:
            self._start()
        except OSError as problem:
            frames.send(self._control, frames.ERROR, 0, frames.error_value(problem))
            return
        for fd in (CONTROL, CALLER, self._words, self._ready, self._pidfd):
            self._poll.register(fd, select.POLLIN)
        try:
            while self._going:
                for fd, _ in self._poll.poll():
                    if self._going:
                        self._serve(fd)
        finally:
            self._end()

    def _start(self) -> None:
        self._words, words = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._words, False)
        self._ready, ready = os.pipe2(os.O_CLOEXEC)
        argv: list[str] = self._order["argv"]
        placed = {0: self._namespace, 1: words, 2: words, 3: -1, self._order["ready"]: ready}
        # Above the numbers they are to have, so that none is overwritten before it is placed.
        import fcntl

        high = {at: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for at, fd in placed.items() if fd >= 0}
        actions = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in high.items()]
        try:
            self._pid = os.posix_spawn(
                argv[0], argv, os.environ, file_actions=actions, setsigdef=(_SIGPIPE, _SIGXFSZ)
            )
        finally:
            frames.close_all([words, ready, self._namespace, *high.values()])
        self._pidfd = os.pidfd_open(self._pid)

    def _serve(self, fd: int) -> None:
        if fd == self._words:
            self._listen()
        elif fd == self._ready:
            self._announce()
        elif fd == CONTROL:
            self._obey()
        elif self._left is not None and fd == self._left.listener.fileno():
            self._change_hands(self._left)
        else:  # the caller has ended, or the program
            self._going = False
            if fd == self._pidfd and self._ready >= 0:
                self._tell_end()

    def _listen(self) -> None:
        """Keep the end of what it says: a full pipe would stop it."""
        if not self._hear():
            self._poll.unregister(self._words)

    def _hear(self) -> bool:
        """Read what is there; False at its end."""
        try:
            while piece := os.read(self._words, 65536):
                self._said = (self._said + piece)[-_KEPT:]
        except BlockingIOError:
            return True
        return False

    def _announce(self) -> None:
        if not os.read(self._ready, 64):
            self._poll.unregister(self._ready)  # it has closed it without a word, and is about to end
            return
        self._poll.unregister(self._ready)
        try:
            for ask in self._order["asks"]:
                self._ask(ask)
        except (OSError, BackendError) as problem:
            frames.send(self._control, frames.ERROR, 0, frames.error_value(problem))
            self._going = False
            return
        os.close(self._ready)
        self._ready = -1
        frames.send(self._control, frames.REPLY, 0, {"ready": True}, [self._pidfd])

    def _ask(self, request: str) -> None:
        """A request to slirp4netns, which takes one per connection: "API SOCKET" in slirp4netns(1)."""
        api = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            api.settimeout(_API_SECONDS)
            api.connect(self._order["api"])
            api.sendall(request.encode())
            api.shutdown(SHUT_WR)
            answer = b""
            while piece := api.recv(4096):
                answer += piece
        finally:
            api.close()
        if b'"error"' in answer:
            raise BackendError(f"slirp4netns refuses {request}: {answer.decode(errors='replace').strip()}")

    def _obey(self) -> None:
        try:
            frame = frames.receive(self._control)
        except ConnectionResetError:
            frame = None
        if frame is None:
            self._poll.unregister(CONTROL)
            self._going = self._detached
            return
        asked = frame.fields()
        if asked.get("request") == "adopt" and not frame.fds:
            self._belong()
        elif asked.get("request") == "detach" and len(frame.fds) == 1:
            self._stay(Left(frame.fds[0], asked))
        else:
            frames.close_all(frame.fds)
            problem = ProtocolError(f"a keeper knows no request {asked!r:.100}")
            frames.send(self._control, frames.ERROR, 0, frames.error_value(problem))
            return
        frames.send(self._control, frames.REPLY, 0, {"done": True})

    def _stay(self, left: Left) -> None:
        """Go on by itself, for whoever comes and adopts it."""
        if not self._detached:
            self._poll.unregister(CALLER)
        self._forget_address()
        self._left, self._detached = left, True
        self._poll.register(left.listener, select.POLLIN)

    def _belong(self) -> None:
        """End with the caller, again."""
        if self._detached:
            self._poll.register(CALLER, select.POLLIN)
        self._forget_address()
        self._detached = False

    def _forget_address(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            self._poll.unregister(left.listener)
            left.listener.close()

    def _change_hands(self, left: Left) -> None:
        """Somebody knocks: it is the caller from now on, if it may."""
        visitor = socket(AF_UNIX, SOCK_SEQPACKET, 0, left.listener._accept()[0])
        try:
            caller = left.admit(visitor)
            try:
                os.dup2(caller, CALLER, inheritable=False)
                os.dup2(visitor.fileno(), CONTROL, inheritable=False)
            finally:
                os.close(caller)
            self._poll.register(CONTROL, select.POLLIN)
            self._belong()
            keeper = os.pidfd_open(os.getpid())
            try:
                frames.send(self._control, frames.REPLY, 0, left.told, [self._pidfd, keeper])
            finally:
                os.close(keeper)
        except (OSError, ProtocolError):
            return  # to the visitor it is the end of the connection
        finally:
            visitor.close()

    def _tell_end(self) -> None:
        """It has ended before it was ready: why, in its own words."""
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        self._hear()
        frames.send(self._control, frames.REPLY, 0, {"status": status, "words": self._said})

    def _end(self) -> None:
        if self._pid:
            os.kill(self._pid, _SIGKILL)
            os.waitpid(self._pid, 0)
