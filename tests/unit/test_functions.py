"""Functions on their way to another process: what can be taken along, and what says why it cannot."""

from __future__ import annotations

import os
import socket
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import pytest

from netkit._system import functions
from netkit._system.classes import Classes
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
        (Enum("Local", "A B", module="__main__"), "class Local is of the program's main module and its meta"),
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


def test_its_own_helpers_are_found_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the process of call() netkit is another one, imported anew or not at all."""
    data, _ = pack(lambda: 5)
    monkeypatch.delitem(sys.modules, functions.__name__)
    assert unpack(data, [])() == 5
    assert b"netkit._" not in data  # without the dot it may be where the project lies


# -- classes --------------------------------------------------------------------------------------------


class Exchange:
    """One call: there, and back; what comes is new there, and here the caller's own again."""

    def __init__(self) -> None:
        self.here, self.there = Classes(), Classes()

    def go(self, value: Any) -> Any:
        data, fds = pack(value, self.here)
        return unpack(data, fds, self.there)

    def come(self, value: Any) -> Any:
        data, fds = pack(value, self.there)
        return unpack(data, fds, self.here)


def test_an_object_comes_back_as_one_of_its_own_class() -> None:
    @dataclass(order=True)
    class Point:
        x: int
        more: list[int] = field(default_factory=list)

    exchange = Exchange()
    moved = exchange.go(Point(1, [2]))
    assert type(moved) is not Point
    assert asdict(replace(moved, x=3)) == {"x": 3, "more": [2]}
    assert type(moved)(5) > moved
    back = exchange.come([moved, type(moved)(7)])
    assert back == [Point(1, [2]), Point(7)]
    assert type(back[0]) is Point


def test_all_that_a_class_has_goes_along() -> None:
    class Base(ABC):
        __slots__ = ("size",)
        kind = "base"

        def __init__(self, size: int) -> None:
            self.size = size

        @abstractmethod
        def area(self) -> int: ...

        @property
        def twice(self) -> int:
            return 2 * self.area()

    class Square(Base):
        def __init__(self, size: int) -> None:
            super().__init__(size)

        def area(self) -> int:
            return self.size**2

        @staticmethod
        def corners() -> int:
            return 4

        @classmethod
        def of_one(cls) -> Square:
            return cls(1)

        @cached_property
        def text(self) -> str:
            return f"{type(self).kind} {self.size}"

    moved = Exchange().go(Square(3))
    kind = type(moved)
    assert (moved.twice, moved.text, kind.corners(), kind.of_one().size) == (18, "base 3", 4, 1)
    assert kind.__name__ == "Square"
    assert kind.__mro__[1].__slots__ == ("size",)
    with pytest.raises(TypeError, match="abstract"):
        kind.__mro__[1](1)


def test_named_tuples_and_exceptions() -> None:
    class Pair(NamedTuple):
        first: int
        second: str = "x"

    class Fault(Exception):
        pass

    exchange = Exchange()
    pair, fault = exchange.go((Pair(1), Fault("why")))
    assert pair._replace(first=2) == (2, "x")
    back = exchange.come((pair, fault))
    assert back[0] == Pair(1)
    assert type(back[0]) is Pair
    assert type(back[1]) is Fault


PROGRAM = """
from dataclasses import dataclass
from typing import NamedTuple
@dataclass
class Result:
    names: list[str]
    before: "Result | None" = None
class Pair(NamedTuple):
    first: int
    others: list[int]
"""


def test_annotations_that_are_no_strings() -> None:
    """Of a program without the import from ``__future__``: since Python 3.14 a function makes them."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(PROGRAM, "program", "exec", dont_inherit=True), names)
    result = there_and_back(names["Result"](["lo"]))
    assert asdict(result) == {"names": ["lo"], "before": None}
    assert type(result).__annotations__ == {"names": list[str], "before": "Result | None"}
    pair = there_and_back(names["Pair"](1, [2]))
    assert pair == (1, [2])
    assert type(pair).__annotations__ == {"first": int, "others": list[int]}


def test_a_class_that_is_made_there_comes_too() -> None:
    def make() -> Any:
        class Inner:
            value = 7

        return Inner()

    exchange = Exchange()
    assert exchange.come(exchange.go(make)()).value == 7


def test_a_cache_goes_empty() -> None:
    @lru_cache(maxsize=5)
    def double(number: int) -> int:
        return 2 * number

    double(1)
    moved = Exchange().go(double)
    assert moved(4) == 8
    assert moved.cache_info().misses == 1
    assert moved.cache_parameters() == double.cache_parameters()


def test_an_exception_that_is_tried_first_is_sent_whole() -> None:
    """Whether it can be packed is tried; what it refers to must not count as sent by that."""

    def fail() -> None:
        class Fault(Exception):
            pass

        raise Fault("why")

    exchange = Exchange()
    data, fds, _ = outcome_of(exchange.go(fail), exchange.there)
    kind, problem = unpack(data, fds, exchange.here)
    assert (kind, type(problem).__name__, str(problem)) == ("raised", "Fault", "why")
