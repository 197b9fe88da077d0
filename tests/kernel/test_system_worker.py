"""Threads that enter namespaces: results, exceptions, interruptions, forks and latency-free clean-up."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

import pytest

from netkit._system import worker
from netkit._system.namespace_files import identity, open_current, path_identity
from netkit.errors import KernelError, StateError
from tests.harness.patience import LONG

pytestmark = pytest.mark.capable

HERE = "/proc/thread-self/ns/net"


@pytest.fixture
def fd() -> Iterator[int]:
    made, _ = worker.create_namespace(lambda: None)
    yield made
    os.close(made)


def here() -> tuple[int, int] | None:
    return path_identity(HERE)


@pytest.fixture(autouse=True)
def nobody_has_moved() -> Iterator[None]:
    before = here()
    yield
    assert here() == before
    # A job that enters nothing runs where the worker is at rest.
    assert worker._worker.run(here) == before


def test_a_new_namespace_is_another_one_and_setup_ran_inside() -> None:
    fd, setup = worker.create_namespace(here)
    try:
        assert setup == identity(fd) != here()
        assert os.get_inheritable(fd) is False
    finally:
        os.close(fd)


def test_a_failed_setup_leaves_no_descriptor() -> None:
    def fail() -> None:
        raise ValueError("no setup")

    before = os.listdir("/proc/self/fd")
    with pytest.raises(ValueError, match="no setup"):
        worker.create_namespace(fail)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("run", [worker.inside, worker.fresh])
def test_the_function_runs_inside_and_its_result_comes_back(fd: int, run: Callable[..., object]) -> None:
    assert run(fd, here) == identity(fd)


@pytest.mark.parametrize("run", [worker.inside, worker.fresh])
@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_exception_comes_back_with_its_traceback(
    fd: int, run: Callable[..., object], kind: type[BaseException]
) -> None:
    def culprit() -> None:
        raise kind("why")

    with pytest.raises(kind, match="why") as caught:
        run(fd, culprit)
    assert "culprit" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert worker.inside(fd, here) == identity(fd)


def test_a_call_gets_arguments_and_context_and_a_thread_of_its_own(fd: int) -> None:
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("caller's")

    def look(a: int, *, b: int) -> tuple[int, int, str, bool]:
        return a, b, variable.get(), threading.current_thread() is threading.main_thread()

    assert worker.fresh(fd, look, 1, b=2) == (1, 2, "caller's", False)


def test_a_call_may_call_again(fd: int) -> None:
    other, _ = worker.create_namespace(int)
    try:
        nested = worker.fresh(
            fd, lambda: (here(), worker.fresh(other, here), worker.inside(other, here), here())
        )
        assert nested == (identity(fd), identity(other), identity(other), identity(fd))
    finally:
        os.close(other)


def test_something_that_is_no_namespace_is_refused(fd: int) -> None:
    with open("/dev/null") as null, pytest.raises(KernelError, match="enter the network namespace"):
        worker.inside(null.fileno(), here)
    with pytest.raises(KernelError, match="EBADF"):
        worker.fresh(10**6, here)


class Held:
    """A place whose descriptor is exchanged or closed as it is entered, and its number a stranger's."""

    def __init__(self, fd: int, later: int, stranger: int) -> None:
        self.fd, self.later, self.stranger = fd, later, stranger

    def check(self) -> int:
        if self.fd < 0:
            raise StateError("it is closed")
        return self.fd

    def overtake(self) -> None:
        before, self.fd = self.fd, self.later
        os.dup2(self.stranger, before)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("gone", [False, True])
def test_a_place_that_changes_meanwhile_is_no_other_one(
    fd: int, monkeypatch: pytest.MonkeyPatch, closed: bool, gone: bool
) -> None:
    stranger, _ = worker.create_namespace(int)
    if gone:  # the number is no namespace's
        os.close(stranger)
        stranger = os.open("/dev/null", os.O_RDONLY)
    number = os.dup(fd)
    place = Held(number, -1 if closed else fd, stranger)
    called: list[object] = []
    real = worker.setns

    def overtaken(target: int, kind: int) -> None:
        if target == number:
            place.overtake()
        real(target, kind)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(worker, "setns", overtaken)
            if closed:
                with pytest.raises(StateError, match="it is closed"):
                    worker.run_at(place, lambda: called.append(here()))
            else:
                worker.run_at(place, lambda: called.append(here()))
        assert called == ([] if closed else [identity(fd)])
    finally:
        os.close(number)
        os.close(stranger)


def test_a_place_that_is_no_namespace_is_refused() -> None:
    with open("/dev/null") as null:
        place = Held(null.fileno(), -1, -1)
        with pytest.raises(KernelError, match="enter the network namespace"):
            worker.run_at(place, here)


def test_many_threads_share_the_worker(fd: int) -> None:
    found: list[object] = []

    def many() -> None:
        found.extend(worker.inside(fd, here) for _ in range(50))

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [identity(fd)] * 400


def test_a_worker_that_cannot_go_home_is_replaced(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stranded = worker.inside(fd, threading.get_native_id)
    real = worker.setns
    home = here()

    def refuse_home(target: int, kind: int) -> None:
        if identity(target) == home:
            raise OSError(1, "no way home")
        real(target, kind)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "setns", refuse_home)
        assert worker.inside(fd, here) == identity(fd)
    assert worker.inside(fd, here) == identity(fd)
    assert worker.inside(fd, threading.get_native_id) != stranded


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="setns() is Python's own: nothing is loaded")
def test_who_waits_for_a_worker_that_cannot_load_setns_is_told(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a free descriptor; the import fails both on the way there and on the way home."""

    def load(*arguments: int) -> None:
        raise ImportError("_ctypes.so: cannot open shared object file: Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(worker, "setns", load)
        told: list[BaseException] = []

        def call() -> None:
            try:
                worker.inside(fd, here)
            except BaseException as problem:
                told.append(problem)

        waiting = threading.Thread(target=call, daemon=True)
        waiting.start()
        waiting.join(LONG)
        assert [type(each) for each in told] == [ImportError]
    assert worker.inside(fd, here) == identity(fd)


class Interrupt(BaseException):
    pass


@pytest.fixture
def interrupt() -> Iterator[Callable[[threading.Event], bool]]:
    """A handler that raises once, as Ctrl-C does, and what sends the signal until an event comes."""
    raised: list[int] = []

    def handler(number: int, frame: object) -> None:
        if not raised:
            raised.append(number)
            raise Interrupt

    def until(event: threading.Event) -> bool:
        for _ in range(1000):
            # One signal may come before the main thread's wait has begun, which then goes on.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            if event.wait(0.01):
                return True
        return False

    before = signal.signal(signal.SIGUSR1, handler)
    yield until
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("run", [worker.inside, worker.run_fresh])
def test_an_interrupted_wait_disposes_of_the_result(
    fd: int, run: Callable[..., object], interrupt: Callable[[threading.Event], bool]
) -> None:
    go, disposed = threading.Event(), threading.Event()
    kept: list[object] = []

    def slow() -> str:
        assert interrupt(go)
        return "result"

    def dispose(result: object) -> None:
        kept.append(result)
        disposed.set()

    with pytest.raises(Interrupt):
        run(fd, slow, dispose)
    assert kept == []
    go.set()
    assert disposed.wait(LONG)
    assert kept == ["result"]


def test_an_interrupted_creation_leaves_no_namespace(interrupt: Callable[[threading.Event], bool]) -> None:
    go, done = threading.Event(), threading.Event()

    def setup() -> socket.socket:
        assert interrupt(go)
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)

    def discard(made: socket.socket) -> None:
        made.close()
        done.set()

    before = os.listdir("/proc/self/fd")
    with pytest.raises(Interrupt):
        worker.create_namespace(setup, discard)
    go.set()
    assert done.wait(LONG)
    worker._worker.run(int)  # the worker has finished the job before
    assert os.listdir("/proc/self/fd") == before


def test_a_call_from_the_worker_itself_does_not_wait_for_itself(fd: int) -> None:
    other, _ = worker.create_namespace(int)
    try:
        nested = worker.inside(fd, lambda: (worker.inside(other, here), here()))
        assert nested == (identity(other), identity(fd))
    finally:
        os.close(other)


def test_a_discard_that_fails_is_told_and_the_worker_lives(
    fd: int, interrupt: Callable[[threading.Event], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    go = threading.Event()

    def fail(result: object) -> None:
        raise ValueError("no way to discard")

    with pytest.raises(Interrupt):
        worker.inside(fd, lambda: interrupt(go), fail)
    go.set()
    assert worker.inside(fd, here) == identity(fd)
    assert "no way to discard" in capsys.readouterr().err


def test_the_worker_blocks_signals_and_a_call_does_not(fd: int) -> None:
    mask = lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [])  # noqa: E731
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1} <= worker.inside(fd, mask)
    assert worker.fresh(fd, mask) == mask()


def test_a_child_after_a_fork_has_a_worker_of_its_own(fd: int) -> None:
    worker.inside(fd, here)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            made, _ = worker.create_namespace(int)
            same = worker.inside(fd, here) == identity(fd)
            status = 0 if same and worker.fresh(made, here) == identity(made) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert worker.inside(fd, here) == identity(fd)


def test_entered_moves_the_calling_thread_and_brings_it_back(fd: int) -> None:
    before = here()
    with worker.entered(fd):
        assert here() == identity(fd)
        with worker.entered(fd):
            assert here() == identity(fd)
        assert here() == identity(fd)
    assert here() == before
    with pytest.raises(ValueError, match="body"), worker.entered(fd):
        raise ValueError("body")
    assert here() == before


def test_entered_is_refused_in_a_running_loop(fd: int) -> None:
    async def inside_a_loop() -> None:
        with pytest.raises(StateError, match="event loop"), worker.entered(fd):
            pytest.fail("entered")

    asyncio.run(inside_a_loop())


def test_entered_that_cannot_go_back_says_so(fd: int) -> None:
    """On a thread that may be lost; its end takes it out of the namespace."""
    found: list[str] = []

    def lose_the_way() -> None:
        block = worker.entered(fd)
        block.__enter__()
        with open("/dev/null") as null:
            os.dup2(null.fileno(), block._home, inheritable=False)
        try:
            block.__exit__(None, None, None)
        except StateError as error:
            found.append(str(error))

    thread = threading.Thread(target=lose_the_way)
    thread.start()
    thread.join()
    assert len(found) == 1
    assert "still in the namespace" in found[0]


def test_entered_ends_on_the_thread_it_began_on(fd: int) -> None:
    block = worker.entered(fd)
    with block:
        caught: list[BaseException] = []

        def leave_elsewhere() -> None:
            try:
                block.__exit__(None, None, None)
            except StateError as error:
                caught.append(error)

        thread = threading.Thread(target=leave_elsewhere)
        thread.start()
        thread.join()
        assert len(caught) == 1
    assert open_current_identity() == here()


def open_current_identity() -> tuple[int, int]:
    fd = open_current()
    try:
        return identity(fd)
    finally:
        os.close(fd)


AT_EXIT = """
import atexit, os
from netkit._system import worker
from netkit._system.namespace_files import identity, path_identity
fd, _ = worker.create_namespace(int)
home = path_identity("/proc/thread-self/ns/net")
def late():
    where = lambda: path_identity("/proc/thread-self/ns/net")
    print(worker.inside(fd, where) == identity(fd), worker.fresh(fd, where) == identity(fd), where() == home)
atexit.register(late)
"""


def test_namespaces_can_be_entered_by_atexit_handlers() -> None:
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True True True\n", "")
