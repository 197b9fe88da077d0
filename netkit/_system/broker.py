"""The caller's end of the broker: started on first use, one per process, asked under one lock.

A request never blocks for long: what waits (a program's end, a function's result) has a descriptor
of its own, which the reply brings.
"""

from __future__ import annotations

import os
from _socket import socket
from _thread import RLock

from netkit._system import broker_frames as frames
from netkit._system import sysctl_lock
from netkit._system.interpreter import spawn_server
from netkit._system.namespace_files import path_identity
from netkit._system.signals import deferred_signals, undisturbed
from netkit.errors import KernelError, StateError, naming_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from netkit._system.broker_values import Value
    from netkit._system.sysctl_change import Outcome, Wanted

_OF_A_PROGRAM = 3  # its pidfd, the pipe that tells how it ended, and the file that tells its number here


class Broker:
    """A running broker."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._serial = 0
        self._pending: list[int] = []
        self._early: dict[int, frames.Frame] = {}
        self._unwanted: set[int] = set()
        self.pid = 0
        # A Ctrl-C is for the program and what it runs, also while its broker begins.
        self._sock: socket | None
        self._sock, self._supervisor = spawn_server(
            "_system.broker_server", "rootless namespaces", blocked=range(1, 32)
        )
        try:
            self._meet()
        except BaseException:
            self.close()
            raise
        self.user_namespace = path_identity(f"/proc/{self.pid}/ns/user")

    def _meet(self) -> None:
        """Two messages in any order: the broker's pid from its supervisor, and its own that it is ready."""
        missing = {"pid", "version"}
        while missing:
            fields = _checked(self._receive()).fields()
            missing -= fields.keys()
            if isinstance(pid := fields.get("pid"), int):
                self.pid = pid

    def request(self, what: str, fds: Sequence[int] = (), /, **fields: Value) -> tuple[Any, list[int]]:
        """Ask for something: its value, and the descriptors that came, which are the caller's from now on."""
        frame: frames.Frame | None = None
        try:
            with deferred_signals(), self._lock:
                frame = self._answer(self._ask(what, fds, fields))
        except BaseException:
            if frame is not None:  # interrupted: nobody gets to know of them
                frames.close_all(frame.fds)
            raise
        return frame.value, frame.fds

    def begin(self, what: str, fds: Sequence[int], /, **fields: Value) -> tuple[Any, list[int]]:
        """`request` for what goes on by itself: not without room for the descriptors by which it is known."""
        with deferred_signals(), self._lock:
            room: list[int] = []
            try:
                with naming_limits("receive descriptors"):
                    while len(room) < _OF_A_PROGRAM and fds:
                        room.append(os.dup(fds[0]))
            finally:
                frames.close_all(room)
            return self.request(what, fds, **fields)

    def ask(self, what: str, fds: Sequence[int] = (), /, **fields: Value) -> Asked:
        """`request` whose answer is fetched later; the broker works meanwhile.

        A few at a time: both ends would wait for ever if neither's answers fitted into the socket.
        """
        return undisturbed(lambda: Asked(self, self._ask(what, fds, fields)), Asked.drop)

    def _ask(self, what: str, fds: Sequence[int], fields: dict[str, Value]) -> int:
        with self._lock:
            if self._sock is None:
                raise _ended()
            serial = self._serial = (self._serial + 1) & 0x7FFFFFFF or 1
            try:
                with naming_limits("ask the helper process of rootless namespaces"):
                    frames.send(self._sock, frames.REQUEST, serial, {"request": what, **fields}, fds)
            except (BrokenPipeError, ConnectionResetError):
                raise self._lost() from None
            self._pending.append(serial)
            return serial

    def _answer(self, serial: int) -> frames.Frame:
        """The answer to a request; one that was asked for earlier, or by a finalizer, may come first."""
        while serial not in self._early:
            frame = self._received()
            due = self._pending.pop(0)  # they are answered in order
            if due in self._unwanted:
                self._unwanted.discard(due)
                frames.close_all(frame.fds)
            else:
                self._early[due] = frame
        return _checked(self._early.pop(serial))

    def _drop(self, serial: int) -> None:
        with self._lock:
            frame = self._early.pop(serial, None)
            if frame is not None:
                frames.close_all(frame.fds)
            elif self._sock is not None:
                self._unwanted.add(serial)

    def _received(self) -> frames.Frame:
        """The next answer, which may be that there is no room for its descriptors here."""
        try:
            return self._receive()
        except KernelError as problem:
            return frames.Frame(frames.ERROR, 0, frames.error_value(problem), [])

    def _receive(self) -> frames.Frame:
        if self._sock is None:
            raise _ended()
        try:
            frame = frames.receive(self._sock)
        except ConnectionResetError:
            frame = None
        if frame is None:
            raise self._lost()
        return frame

    def _lost(self) -> StateError:
        """It was killed, and so all that it started."""
        self.close()
        return _ended()

    @property
    def closed(self) -> bool:
        """Whether there is nobody to ask any more."""
        return self._sock is None

    def close(self) -> None:
        """End it and all that it started; returns when they are gone."""
        with self._lock:
            if self._sock is None:
                return
            self._hang_up()
            sysctl_lock.close_directory()
            self._supervisor.wait()
            self._supervisor.end()

    def forget(self) -> None:
        """In a child after fork: the parent's broker goes on."""
        self._hang_up()
        self._supervisor.forget()

    def _hang_up(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        while self._early:
            frames.close_all(self._early.popitem()[1].fds)


class Asked:
    """A request that the broker has, and whose answer nobody has fetched."""

    __slots__ = ("_broker", "_serial")

    def __init__(self, broker: Broker, serial: int) -> None:
        self._broker = broker
        self._serial = serial

    def answer(self) -> list[int]:
        """The descriptors that came, which are the caller's from now on."""
        with self._broker._lock:
            return self._broker._answer(self._serial).fds

    def drop(self) -> None:
        """Nobody is going to fetch it."""
        self._broker._drop(self._serial)


def _checked(frame: frames.Frame) -> frames.Frame:
    if frame.kind != frames.ERROR:
        return frame
    frames.close_all(frame.fds)
    raise frames.error_of(frame.fields())


def _ended() -> StateError:
    return StateError(
        "the helper process that holds the rootless namespaces has ended (it was killed, or shutdown() was "
        "called), and they with it: make them again"
    )


class RemoteSysctls:
    """The sysctls of a namespace, read and written by the broker: `sysctl_files.Elsewhere`."""

    __slots__ = ("_broker", "_fd")

    def __init__(self, broker: Broker, fd: int) -> None:
        self._broker = broker
        self._fd = fd

    def read(self, path: str) -> str:
        """The value."""
        return str(self._broker.request("read", [self._fd], path=path)[0])

    def read_each(self, paths: list[str]) -> dict[str, str]:
        """The values of those that are there."""
        return dict(self._broker.request("read_each", [self._fd], paths=[*paths])[0])

    def present(self, path: str) -> bool:
        """Whether there is such a key."""
        return bool(self._broker.request("present", [self._fd], path=path)[0])

    def names_in(self, path: str) -> list[str]:
        """The names in a directory."""
        return list(self._broker.request("list", [self._fd], path=path)[0])

    def write(self, path: str, text: str, key: str | None) -> bool:
        """Set it; whether it differed."""
        return bool(self._broker.request("write", [self._fd], path=path, text=text, key=key)[0])

    def set_values(self, wanted: Sequence[Wanted]) -> Outcome:
        """Set each if it differs, until one is refused, with what it was and what came of it."""
        paths, texts, keys = ([*each] for each in zip(*wanted, strict=True))
        answer, _ = self._broker.request("set_values", [self._fd], paths=paths, texts=texts, keys=keys)
        done, problem = answer
        return [(before, after) for before, after in done], problem and frames.error_of(problem)


class RemoteRegistration:
    """A name in the broker's /run/netns."""

    __slots__ = ("_broker", "name", "path")

    def __init__(self, broker: Broker, name: str, fd: int) -> None:
        path = broker.request("register", [fd], name=name)[0]
        self._broker = broker
        self.name = name
        self.path = f"/proc/{broker.pid}/root{path}"

    def remove(self) -> None:
        """Take the name away."""
        try:
            self._broker.request("unregister", name=self.name)
        except StateError:
            return  # it went with the broker

    def disown(self) -> None:
        """It ends with the broker all the same."""

    def forget(self) -> None:
        """Nothing is held here."""

    def give_descriptor(self) -> int:
        """There is none: the name is a mount."""
        return -1


_running: Broker | None = None
_starting = RLock()


def broker() -> Broker:
    """The broker of this process, which is started now if there is none."""
    global _running
    with _starting:
        if _running is None or _running.closed:
            with naming_limits("start the helper process of rootless namespaces"), deferred_signals():
                _running = Broker()
        return _running


def running() -> Broker | None:
    """The broker, if there is one."""
    return _running if _running is not None and not _running.closed else None


def processes() -> tuple[int, ...]:
    """The broker and its supervisor; nothing if there is none."""
    current = running()
    return () if current is None else (current._supervisor.pid, current.pid)


def end() -> None:
    """End the broker, if there is one."""
    current = running()
    if current is not None:
        current.close()


def _after_fork() -> None:
    global _running, _starting
    _starting = RLock()
    if _running is not None:
        _running.forget()
        _running = None


os.register_at_fork(after_in_child=_after_fork)
