"""Programs started inside a network namespace, and the end of all that run there.

The child is forked by a thread that is already inside (``fresh``, as `worker.fresh` for one namespace):
no ``preexec_fn``, which is twice as slow and unsafe beside other threads. On the way of each program there
are few functions: between two of them the caches are cold, and a call takes half a microsecond.
"""

from __future__ import annotations

import os
from _operator import is_
from collections.abc import Mapping, Sequence
from subprocess import PIPE, CompletedProcess
from threading import Lock

from netkit._spec.value import shown
from netkit._system.signals import admitted_signals, held_signals
from netkit._system.started import Process
from netkit._system.starting import end, start_with
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import IO, Any

    from netkit._system.members import Waitable
    from netkit._system.started import Listened
    from netkit._system.starting import Fresh

    Argument = str | bytes | os.PathLike[str] | os.PathLike[bytes]
    Command = Argument | Sequence[Argument]
    Stream = int | IO[Any] | None
    Directory = Argument | None
    Environment = Mapping[str, Argument] | Mapping[bytes, Argument] | None


# The keywords of subprocess.Popen that `Namespace.run` and `popen` list, and what they are if not given.
_DEFAULTS: dict[str, Any] = {
    "stdin": None, "stdout": None, "stderr": None, "cwd": None, "env": None, "text": None, "encoding": None,
    "errors": None, "bufsize": -1, "executable": None, "shell": False, "close_fds": True, "pass_fds": (),
    "restore_signals": True, "start_new_session": False, "process_group": None, "user": None, "group": None,
    "extra_groups": None, "umask": -1, "pipesize": -1,
}  # fmt: skip
_USUAL = tuple(_DEFAULTS.values())


def unusual(values: tuple[object, ...]) -> dict[str, Any]:
    """Of the values of all these keywords, in order, those that have to be passed on."""
    if all(map(is_, values, _USUAL)):
        return {}
    each = zip(_DEFAULTS, values, _USUAL, strict=True)
    return {name: value for name, value, usual in each if value is not usual}


def popen(fresh: Fresh, argv: Command, processes: Processes | None = None, **keywords: Any) -> Process:
    """Start a program inside: ``subprocess.Popen`` with its keywords, remembered in ``processes``.

    The `ip` twin is ``ip netns exec NAME argv``, without its remount of /sys. Raises SpecError for
    an argv that cannot be meant, FileNotFoundError as subprocess does. Needs CAP_SYS_ADMIN.
    """
    checked_argv(argv, keywords.get("shell", False))
    with held_signals():
        return _started(fresh, argv, processes, keywords)


def _started(fresh: Fresh, argv: Command, processes: Processes | None, keywords: dict[str, Any]) -> Process:
    launch: Any = getattr(fresh, "popen", Process)  # without root the broker starts it
    started: Process = start_with(
        fresh, launch, (argv,), keywords, None if processes is None else processes.add
    )
    return started


def run(
    fresh: Fresh,
    argv: Command,
    processes: Processes | None = None,
    *,
    input: str | bytes | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    started: Callable[[Process], object] | None = None,
    **keywords: Any,
) -> CompletedProcess[Any]:
    """Run a program inside and wait: ``subprocess.run`` with its keywords.

    ``check=True`` raises CommandError, which has the command, its status and its last error output;
    ``timeout`` (seconds) kills it and raises subprocess.TimeoutExpired; ``started`` is told of it.
    """
    if capture_output:
        if keywords.get("stdout") is not None or keywords.get("stderr") is not None:
            raise SpecError("capture_output=True already says where stdout and stderr go")
        keywords["stdout"] = keywords["stderr"] = PIPE
    if input is not None:
        if keywords.get("stdin") is not None:
            raise SpecError("input= already says what stdin is")
        keywords["stdin"] = PIPE
    checked_argv(argv, keywords.get("shell", False))
    with held_signals():
        process = _started(fresh, argv, processes, keywords)
        if started is not None:
            try:
                started(process)
            except BaseException:
                end(process)
                raise
        output, error_output = _communicated(process, input, timeout)
    if check and process.returncode:
        from netkit.errors import CommandError

        raise CommandError(process.returncode, argv, output, error_output)
    return CompletedProcess(argv, process.returncode, output, error_output)


def _communicated(process: Process, input: str | bytes | None, timeout: float | None) -> tuple[Any, Any]:
    """Wait for a started program as ``subprocess.run`` does; what it said. It never outlives this call."""
    piped = not (process.stdout is process.stderr is process.stdin is None)
    if piped or timeout is not None:
        with process:
            try:
                with admitted_signals():
                    return process.communicate(input, timeout=timeout)
            except BaseException:  # a timeout, a KeyboardInterrupt
                _kill(process)
                raise
    try:
        with admitted_signals():
            process.wait()  # at once: until here it may have run on this thread's processor, and be through
    except BaseException:
        _kill(process)
        raise
    return None, None


def _kill(process: Process) -> None:
    process.kill()
    process.wait()  # after a KeyboardInterrupt its __exit__ does not


def checked_argv(argv: Command, shell: bool = False) -> Command:
    """The command, checked before anything starts: SpecError says what was meant instead."""
    if isinstance(argv, list) and argv and _are_plain(argv):
        return argv
    if not isinstance(argv, str | bytes | os.PathLike | Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SpecError(f"the command {shown(argv)} is a {type(argv).__name__}: give a list of str")
    if isinstance(argv, str | bytes | Sequence) and not argv:
        raise SpecError("the command is empty")
    if isinstance(argv, str) and not shell and argv.split() != [argv]:
        raise SpecError(
            f"{argv!r} would be a program's name, spaces and all: give a list, such as "
            f"{_split(argv)!r} (shlex.split), or shell=True"
        )
    for number, item in enumerate([argv] if isinstance(argv, str | bytes | os.PathLike) else argv):
        if not isinstance(item, str | bytes | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SpecError(
                f"argument {number} of the command, {shown(item)}, is no str: str() of it would be"
            )
        if b"\0" in os.fsencode(item):
            raise SpecError(f"argument {number} of the command, {shown(item)}, contains NUL")
    return argv


def _are_plain(words: list[Any]) -> bool:
    try:
        text = "".join(words)
    except TypeError:  # not all of them are str
        return False
    return text.isascii() and "\0" not in text


def _split(command: str) -> list[str]:
    import shlex

    try:
        return shlex.split(command)
    except ValueError:  # an open quote
        return command.split()


class Processes:
    """The programs started in one namespace that may still run.

    ``listened`` is asked for `Process.wait_listening`; ``fresh`` is what they are started with.
    """

    def __init__(self, listened: Listened | None = None, fresh: Fresh | None = None) -> None:
        self.fresh: Any = fresh
        self._listened = listened
        self._lock = Lock()
        self._started: list[Process] = []
        self._next_look = 16

    def run(
        self,
        argv: Command,
        given: tuple[object, ...],
        input: str | bytes | None,
        capture_output: bool,
        timeout: float | None,
        check: bool,
        started: Callable[[Process], object] | None = None,
    ) -> CompletedProcess[Any]:
        """`run`; ``given`` are the values of subprocess's keywords, in the order of `unusual`."""
        return run(
            self.fresh, argv, self, input=input, capture_output=capture_output, timeout=timeout, check=check,
            started=started, **unusual(given),
        )  # fmt: skip

    def popen(self, argv: Command, given: tuple[object, ...]) -> Process:
        """`popen`, likewise."""
        return popen(self.fresh, argv, self, **unusual(given))

    def add(self, process: Process) -> Process:
        """Remember a program until it has ended; returns it."""
        process._listened = self._listened
        with self._lock:
            self._started.append(process)
            if len(self._started) > self._next_look:
                self._started = _running(self._started)
                self._next_look = 16 + 2 * len(self._started)
        return process

    @property
    def started(self) -> list[Process]:
        """Those that were started here and are still known: of the ended ones the last few."""
        with self._lock:
            return list(self._started)

    @property
    def running(self) -> list[Process]:
        """Those that have not ended."""
        with self._lock:
            self._started = _running(self._started)
            return list(self._started)

    def kill_all(self, timeout: float = 10.0) -> None:
        """SIGKILL to each, and wait until they are gone; WaitTimeout names those that are not.

        Works with no free descriptor too: then each is waited for in turn.
        """
        from netkit._system.members import await_ends

        with self._lock:
            waitables: list[Waitable] = list(_running(self._started))
            self._started = []
        for process in waitables:
            process.kill()  # Popen does not signal a pid that it has reaped
        await_ends(waitables, timeout)

    def kill_members(self, identity: tuple[int, int], timeout: float = 10.0) -> None:
        """SIGKILL to whatever runs in the namespace, ours or not, until nothing is left."""
        from netkit._system.members import kill_members

        kill_members(identity, timeout)

    def close(self) -> None:
        """Forget them: what runs in a namespace that is not ours goes on."""
        with self._lock:
            self._started = []


def _running(processes: Iterable[Process]) -> list[Process]:
    return [process for process in processes if process.poll() is None]
