"""wait_for: looks again until a deadline, and says in the end what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from netkit import SpecError, WaitTimeout, wait_for, wait_for_async
from netkit.errors import KernelError


def _sequence(*results: object) -> Callable[[], object]:
    """A condition that gives one after the other, and raises what is an exception."""
    following: Iterator[object] = iter(results)

    def condition() -> object:
        result = next(following)
        if isinstance(result, Exception):
            raise result
        return result

    return condition


def test_the_first_true_result_is_returned() -> None:
    assert wait_for(_sequence(0, "", [7], None)) == [7]


@pytest.mark.parametrize("not_yet", [ConnectionRefusedError(), KernelError("read", 1), AssertionError()])
def test_errors_of_what_is_not_there_yet_are_waited_out(not_yet: Exception) -> None:
    assert wait_for(_sequence(not_yet, not_yet, 5)) == 5


def test_a_mistake_comes_through_at_once() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_for(_sequence(ZeroDivisionError(), 5))


def test_the_error_says_what_was_seen_last() -> None:
    with pytest.raises(
        WaitTimeout, match=r"the server did not come true within 0.01 s; at last it gave \[\]"
    ):
        wait_for(list, timeout=0.01, what="the server")


def test_the_error_comes_from_the_last_exception() -> None:
    def connected() -> bool:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(WaitTimeout, match=r"connected did not .* ConnectionRefusedError") as caught:
        wait_for(connected, timeout=0.01)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


def test_without_time_it_looks_once() -> None:
    assert wait_for(_sequence(3), timeout=0) == 3
    with pytest.raises(WaitTimeout):
        wait_for(_sequence(0, 3), timeout=0)


@pytest.mark.parametrize("timeout", [-1, "1", None, True])
def test_a_timeout_is_a_number_of_seconds(timeout: float) -> None:
    with pytest.raises(SpecError, match="timeout"):
        wait_for(lambda: 1, timeout=timeout)


def test_a_value_instead_of_a_function_is_told() -> None:
    with pytest.raises(SpecError, match="write lambda"):
        wait_for(5)  # type: ignore[arg-type]


def test_the_loop_goes_on_meanwhile() -> None:
    async def main() -> object:
        ready = asyncio.Event()
        asyncio.get_running_loop().call_soon(ready.set)
        return await wait_for_async(ready.is_set)

    assert asyncio.run(main()) is True


def test_a_coroutine_function_is_awaited() -> None:
    results = iter((0, 0, 9))

    async def condition() -> int:
        await asyncio.sleep(0)
        return next(results)

    assert asyncio.run(wait_for_async(condition)) == 9
