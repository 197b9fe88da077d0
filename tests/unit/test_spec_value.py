from __future__ import annotations

import copy
import pickle

import pytest

from netkit._spec.address import Address
from netkit._spec.routes import Route
from netkit._spec.value import Value, shown, shown_path

_set = object.__setattr__


class Point(Value):
    __slots__ = _fields = ("x", "y", "note")
    _compared = ("x", "y")

    def __init__(self, x: int, y: int, note: str = "") -> None:
        _set(self, "x", x)
        _set(self, "y", y)
        _set(self, "note", note)


class Pair(Value):
    __slots__ = _fields = ("x", "y")

    def __init__(self, x: int, y: int) -> None:
        _set(self, "x", x)
        _set(self, "y", y)


def test_equality_leaves_out_what_is_not_compared() -> None:
    assert Point(1, 2, "a") == Point(1, 2, "b")
    assert hash(Point(1, 2, "a")) == hash(Point(1, 2, "b"))
    assert Point(1, 2) != Point(2, 1)
    assert Pair(1, 2) != Point(1, 2)
    assert Pair(1, 2) != (1, 2)
    assert Pair(1, 2) != Pair(1, 3)


def test_frozen() -> None:
    point = Point(1, 2)
    for name in ("x", "z"):
        with pytest.raises(AttributeError, match=f"Point is frozen: cannot set '{name}'"):
            setattr(point, name, 3)
        with pytest.raises(AttributeError, match=f"Point is frozen: cannot delete '{name}'"):
            delattr(point, name)
    assert not hasattr(point, "__dict__")


def test_repr_copy_and_pickle() -> None:
    point = Point(1, 2, "a")
    assert repr(point) == "Point(x=1, y=2, note='a')"
    assert copy.copy(point) is point
    assert copy.deepcopy([point])[0] is point
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(point, protocol))
        assert again == point
        assert again.note == "a"


def test_a_path_in_a_message_is_one_line() -> None:
    assert shown_path("/run/netns/a b") == "/run/netns/a b"
    assert shown_path("") == "''"
    assert shown_path("/a\n\x1b[2J") == r"'/a\n\x1b[2J'"


def test_what_a_message_shows_is_short_and_never_raises() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert shown("x") == "'x'"
    assert len(shown("x" * 1000)) == 100
    assert shown(Broken()) == "a Broken (its repr fails: RuntimeError)"
    assert shown(10**5000).startswith("an int")


class NamedAddress(Address):
    """As a program may have it: with what is more than slots."""

    def named(self) -> str:
        return f"<{self}>"


class NamedRoute(Route):
    pass


def test_a_subclass_may_have_more_than_slots() -> None:
    address = NamedAddress(bytes([10, 0, 0, 1]), 24, label="x")
    route = NamedRoute("default", 4, dev="eth0")
    assert (type(address), address.named(), address.label) == (NamedAddress, "<10.0.0.1/24>", "x")
    assert (type(route), route.dev, route.flags) == (NamedRoute, "eth0", frozenset())
    for value, usual in ((address, Address.parse("10.0.0.1/24")), (route, Route("default", 4, dev="eth0"))):
        for each in (value, usual):
            with pytest.raises(AttributeError, match="is frozen"):
                each.scope = "link"
        assert pickle.loads(pickle.dumps(value)) == value
        assert not hasattr(usual, "__dict__")
