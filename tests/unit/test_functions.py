"""Functions on their way to another process: what can be taken along, and what says why it cannot."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from netkit._system import functions
from netkit._system.functions import Unportable, outcome_of, pack, unpack

BASE = 40


def there_and_back(value: Any) -> Any:
    data, fds = pack(value)
    return unpack(data, [os.dup(fd) for fd in fds])


def of_this_module() -> int:
    return BASE + 2


def test_a_module_s_function_is_itself() -> None:
    assert there_and_back(of_this_module) is of_this_module
    assert there_and_back(os.getpid) is os.getpid


def test_lambdas_and_closures_go_with_what_they_use() -> None:
    numbers = [1, 2]

    def inner(more: int = 3, *, times: int = 2) -> int:
        return (sum(numbers) + more + BASE) * times

    moved = there_and_back(inner)
    assert moved is not inner
    assert moved() == inner() == 92
    assert there_and_back(lambda: [os.sep, [inner() for _ in range(2)]])() == ["/", [92, 92]]


def test_a_function_that_calls_itself() -> None:
    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    assert there_and_back(factorial)(10) == 3628800


def test_a_function_of_the_main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(
        "import os\nsize = 3\ndef double(): return size * 2\ndef top(): return double() + len(os.sep)",
        namespace,
    )
    top: Callable[[], int] = there_and_back(namespace["top"])
    assert top() == 7
    namespace["size"] = 10
    assert top() == 7  # it has a copy


def test_an_empty_cell_stays_empty() -> None:
    def outer() -> Callable[[], int]:
        def inner() -> int:
            return later

        moved: Callable[[], int] = there_and_back(inner)
        later = 1
        return moved

    with pytest.raises(NameError):
        outer()()


def test_sockets_go_as_descriptors() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(5)
        twice = there_and_back({"a": one, "b": [one]})
        assert twice["a"] is twice["b"][0]
        with twice["a"] as moved:
            assert moved.gettimeout() == 5
            moved.send(b"x")
            assert other.recv(1) == b"x"


def closed_socket() -> socket.socket:
    made = socket.socket()
    made.close()
    return made


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (threading.Lock(), "cannot pickle '_thread.lock' object"),
        ((n for n in ()), "cannot pickle 'generator' object"),
        (closed_socket(), "a closed socket"),
        (type("Local", (), {"__module__": "__main__"}), "class Local is of the program's main module"),
    ],
)
def test_what_cannot_go_says_why(value: Any, why: str) -> None:
    with pytest.raises(Unportable, match=why):
        pack(value)


def test_outcomes() -> None:
    data, _, _ = outcome_of(lambda: 5)
    assert unpack(data, []) == ("returned", 5)
    data, _, _ = outcome_of(lambda: 1 // 0)
    kind, problem = unpack(data, [])
    assert (kind, type(problem)) == ("raised", ZeroDivisionError)
    assert "in the process of call()" in problem.__notes__[0]
    data, _, _ = outcome_of(threading.Lock)
    assert unpack(data, []) == ("lost", "cannot pickle '_thread.lock' object")


def test_an_exception_that_cannot_come_back() -> None:
    class Awkward(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("awkward")

    def fail() -> None:
        raise Awkward(1, 2)

    kind, problem = unpack(outcome_of(fail)[0], [])
    assert (kind, type(problem), str(problem)) == ("raised", RuntimeError, "Awkward: awkward")


def test_its_own_helpers_are_found_without_an_import() -> None:
    data, _ = pack(lambda: None)
    assert functions.__name__.encode() in data
    assert callable(unpack(data, []))
