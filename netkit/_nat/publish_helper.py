"""A process that holds published ports and relays ::1, and can go on when who started it has ended.

It lives in the namespace, and listens at an abstract address of Unix sockets, which only that namespace has:
there the one that adopts the mapping finds it, whatever process that is, and sends it home.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import weakref

from netkit._system.passing import pass_descriptors
from netkit._system.piped_helper import PipedHelper, spawn_helper
from netkit.errors import BackendError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netkit._namespace import Namespace
    from netkit._nat.publish_specs import Specs
    from netkit._runtime import Runtime

_START = "import sys; sys.path.append(sys.argv[1]); from netkit._system.relay_program import main; main()"
_AT_ONCE = 128  # descriptors in a message: SCM_MAX_FD is 253
_PATIENCE = 60.0  # seconds, for what takes milliseconds


def address_of(specs: Specs) -> bytes:
    """Where the helper for these ports listens: a name of at most 107 bytes."""
    from hashlib import sha256

    words = sorted(f"{'/'.join(sorted(each.protos))} {each.host_ip} {each.ports}" for each in specs.all())
    return b"\0netkit-relay-" + sha256("\n".join(words).encode()).hexdigest()[:32].encode()


class RelayHelper:
    """A helper of this process's. It ends when this process does, unless it is told to stay."""

    def __init__(self, netns: Namespace, specs: Specs) -> None:
        self._runtime = netns._live_runtime()
        self._address = address_of(specs)
        self._processes = netns._processes()  # what still runs in a namespace of ours ends with it
        self._process = spawn_helper(
            netns._starter(),
            [sys.executable, "-I", "-S", "-c", _START, _directory(), f"netkit-relay {specs}"[:120]],
            {"PATH": os.environ.get("PATH", os.defpath)},
        )
        self._pid = os.getpid()
        _helpers.add(self)
        self._expect(self._address.hex(), "ready")

    def take(self, held: Sequence[socket.socket], targets: Mapping[int, tuple[str, int]]) -> None:
        """Have it hold these sockets, and relay what arrives at those that have a target."""
        with self._runtime.open_socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0) as control:
            control.settimeout(_PATIENCE)
            control.connect(self._address)
            for at in range(0, len(held), _AT_ONCE):
                some = [each.fileno() for each in held[at : at + _AT_ONCE]]
                words = json.dumps([targets.get(fd) for fd in some]).encode()
                pass_descriptors(control, words, some)
                if control.recv(16) != b"held":
                    raise self._failure("hold the ports")

    def stay(self) -> None:
        """Let it go on by itself."""
        self._expect("stay", "staying")
        self._close()
        if not isinstance(self._process, PipedHelper):  # it is the broker's child, and ends with that
            self._processes.add(self._process)

    def end(self) -> None:
        """End it: the ports are free afterwards."""
        if os.getpid() == self._pid:
            self._process.communicate()
        _helpers.discard(self)

    def _expect(self, order: str, answer: str) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        if os.getpid() != self._pid or stdin is None or stdout is None:
            raise StateError("this relay belongs to the process before fork()")
        try:
            os.write(stdin.fileno(), order.encode() + b"\n")
            said = os.read(stdout.fileno(), 64).decode()
        except OSError as problem:
            raise self._failure(f"get it to {order}") from problem
        if said != answer + "\n":
            raise self._failure(f"get it to {order}")

    def _failure(self, what: str) -> BackendError:
        stderr = self._process.stderr
        self._process.kill()
        said = "" if stderr is None else os.read(stderr.fileno(), 2000).decode(errors="replace").strip()
        self.end()
        return BackendError(f"the relay helper in {self._runtime.label} did not {what}: {said or 'it ended'}")

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        _helpers.discard(self)

    def forget_after_fork(self) -> None:
        """In a child: its end of the pipe must not keep the helper."""
        self._close()


def dismiss(runtime: Runtime, specs: Specs) -> None:
    """End a helper that was left for these ports, if there is one, and wait until it has let them go."""
    with runtime.open_socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0) as control:
        control.settimeout(_PATIENCE)
        if control.connect_ex(address_of(specs)):
            return  # nobody is there
        control.send(b"quit")
        if control.recv(16):
            raise BackendError(f"the relay helper of {specs} in {runtime.label} does not obey this user")


def await_leaving(processes: Sequence[int]) -> None:
    """Wait for those of these that are about to let the port go."""
    for process in processes:
        try:
            pidfd = os.pidfd_open(process)
        except OSError:
            continue  # it has ended
        try:
            if _is_leaving(process):
                _polled(pidfd, select.POLLIN, _PATIENCE)
        finally:
            os.close(pidfd)


def _is_leaving(process: int) -> bool:
    """Whether it is ending, or a helper whose starter is dead, which ends when it notices.

    Whatever is ending has given up its memory first, and then closes one descriptor after the other; to a
    dead starter's helper nobody can write.
    """
    try:
        with open(f"/proc/{process}/statm", "rb") as file:
            if file.read(2) == b"0 ":
                return True
        with open(f"/proc/{process}/cmdline", "rb") as file:
            if b"\0netkit-relay " not in file.read():
                return False
        pipe = os.open(f"/proc/{process}/fd/0", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        return isinstance(problem, (FileNotFoundError, ProcessLookupError))
    try:
        return bool(_polled(pipe, 0, 0.0) & select.POLLHUP)
    finally:
        os.close(pipe)


def _polled(file: int, events: int, timeout: float) -> int:
    poll = select.poll()
    poll.register(file, events)
    return sum(found for _, found in poll.poll(timeout * 1000))


def _directory() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


_helpers: weakref.WeakSet[RelayHelper] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for helper in list(_helpers):
        helper.forget_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
