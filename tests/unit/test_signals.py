"""Signals that wait: whose handlers run when, and which are given back (F03)."""

# ruff: noqa: PT012  what is raised comes at the end of a block
from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import FrameType

import pytest

from netkit._lifecycle import Leaves
from netkit._system import signals
from netkit._system.signals import (
    acquire,
    admit_signals,
    admitted_signals,
    deferred_signals,
    held_signals,
    undisturbed,
)

Here = list[int]


class Arrived(Exception):
    """What the handler raises."""


def come(number: int = signal.SIGINT) -> None:
    signal.raise_signal(number)


@pytest.fixture
def came() -> Iterator[Here]:
    """SIGINT is noted here and raises; how it was handled before is restored, and checked at the end."""
    here: Here = []

    def handle(number: int, frame: FrameType | None) -> None:
        assert frame is not None
        here.append(number)
        raise Arrived

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield here
        assert signal.getsignal(signal.SIGINT) is handle
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("hold", [held_signals, deferred_signals])
def test_it_takes_effect_at_the_end(came: Here, hold: type[held_signals]) -> None:
    with pytest.raises(Arrived), hold():
        come()
        come()
        assert came == []
    assert came == [signal.SIGINT]  # as with the kernel's own, two that wait are one


def test_the_outermost_block_counts(came: Here) -> None:
    with pytest.raises(Arrived), held_signals():
        with deferred_signals(), held_signals():
            come()
        assert came == []
    assert came == [signal.SIGINT]


def test_block_after_block(came: Here) -> None:
    """What one has taken over is used again by the next, whatever has come in between."""
    for _ in range(3):
        with held_signals():
            pass
        with pytest.raises(Arrived), held_signals():
            come()
        with deferred_signals(), held_signals():
            pass
        with held_signals(), pytest.raises(Arrived), admitted_signals():
            come()
        with pytest.raises(Arrived):
            with held_signals() as held:
                held.settle()
                come()
            os.getpid()  # Python 3.14 looks for signals at the next call, and the end of `with` is one, too
    assert came == [signal.SIGINT] * 9


def test_handlers_that_change_between_blocks(came: Here) -> None:
    theirs = signal.getsignal(signal.SIGINT)
    others: list[int] = []

    def other(number: int, frame: FrameType | None) -> None:
        others.append(number)

    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            before = signal.signal(number, other)
            for _ in range(2):
                with held_signals():
                    come(number)
                    assert others == []
                assert signal.getsignal(number) is other
                assert others.pop() == number
            signal.signal(number, before)
            with pytest.raises(Arrived), held_signals():
                come()
            assert signal.getsignal(number) is before
    finally:
        signal.signal(signal.SIGINT, theirs)
    assert len(came) == 3


@pytest.mark.parametrize("at", ["_get_handler", "_set_handler"])
def test_one_that_comes_as_a_block_begins(came: Here, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """As handlers are asked for, or when that of SIGINT is exchanged and that of SIGTERM is not."""
    function: Callable[..., object] = getattr(signals, at)
    last = signal.SIGTERM if at == "_set_handler" else signals._HELD[-1]

    def last_moment(number: int, *handler: object) -> object:
        if number == last and coming:  # and not as it is restored
            coming.clear()
            _ = [*map(_thread.interrupt_main, [signal.SIGINT])]
        return function(number, *handler)

    theirs, before = (
        signal.getsignal(signal.SIGINT),
        signal.signal(signal.SIGTERM, lambda number, frame: None),
    )
    try:
        for turn in range(0, 6, 2):
            if turn:
                with held_signals():
                    pass  # what this has taken over is used again
            coming = [signal.SIGINT]
            with monkeypatch.context() as patch, pytest.raises(Arrived):
                patch.setattr(signals, at, last_moment)
                with held_signals():
                    pass
            assert (len(came), signal.getsignal(signal.SIGINT)) == (turn + 1, theirs)
            with pytest.raises(Arrived), held_signals():  # as if there had been none before
                come()
                assert len(came) == turn + 1
    finally:
        signal.signal(signal.SIGTERM, before)


def test_where_it_is_admitted(came: Here) -> None:
    with held_signals():
        admit_signals()
        come()
        with pytest.raises(Arrived):
            admit_signals()
    with held_signals(), pytest.raises(Arrived), admitted_signals():
        come()
        pytest.fail("it goes on")
    assert len(came) == 2


def test_what_came_before_the_wait(came: Here) -> None:
    with held_signals():
        come()
        with pytest.raises(Arrived), admitted_signals():
            pytest.fail("it waits")
    assert came == [signal.SIGINT]


def test_a_second_one_does_not_disturb_the_undoing_of_the_first(came: Here) -> None:
    undone = False
    with pytest.raises(Arrived), held_signals():
        try:
            with admitted_signals():
                come()
        except Arrived:
            with admitted_signals():
                come()
                admit_signals()
            undone = True
    assert undone
    assert len(came) == 2


def test_none_is_admitted_in_an_undo(came: Here) -> None:
    with pytest.raises(Arrived), held_signals():
        with deferred_signals(), admitted_signals():
            come()
            admit_signals()
        assert came == []


def test_nor_in_a_block_within_a_wait(came: Here) -> None:
    """A finalizer may run while signals are admitted."""
    with held_signals(), admitted_signals():
        with held_signals():
            come()
            assert came == []
        with pytest.raises(Arrived):
            admit_signals()


def test_a_handler_that_raises_nothing_is_called_each_time() -> None:
    here: Here = []
    before = signal.signal(signal.SIGINT, lambda number, frame: here.append(number))
    try:
        with held_signals(), admitted_signals():
            come()
            come()
        assert len(here) == 2
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("how", [signal.SIG_IGN, signal.SIG_DFL])
def test_only_handlers_of_the_program_are_exchanged(came: Here, how: signal.Handlers) -> None:
    before = signal.signal(signal.SIGTERM, how)
    try:
        with held_signals():
            assert signal.getsignal(signal.SIGTERM) == how
            with deferred_signals():
                assert (signal.getsignal(signal.SIGTERM) == how) == (how == signal.SIG_IGN)
            assert signal.getsignal(signal.SIGTERM) == how
        assert signal.getsignal(signal.SIGTERM) == how
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_ends_the_process_does_after_an_undo() -> None:
    code = (
        "import signal\nfrom netkit._system.signals import *\n"
        "with held_signals():\n with deferred_signals():\n"
        "  signal.raise_signal(15); print('undone', flush=True)\n print('too late', flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "undone\n")


def test_an_exception_keeps_its_place_below(came: Here) -> None:
    with pytest.raises(Arrived) as raised, held_signals():
        come()
        raise ZeroDivisionError
    assert isinstance(raised.value.__context__, ZeroDivisionError)


def test_another_thread_holds_nothing_back(came: Here) -> None:
    def work() -> None:
        with held_signals(), deferred_signals(), admitted_signals():
            admit_signals()
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers: list[object] = []
    expected = signal.getsignal(signal.SIGINT)
    for held in (False, True):
        with ExitStack() as stack:
            if held:
                stack.enter_context(held_signals())
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            if held:
                come()
                assert came == []  # it has given nothing back
                with pytest.raises(Arrived):
                    admit_signals()
    assert handlers[0] is expected


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_of_another_thread_has_the_programs_handlers(came: Here) -> None:
    def work() -> None:
        pid = os.fork()
        if not pid:
            os._exit(0 if signal.getsignal(signal.SIGINT) is expected else 1)
        statuses.append(os.waitpid(pid, 0)[1])

    statuses: list[int] = []
    expected = signal.getsignal(signal.SIGINT)
    with held_signals():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert statuses == [0]


# -- results ----------------------------------------------------------------------------


def test_a_result_is_discarded(came: Here) -> None:
    def work() -> str:
        come()
        return "made"

    discarded: list[str] = []
    with pytest.raises(Arrived):
        undisturbed(work, discarded.append)
    assert discarded == ["made"]


def test_or_it_is_there_when_the_signal_takes_effect(came: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes at the last moment takes effect in the caller, who has the result by then."""

    def and_then(held: held_signals) -> None:
        settle(held)
        come()

    settle = held_signals.settle
    monkeypatch.setattr(held_signals, "settle", and_then)
    result, discarded = "", list[str]()
    with pytest.raises(Arrived):
        result = undisturbed(lambda: "made", discarded.append)
        len(result)
    assert (result, discarded) == ("made", [])


def test_a_lock_that_another_thread_has(came: Here) -> None:
    lock, taken, ended = threading.RLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            ended.wait()

    def interrupt() -> None:
        while not came:  # one that comes just before the wait begins does not end it
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            ended.wait(0.5)

    threads = [threading.Thread(target=hold), threading.Timer(0.05, interrupt)]
    threads[0].start()
    taken.wait()
    try:
        with held_signals(), pytest.raises(Arrived):
            threads[1].start()
            acquire(lock)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    acquire(lock)  # and is not left locked
    lock.release()


# -- the end of a `with` ------------------------------------------------------------------


class Left(Leaves):
    """Remembers how it was left."""

    def __init__(self, work: Callable[[], object] = lambda: None) -> None:
        self.problems: list[BaseException | None] = []
        self._work = work

    def __enter__(self) -> Left:
        return self

    def _leave(self, problem: BaseException | None) -> None:
        self.problems.append(problem)
        self._work()


def test_a_block_that_is_left() -> None:
    with Left() as left:
        pass
    assert left.problems == [None]
    with pytest.raises(ZeroDivisionError) as raised, left:
        raise ZeroDivisionError
    assert left.problems == [None, raised.value]
    left.__exit__(None, None, None)
    with ExitStack() as stack:
        stack.enter_context(left)
    assert left.problems[2:] == [None, None]


def test_signals_wait_until_it_is_left(came: Here) -> None:
    left = Left(come)
    with pytest.raises(Arrived), left:
        pass
    assert left.problems == [None]


def test_one_that_comes_as_it_begins_to_be_left(came: Here) -> None:
    """Pending when `__exit__` is called: the handler runs where the generator goes on, and is caught."""
    left = Left()
    exit_ = left.__exit__
    with pytest.raises(Arrived):
        pending()
        exit_(None, None, None)
    assert left.problems == [None]


def pending() -> None:
    """SIGINT is to be handled at the next look for signals, which is not before the caller's next call."""
    _ = [*map(_thread.interrupt_main, [signal.SIGINT])]
