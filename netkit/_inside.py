"""What runs inside a namespace: commands, functions, sockets and pings."""

from __future__ import annotations

from _socket import AF_INET, SOCK_STREAM

from netkit._runtime import Runtime
from netkit._spec import numbers
from netkit._spec.value import shown
from netkit._system.signals import undisturbed
from netkit.errors import SpecError, naming_limits, raise_limit

_RUNS_LATER = (
    0x20 | 0x80 | 0x200
)  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR of inspect, which is slow to load

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    import subprocess
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, ParamSpec, TypeVar

    from netkit._capture import Capture
    from netkit._spec.addresses import AddressLike
    from netkit._sysctl import Sysctls
    from netkit._system.icmp import PingResult
    from netkit._system.process import Argument, Command, Directory, Environment, Processes, Stream
    from netkit._system.started import Process
    from netkit._system.starting import Fresh

    P = ParamSpec("P")
    T = TypeVar("T")


class Inside:
    """The part of a Namespace that runs things in it. Nothing here moves the caller's own
    thread into the namespace, but `entered`, which says so."""

    def _live_runtime(self) -> Runtime:
        raise NotImplementedError

    @property
    def sysctl(self) -> Sysctls:
        """The sysctls: ``ns.sysctl["net.ipv4.ip_forward"]``, assignment, ``.override(key, value)``."""
        with naming_limits("read sysctls"):
            from netkit._sysctl import Sysctls

        return Sysctls(self)  # type: ignore[arg-type]

    def run(
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
        """Run a command inside and wait for it: ``subprocess.run``, in this namespace.

        ``check=True`` raises CommandError with the command, its status and its last error
        output. ``timeout`` in seconds. The child starts from a thread that is inside already,
        so no ``preexec_fn`` slows it down. Twin: ``ip netns exec NAME COMMAND``.

        Raises SpecError for what is no command, subprocess.TimeoutExpired, and what
        ``subprocess.run`` raises, such as FileNotFoundError.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     done = box.run(["ip", "-br", "link"], capture_output=True, text=True, check=True)
            ...     print(done.stdout.split()[0])
            lo
        """
        given = (
            stdin, stdout, stderr, cwd, env, text, encoding, errors, bufsize, executable, shell, close_fds,
            pass_fds, restore_signals, start_new_session, process_group, user, group, extra_groups, umask,
            pipesize,
        )  # fmt: skip
        try:
            return self._programs().run(argv, given, input, capture_output, timeout, check)
        except BaseException as problem:  # as naming_limits(), in no time
            raise_limit("run a program", problem)
            raise

    def popen(
        self,
        argv: Command,
        *,
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
    ) -> Process:
        """Start a command inside: a ``subprocess.Popen``, with ``wait_listening(port)`` for servers.

        What still runs when a namespace of ours is deleted is killed with it. Twin:
        ``ip netns exec NAME COMMAND &``. Raises what `run` does.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     with box.popen(["sleep", "60"]) as process:
            ...         process.kill()
        """
        given = (
            stdin, stdout, stderr, cwd, env, text, encoding, errors, bufsize, executable, shell, close_fds,
            pass_fds, restore_signals, start_new_session, process_group, user, group, extra_groups, umask,
            pipesize,
        )  # fmt: skip
        with naming_limits("start a program"):
            return self._programs().popen(argv, given)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function on a thread of its own inside; its result or exception comes back.

        The caller's thread stays where it is. Without root the function runs in another process, and what
        goes there and back is pickled. Twin: ``nsenter --net=PATH python3 -c ...``. Raises SpecError for
        what is no function or runs later (a coroutine function), and whatever the function raises.
        Source: setns(2).

        Examples:
            >>> from netkit import Namespace
            >>> import socket
            >>> with Namespace() as box:
            ...     print(box.call(socket.if_nameindex))
            [(1, 'lo')]
        """
        if not callable(fn):
            raise SpecError(f"call() takes a function and its arguments, not {shown(fn)}")
        if getattr(getattr(fn, "__code__", None), "co_flags", 0) & _RUNS_LATER:
            raise SpecError(
                f"call() of {fn!r} would run nothing inside: it is a generator or coroutine function"
            )
        return self._live_runtime().fresh(fn, *args, **kwargs)

    def socket(self, family: int = AF_INET, type: int = SOCK_STREAM, proto: int = 0) -> _socket.socket:
        """An ordinary socket that lives inside, usable from any thread and event loop.

        Arguments are those of ``socket.socket``. Twin: ``ip netns exec NAME`` with a program that opens it.
        Raises KernelError when the kernel refuses; a raw one needs CAP_NET_RAW over the namespace.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box, box.socket() as server:
            ...     server.bind(("127.0.0.1", 80))
        """
        runtime = self._live_runtime()
        with naming_limits("open a socket"):
            return undisturbed(lambda: runtime.open_socket(family, type, proto), _close)

    def entered(self) -> AbstractContextManager[None]:
        """Enter with the calling thread itself, for code that opens its own sockets.

        The one explicit exception: everything the thread does in the block happens in this
        namespace. Twin: ``nsenter --net=PATH``. Raises StateError inside a running event loop, whose other
        tasks would be moved too, and UnsupportedError without root. Source: setns(2). Needs CAP_SYS_ADMIN.
        """
        runtime = self._live_runtime()
        return runtime.opener.entered(runtime.check())

    def ping(
        self,
        address: AddressLike,
        count: int = 1,
        interval: float = 1.0,
        timeout: float = 2.0,
        size: int = 56,
    ) -> PingResult:
        """Send ICMP echo requests from here; no ping binary is needed.

        ``interval`` and ``timeout`` in seconds, ``size`` of the payload in bytes. An
        unreachable target is ``loss`` 1.0, not an exception. Twin: ``ping -c COUNT ADDRESS``.
        Source: RFC 792, RFC 4443. Needs CAP_NET_RAW over the namespace. Raises SpecError for a bad value,
        AccessError without the capability.

        Examples:
            >>> from netkit import Namespace
            >>> with Namespace() as box:
            ...     result = box.ping("127.0.0.1", count=3, interval=0.01)
            ...     print(result.received, result.loss, result.avg < 1)
            3 0.0 True
        """
        with naming_limits(f"ping {address}"):
            from netkit._system import icmp

            return icmp.ping(
                self._live_runtime().open_socket,
                address,
                numbers.integer(count, "count", 1, 1_000_000),
                numbers.seconds(interval, "interval", 0.0),
                numbers.seconds(timeout, "timeout", 0.0),
                numbers.integer(size, "size", 0, 65_000),
            )

    def capture(
        self,
        filter: str | None = None,
        *,
        snaplen: int = 262_144,
        buffer: int = 64 << 20,
        limit: int = 1 << 30,
    ) -> Capture:
        """Capture the packets that pass any of its links: ``with ns.capture("tcp port 80") as packets:``.

        The same as `Link.capture`, at all links, those that come later too. A filter is one for Ethernet.
        Twin: ``tcpdump -i any 'FILTER'``. Raises SpecError for a filter that is not understood.
        """
        with naming_limits("capture packets"):
            from netkit._capture import Capture

            return Capture(self, None, filter, snaplen=snaplen, buffer=buffer, limit=limit)  # type: ignore[arg-type]

    def _starter(self) -> Fresh:
        runtime = self._live_runtime()
        runtime.note_members()
        return runtime.starter()

    def _programs(self) -> Processes:
        """Who starts programs here, and knows of them; that there may be some is noted first."""
        runtime = self._live_runtime()
        if runtime.ours:
            runtime.note_members()
        known: Processes | None = runtime.kept("processes")  # type: ignore[assignment]
        return known or self._processes()

    def _processes(self) -> Processes:
        runtime = self._live_runtime()
        from netkit._sockets import listened
        from netkit._system.process import Processes

        return runtime.once(
            "processes", lambda: Processes(lambda proto: listened(runtime, proto), runtime.starter())
        )

    def _end_processes(self, runtime: Runtime) -> None:
        """Kill what still runs in a namespace that ends; what it would keep alive would stay."""
        processes = runtime.kept("processes")
        if processes is not None:
            from netkit._system.process import Processes

            assert isinstance(processes, Processes)
            processes.kill_all()
            runtime.end_members()


def _close(opened: _socket.socket) -> None:
    opened.close()
