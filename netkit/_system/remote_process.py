"""Programs that the broker starts: a subprocess.Popen whose child is another process's.

The streams are made by subprocess itself. The child is seen by its pidfd, and how it ended is read
from a pipe, since only its parent can wait for it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

from netkit._system.broker import Broker
from netkit._system.signals import deferred_signals
from netkit._system.started import Process
from netkit.errors import kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

_NO_OTHER_USER = (
    "Without root the users inside are root and those of your range of subordinate ids: a line in "
    "/etc/subuid and in /etc/subgid, and newuidmap and newgidmap (Debian: uidmap)"
)


def order_of(
    *,
    directory: str | bytes | os.PathLike[Any] | None = None,
    umask: int = -1,
    new_session: bool = False,
    process_group: int | None = -1,
    user: int | None = None,
    group: int | None = None,
    groups: Sequence[int] | None = None,
    restore: bool = False,
    targets: Sequence[int] = (),
) -> dict[str, Any]:
    """The fields of a child's order: what it would have inherited from this process."""
    return {
        "directory": os.path.abspath(os.fsencode(os.curdir if directory is None else directory)),
        "umask": _umask() if umask < 0 else umask,
        "new_session": bool(new_session),
        "process_group": -1 if process_group is None else process_group,
        "user": -1 if user is None else user,
        "group": -1 if group is None else group,
        "groups": None if groups is None else [*groups],
        "blocked": sorted(int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "ignored": sorted(int(each) for each in signal.valid_signals() if _is_ignored(each)),
        "restore": bool(restore),
        "priority": os.getpriority(os.PRIO_PROCESS, 0) + 20,  # of this thread, as are the processors
        "processors": sorted(os.sched_getaffinity(0)),
        "limits": [f"{each} {soft} {hard}" for each, (soft, hard) in _limits().items()],
        "targets": [*targets],
    }


def _limits() -> dict[int, tuple[int, int]]:
    """Of this process: getrlimit(2)."""
    import resource

    numbers = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
    return {each: resource.getrlimit(each) for each in sorted(numbers)}


def _is_ignored(number: int) -> bool:
    return number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) is signal.SIG_IGN


def _umask() -> int:
    """Of this process; umask(2) could only be asked by setting it, which other threads would see."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line[6:], 8)
    return 0o022


def inheritable(numbers: Iterable[int]) -> list[int]:
    """Those of these descriptors that a program would inherit.

    Where 0, 1 or 2 is closed, the number may be that of anything, such as our own sockets.
    """
    found: list[int] = []
    for number in numbers:
        with contextlib.suppress(OSError):  # it is closed
            if os.get_inheritable(number):
                found.append(number)
    return found


class RemotePopen(Process):
    """A Process for a program in a namespace of the broker's."""

    def __init__(self, broker: Broker, namespace: Callable[[], int], argv: Any, **keywords: Any) -> None:
        self._broker = broker
        self._namespace = namespace
        self._inner_pid = 0
        self._pidfd = self._ended = -1
        try:
            super().__init__(argv, **keywords)
        except BaseException:  # interrupted: nobody gets to know of the program
            if self._pidfd >= 0:
                self.kill()
                self.wait()
            raise

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: bool, pass_fds: Any, cwd: Any, env: Any,
        startupinfo: Any, creationflags: Any, shell: bool, p2cread: int, p2cwrite: int, c2pread: int,
        c2pwrite: int, errread: int, errwrite: int, restore_signals: bool, gid: Any, gids: Any, uid: Any,
        umask: int, start_new_session: bool, process_group: Any = -1,
    ) -> None:  # fmt: skip
        """Instead of fork and exec (called by ``Popen.__init__``, with these arguments from 3.11 on)."""
        argv: list[Any] = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
        if shell:
            argv = [executable or "/bin/sh", "-c", *argv]
        program: Any = argv[0] if executable is None else executable
        sys.audit("subprocess.Popen", program, argv, cwd, env)
        passed = {number: number for number in (*inheritable((0, 1, 2)), *pass_fds)}
        if not close_fds:
            passed |= {number: number for number in inheritable(map(int, os.listdir("/proc/self/fd")))}
        for number, stream in ((0, p2cread), (1, c2pwrite), (2, errwrite)):
            if stream != -1:
                passed[number] = stream
        order = order_of(
            directory=cwd, umask=umask, new_session=start_new_session, process_group=process_group,
            user=uid, group=gid, groups=gids, restore=restore_signals, targets=[*passed],
        )  # fmt: skip
        fields = {
            "argv": [os.fsencode(each) for each in argv],
            "programs": _programs(os.fsencode(program), env),
            "environment": _variables(os.environb if env is None else env),
        }
        self._begin(program, cwd, {**order, **fields}, [*passed.values()])
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _begin(self, program: Any, cwd: Any, fields: dict[str, Any], fds: list[int]) -> None:
        directory = os.open(cwd or os.curdir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with deferred_signals():
                answer, came = self._broker.begin("run", [self._namespace(), directory, *fds], **fields)
                if came:
                    self._pidfd, self._ended = came
                    self._inner_pid = answer["pid"]
                    self.pid = _pid_here(self._pidfd) or self._inner_pid
                    self._child_created = True
        finally:
            os.close(directory)
        if answer.get("stage") == "user":
            raise kernel_error("become another user", answer["errno"], hint=_NO_OTHER_USER)
        if "stage" in answer:
            name = {"directory": cwd, "program": program}.get(answer["stage"])
            raise OSError(answer["errno"], os.strerror(answer["errno"]), name)

    # -- its end --------------------------------------------------------------------------

    def _internal_poll(self, *arguments: Any, **keywords: Any) -> int | None:
        if self.returncode is None:
            self._take(0)
        return self.returncode  # pyright: ignore

    def _wait(self, timeout: float | None) -> int | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._take(left) and left == 0:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode  # pyright: ignore

    def _take(self, seconds: float | None) -> bool:
        """Whether it has ended, within so many seconds."""
        poll = select.poll()
        ended = self._ended
        if ended >= 0:
            poll.register(ended, select.POLLIN)
            if not poll.poll(None if seconds is None else seconds * 1000):
                return False
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None and self._ended >= 0:
                told = os.read(self._ended, 4)
                # Nothing is told when the broker has been killed, and all it started with it.
                status = int.from_bytes(told, "little") if len(told) == 4 else signal.SIGKILL
                self.returncode = os.waitstatus_to_exitcode(status)
                self._close()
        return True

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it has not ended."""
        self.poll()
        if self.returncode is not None:
            return
        try:
            signal.pidfd_send_signal(self._pidfd, sig)
        except ProcessLookupError:
            return
        except PermissionError:  # it has become another user of the range of subordinate ids
            self._broker.request("signal", pid=self._inner_pid, number=int(sig))

    def _close(self) -> None:
        for fd in (self._pidfd, self._ended):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._ended = -1

    def __del__(self, *arguments: Any, **keywords: Any) -> None:
        super().__del__()  # pyright: ignore
        if self.returncode is not None or not getattr(self, "_child_created", False):
            self._close()


def _variables(environment: Mapping[Any, Any]) -> list[bytes]:
    """As `NAME=value`; ValueError as of subprocess."""
    pairs = [(os.fsencode(name), os.fsencode(value)) for name, value in environment.items()]
    if any(b"=" in name for name, _ in pairs):
        raise ValueError("illegal environment variable name")
    if any(b"\0" in name + value for name, value in pairs):
        raise ValueError("embedded null byte")
    return [name + b"=" + value for name, value in pairs]


def _programs(program: bytes, env: Any) -> list[bytes]:
    if os.path.dirname(program):
        return [program]
    return [os.path.join(os.fsencode(directory), program) for directory in os.get_exec_path(env)]


def _pid_here(pidfd: int) -> int:
    """The process's number as this one sees it: proc_pid_fdinfo(5)."""
    with open(f"/proc/self/fdinfo/{pidfd}", "rb") as file:
        for line in file:
            if line.startswith(b"Pid:"):
                return max(0, int(line[4:]))
    return 0


class RemoteStarter:
    """What `process.popen` starts programs with: `Fresh`, with a Popen of its own."""

    def __init__(self, broker: Broker, namespace: Callable[[], int]) -> None:
        self._broker = broker
        self._namespace = namespace

    def __call__(self, function: Callable[[], T], /) -> T:
        """Here is as good as anywhere: the broker enters the namespace."""
        return function()

    def popen(self, argv: Any, **keywords: Any) -> Process:
        """Start a program."""
        return RemotePopen(self._broker, self._namespace, argv, **keywords)
