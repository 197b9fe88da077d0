"""Calls whose end is looked at: what they raise, here, on many threads at once, or in a forked child."""

from __future__ import annotations

import os
import threading
import traceback
import warnings
from collections.abc import Callable

from tests.harness.patience import LONG


def outcome(work: Callable[[], object]) -> BaseException | None:
    """The exception that some work ends in, of whatever kind; None if it does not."""
    try:
        work()
    except BaseException as problem:
        return problem
    return None


def at_once(count: int, work: Callable[[int], object]) -> list[BaseException]:
    """Run the work on so many threads, which begin together, with numbers from 0; their exceptions."""
    barrier = threading.Barrier(count)
    problems: list[BaseException] = []

    def body(number: int) -> None:
        barrier.wait()
        problem = outcome(lambda: work(number))
        if problem is not None:
            problems.append(problem)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads)
    return problems


def in_child(work: Callable[[], object]) -> None:
    """Run the work in a forked child; what it raises, warnings among them, fails the test."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside a thread, from Python 3.12 on
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            warnings.simplefilter("error")
            work()
            status = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading) as output:
        text = output.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text
