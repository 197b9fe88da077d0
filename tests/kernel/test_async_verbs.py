"""run_async, call_async and ping_async: the loop goes on, many wait at once, what is cancelled ends."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable

import pytest

from netkit import CommandError, Namespace, SpecError, wait_for
from tests.harness.patience import LONG


def test_a_program_s_output_comes_back(host: Namespace) -> None:
    done = asyncio.run(host.run_async(["cat"], input="one\n", capture_output=True, text=True))
    assert (done.returncode, done.stdout) == (0, "one\n")


def test_its_errors_are_those_of_run(host: Namespace) -> None:
    with pytest.raises(CommandError, match="status 3"):
        asyncio.run(host.run_async(["sh", "-c", "exit 3"], check=True))
    with pytest.raises(SpecError, match="the command is empty"):
        asyncio.run(host.run_async([]))


def test_a_hundred_wait_at_once(host: Namespace) -> None:
    """Each waits for all: one that was queued behind the others would wait for ever."""
    together = threading.Barrier(20, timeout=LONG)

    async def main() -> list[int]:
        return await asyncio.gather(*[host.call_async(_meet, together.wait) for _ in range(20)])

    if host._live_runtime().opener.guarded and os.geteuid() == 0:
        assert sorted(asyncio.run(main())) == list(range(20))

    async def pings() -> list[int]:
        results = await asyncio.gather(*[host.ping_async("127.0.0.1") for _ in range(100)])
        return [result.received for result in results]

    assert asyncio.run(pings()) == [1] * 100


def _meet(wait: Callable[[], int]) -> int:
    return wait()


def test_the_loop_goes_on_meanwhile(host: Namespace) -> None:
    reading, writing = os.pipe()

    async def main() -> str:
        waiting = asyncio.create_task(host.run_async(["cat"], stdin=reading, capture_output=True, text=True))
        await asyncio.sleep(0)
        os.write(writing, b"from the loop")
        os.close(writing)
        return str((await waiting).stdout)

    assert asyncio.run(main()) == "from the loop"
    os.close(reading)


def test_a_cancelled_program_is_dead_when_the_task_is(host: Namespace) -> None:
    async def main() -> None:
        task = asyncio.create_task(host.run_async(["sleep", "1000"]))
        while not host._processes().running:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not host._processes().running

    asyncio.run(main())


def test_one_that_is_cancelled_before_it_starts_is_dead_too(host: Namespace) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await host.run_async(["sleep", "1000"])

    asyncio.run(main())
    assert not host._processes().running


def test_a_cancelled_call_is_left_alone(host: Namespace) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await host.ping_async("127.0.0.1", count=2, interval=0.1)

    asyncio.run(main())
    wait_for(
        lambda: not [each for each in threading.enumerate() if each.name == "netkit-await"], timeout=LONG
    )


def test_exceptions_come_back(host: Namespace) -> None:
    with pytest.raises(OSError, match="refused"):
        asyncio.run(host.call_async(socket.create_connection, ("127.0.0.1", 9)))
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(host.call_async(next, iter(())))
