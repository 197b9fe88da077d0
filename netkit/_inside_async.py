"""The verbs that wait, for event loops: run_async, call_async and ping_async. Each waits on a thread."""

from __future__ import annotations

from netkit._inside import Inside
from netkit._system.awaiting import on_a_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from typing import Any, ParamSpec, TypeVar

    from netkit._spec.addresses import AddressLike
    from netkit._system.icmp import PingResult
    from netkit._system.process import Argument, Command, Directory, Environment, Stream
    from netkit._system.started import Process

    P = ParamSpec("P")
    T = TypeVar("T")


class InsideAsync(Inside):
    """The same as `run`, `call` and `ping`; the event loop goes on meanwhile, and many can wait at once."""

    async def run_async(
        self,
        argv: Command,
        *,
        input: str | bytes | None = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        cwd: Directory = None,
        env: Environment = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        bufsize: int = -1,
        executable: Argument | None = None,
        shell: bool = False,
        close_fds: bool = True,
        pass_fds: Sequence[int] = (),
        restore_signals: bool = True,
        start_new_session: bool = False,
        process_group: int | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        extra_groups: Sequence[str | int] | None = None,
        umask: int = -1,
        pipesize: int = -1,
    ) -> subprocess.CompletedProcess[Any]:
        """`run` in an event loop. A task that is cancelled kills the program first.

        Twin: ``ip netns exec NAME COMMAND &`` and ``wait``. Raises what `run` does.

        Examples:
            >>> import asyncio
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     asyncio.run(box.run_async(["true"])).returncode
            0
        """
        program = _Program()
        given = (
            stdin, stdout, stderr, cwd, env, text, encoding, errors, bufsize, executable, shell, close_fds,
            pass_fds, restore_signals, start_new_session, process_group, user, group, extra_groups, umask,
            pipesize,
        )  # fmt: skip

        def work() -> subprocess.CompletedProcess[Any]:
            return self._programs().run(
                argv, given, input, capture_output, timeout, check, started=program.begin
            )

        return await on_a_thread(work, program.give_up)

    async def call_async(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """`call` in an event loop. A task that is cancelled goes on; the function runs to its end.

        Twin: that of `call`. Raises what `call` does, and what the function raises.

        Examples:
            >>> import asyncio, socket
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     asyncio.run(box.call_async(socket.if_nameindex))
            [(1, 'lo')]
        """
        return await on_a_thread(lambda: self.call(fn, *args, **kwargs))

    async def ping_async(
        self,
        address: AddressLike,
        count: int = 1,
        interval: float = 1.0,
        timeout: float = 2.0,
        size: int = 56,
    ) -> PingResult:
        """`ping` in an event loop: a hundred at once take as long as the slowest.

        Twin: ``ping -c COUNT ADDRESS &``. Raises what `ping` does.

        Examples:
            >>> import asyncio
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     asyncio.run(box.ping_async("127.0.0.1")).received
            1
        """
        return await on_a_thread(lambda: self.ping(address, count, interval, timeout, size))


class _Program:
    """A program that is killed when nobody waits for it any more."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._given_up = False

    def begin(self, process: Process) -> None:
        self._process = process
        if self._given_up:
            process.kill()

    def give_up(self) -> None:
        self._given_up = True
        if self._process is not None:
            self._process.kill()
