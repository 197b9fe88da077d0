"""Threads that enter network namespaces, so that the caller's own thread never does.

A setns on the caller's thread would leave user code in the wrong namespace after a Ctrl-C, an
asyncio switch or an abandoned generator. So: one shared worker thread for short internal calls
(`inside`, `create_namespace`), a fresh thread per user call (`fresh`), and `entered`, the one
explicit exception.
"""

from __future__ import annotations

import fcntl
import os
import sys
from _contextvars import copy_context
from _queue import SimpleQueue
from _thread import LockType, RLock, allocate_lock, get_ident, start_new_thread
from errno import ENOSPC

from netkit._system.greenlets import refuse_greenlets
from netkit._system.namespace_files import identity, open_current, path_identity
from netkit._system.privilege import missing_capability
from netkit._system.signals import blocked_signals, held_signals
from netkit._system.syscalls import CLONE_NEWNET, setns, unshare
from netkit.errors import KernelError, StateError, kernel_error, naming_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, Protocol, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

    class Place(Protocol):
        """Who holds a namespace by a descriptor, which another thread may close or exchange."""

        fd: int  # -1 before it is closed

        def check(self) -> int: ...


_LAST_PREPARED_FD = 1023
_ONE_TASK = 3  # links of /proc/self/task: itself, its name, and one directory per thread

refuse_greenlets(start_new_thread)  # now, or what follows would wait for them for ever


class Job:
    """One call on another thread: what it is, how it ended, and who takes the result."""

    __slots__ = ("call", "claim", "discard", "done", "error", "result", "served")

    def __init__(self, call: Callable[[], Any], discard: Callable[[Any], object] | None) -> None:
        self.call = call
        self.discard = discard
        self.result: Any = None
        self.error: BaseException | None = None
        self.served = False
        self.claim: dict[str, bool] = {}
        self.done: LockType = allocate_lock()
        self.done.acquire()

    def perform(self) -> None:
        """On the other thread: make the call and keep its outcome."""
        self.served = True
        try:
            self.result = self.call()
        except BaseException as error:
            self.error = error

    def serve(self) -> None:
        """On a thread of its own: `perform` and `finish`, in one function less."""
        self.served = True
        try:
            self.result = self.call()
        except BaseException as error:
            self.error = error
        self.finish()

    def finish(self) -> None:
        """On the other thread: hand the outcome over, or throw it away if nobody waits."""
        # setdefault is atomic: whoever comes second sees what the first one decided.
        abandoned = self.claim.setdefault("abandoned", False)
        self.done.release()
        if abandoned:
            self._throw_away()

    def abandon(self) -> None:
        """On the caller's thread, which was interrupted: nobody will take the result."""
        if self.claim.setdefault("abandoned", True) is False:
            self._throw_away()

    def outcome(self) -> Any:
        """Return or raise what the call did."""
        if self.error is None:
            return self.result
        try:
            raise self.error
        finally:
            self.error = None  # its traceback refers to this frame: no cycle

    def _throw_away(self) -> None:
        # What outcome() has raised has left no result, and no error either.
        if self.served and self.result is not None and self.discard is not None:
            try:
                self.discard(self.result)
            except Exception as error:  # nobody waits for it any more, and the thread has other jobs
                sys.excepthook(type(error), error, error.__traceback__)


class Worker:
    """One thread for short internal calls, started on first use and again after a fork."""

    def __init__(self) -> None:
        self._home = -1
        self.after_fork()

    def after_fork(self) -> None:
        """In a child the thread does not exist: the next call starts another."""
        home, self._home = self._home, -1
        if home >= 0:
            os.close(home)
        self._lock = RLock()  # a signal handler may come in between and call
        self._thread = 0
        self._jobs: SimpleQueue[Job] | None = None

    def run(self, call: Callable[[], T], discard: Callable[[T], object] | None = None) -> T:
        """Make the call on the worker thread, which afterwards goes back to its own namespace.

        If the wait is interrupted, the call still ends and ``discard(result)`` disposes of it.
        """
        if get_ident() == self._thread:
            return there_and_back(call)  # a finalizer that happens to run on the worker thread
        while True:
            job = Job(call, discard)
            try:
                jobs = self._submit(job)
                if jobs is not None:
                    job.done.acquire()
            except BaseException:  # KeyboardInterrupt, or whatever a signal handler raises
                job.abandon()
                raise
            if jobs is None:
                return there_and_back(call)
            if job.served:  # else its thread was given up before it came to this job
                result: T = job.outcome()
                return result

    def _submit(self, job: Job) -> SimpleQueue[Job] | None:
        with held_signals(), self._lock:  # a thread that was started, and nobody knows, would stay
            jobs = self._jobs or self._start()
            if jobs is not None:
                jobs.put(job)
            return jobs

    def _start(self) -> SimpleQueue[Job] | None:
        prepare_descriptor_table()
        jobs: SimpleQueue[Job] = SimpleQueue()
        home = open_current()
        try:
            with blocked_signals():  # they are for the program's own threads
                start_new_thread(self._serve, (jobs, home))
                self._home, self._jobs = home, jobs
        except RuntimeError as error:
            os.close(home)
            if shutting_down(error):
                return None
            raise
        return jobs

    def _serve(self, jobs: SimpleQueue[Job], home: int) -> None:
        self._thread = get_ident()
        at_home = True
        while at_home:
            job = jobs.get()
            job.perform()
            try:
                enter(home)
            except Exception:  # an ImportError, too: setns() is loaded on first use; who called must not wait
                at_home = False
                self._give_up(jobs, home)
            job.finish()
            del job  # its result must not live until the next job

    def _give_up(self, jobs: SimpleQueue[Job], home: int) -> None:
        """The thread is stuck in a foreign namespace: let the next caller start another one."""
        with self._lock:
            if self._jobs is jobs:
                self._jobs, self._home = None, -1
                os.close(home)
            while not jobs.empty():
                jobs.get().finish()  # not served: its caller tries again


_worker = Worker()
os.register_at_fork(after_in_child=_worker.after_fork)


def inside(fd: int, call: Callable[[], T], discard: Callable[[T], object] | None = None) -> T:
    """Run a short function of ours in the network namespace ``fd``, on the worker thread.

    An exception of any kind comes back with its traceback. Needs CAP_SYS_ADMIN (setns(2)).
    """

    def there() -> T:
        enter(fd)
        return call()

    return _worker.run(there, discard)


def create_namespace(setup: Callable[[], T], discard: Callable[[T], object] | None = None) -> tuple[int, T]:
    """Make a network namespace and run ``setup`` inside it: its descriptor and what setup returned.

    The `ip` twin is ``ip netns add`` without a name. Needs CAP_SYS_ADMIN. If setup fails the
    namespace is gone; if the wait is interrupted too, after ``discard`` of what setup returned.
    """

    def dispose(made: tuple[int, T]) -> None:
        os.close(made[0])
        if discard is not None:
            discard(made[1])

    return _worker.run(lambda: make_namespace(setup), dispose)


def make_namespace(setup: Callable[[], T]) -> tuple[int, T]:
    """Move the calling thread into a new namespace and run ``setup`` there."""
    enter_new()
    fd = open_current()
    try:
        return fd, setup()
    except BaseException:
        os.close(fd)
        raise


def enter_new() -> None:
    """Move the calling thread into a new network namespace; KernelError if refused."""
    try:
        unshare(CLONE_NEWNET)
    except OSError as error:
        raise namespace_refused("create a network namespace", error, None) from None


def fresh(fd: int, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a user's function in the network namespace ``fd``, on a thread of its own.

    The function sees the caller's context variables and signal mask; its result comes back, and
    so does an exception of any kind, with its traceback. A KeyboardInterrupt ends the wait, not
    the function. Needs CAP_SYS_ADMIN (setns(2)).
    """
    with naming_limits("start a thread"):
        import threading as threading  # now: what the function raises is its own
    context = copy_context()

    def there() -> T:
        enter(fd)
        return context.run(function, *args, **kwargs)

    return _on_new_thread(there, _start_known)


def run_fresh(fd: int, call: Callable[[], T], discard: Callable[[T], object] | None = None) -> T:
    """`fresh` for calls of ours, on a bare thread, which is there in a third of the time.

    It has the caller's signal mask, priority, processors and capabilities, but no context variables.
    ``discard`` disposes of a result that nobody waits for.
    """

    def there() -> T:
        enter(fd)
        return call()

    return _on_new_thread(there, start_new_thread, discard)


def run_at(place: Place, call: Callable[[], T]) -> T:
    """`run_fresh` in a namespace that another thread may close meanwhile: StateError, and no call, then."""

    def there() -> T:
        enter_place(place)
        return call()

    return _on_new_thread(there, start_new_thread)


def _start_known(serve: Callable[[], None], arguments: tuple[()]) -> None:
    """A thread that other libraries can know, by its name and as a daemon."""
    import threading

    for name in ("_start_new_thread", "_start_joinable_thread"):  # until 3.12, and from 3.13
        refuse_greenlets(getattr(threading, name, None))
    with held_signals():  # interrupted half-way, threading would keep it for ever
        threading.Thread(target=serve, args=arguments, name="netkit-call", daemon=True).start()


def _on_new_thread(
    there: Callable[[], T],
    start: Callable[[Callable[[], None], tuple[()]], object],
    discard: Callable[[T], object] | None = None,
) -> T:
    job = Job(there, discard)
    try:
        start(job.serve, ())
        job.done.acquire()
    except BaseException as error:
        job.abandon()
        if isinstance(error, RuntimeError) and shutting_down(error):
            return there_and_back(there)
        raise
    result: T = job.result if job.error is None else job.outcome()
    return result


def enter(fd: int) -> None:
    """Move the calling thread into the network namespace ``fd``; KernelError if refused."""
    try:
        setns(fd, CLONE_NEWNET)
    except OSError as error:
        _bear(error, fd)


def enter_place(place: Place) -> None:
    """`enter`, though the descriptor may be closed meanwhile, and its number be another namespace's.

    That it still is the place's one when the thread is inside tells that it was until then.
    """
    entered = False
    while not entered:
        fd = place.fd
        try:
            setns(fd, CLONE_NEWNET)
        except ValueError:
            place.check()  # it is closed: Python's own, since 3.12, hands the kernel no -1
        except OSError as error:
            place.check()
            if place.fd == fd:
                _bear(error, fd)
        entered = place.fd == fd


def _bear(error: OSError, fd: int) -> None:
    # An ordinary user may not even enter the namespace the thread is in: there is no need to.
    if not isinstance(error, PermissionError) or identity(fd) != path_identity("/proc/thread-self/ns/net"):
        raise namespace_refused("enter the network namespace", error, fd) from None


class entered:  # noqa: N801
    """``with entered(fd):`` the calling thread itself is in the namespace, for code that opens sockets.

    StateError in a thread whose event loop runs (an ``await`` would take other tasks along), and
    if the thread cannot go back.
    """

    __slots__ = ("_fd", "_home", "_thread")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._home = -1
        self._thread = 0

    def __enter__(self) -> None:
        if self._home >= 0:
            raise StateError("this entered() block is already open: make another one")
        if _loop_runs():
            raise StateError(
                "entered() inside a running event loop would take other tasks into the namespace: "
                "use call(), run() or socket()"
            )
        home = open_current()
        try:
            enter(self._fd)
        except BaseException:
            os.close(home)
            raise
        self._home, self._thread = home, get_ident()

    def __exit__(self, *exc: object) -> None:
        if get_ident() != self._thread:
            raise StateError("entered() ends on another thread than it began on: that one is still inside")
        home, self._home = self._home, -1
        try:
            enter(home)
        except KernelError as error:
            raise StateError(f"this thread is still in the namespace it entered: {error}") from error
        finally:
            os.close(home)


def there_and_back(call: Callable[[], T]) -> T:
    """Make the call on this thread, which comes back to the namespace it was in.

    For atexit, where Python 3.12 and later start no thread and no user code is left to confuse.
    """
    home = open_current()
    try:
        try:
            return call()
        finally:
            enter(home)
    finally:
        os.close(home)


def shutting_down(error: RuntimeError) -> bool:
    return "shutdown" in str(error)  # the other reason is a limit: "can't start new thread"


def _loop_runs() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def namespace_refused(operation: str, error: OSError, namespace: int | None) -> KernelError:
    missing = missing_capability("CAP_SYS_ADMIN")
    if missing is None and namespace is not None:
        missing = missing_capability("CAP_SYS_ADMIN", namespace)
    hint = None
    if error.errno == ENOSPC:
        from netkit._system.refusals import limit_of_networks

        hint = limit_of_networks()
    return kernel_error(operation, error.errno or 0, missing_capability=missing, hint=hint)


def prepare_descriptor_table(last: int = _LAST_PREPARED_FD, alone: bool = True) -> None:
    """Let the kernel's descriptor table grow while the process has one thread, up to ``last``.

    With two it waits for an RCU grace period, 8 to 19 ms at 64, 256, 512, 1024, ... descriptors
    (expand_fdtable in fs/file.c); alone it takes 16 us. ``alone=False``: also with two, once for all.
    """
    if alone and os.stat("/proc/self/task").st_nlink > _ONE_TASK:
        return
    fd = open_current()
    try:
        os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, last))
    except OSError:
        return  # RLIMIT_NOFILE is lower: the table cannot grow that far anyway
    finally:
        os.close(fd)
