"""Classes that no module has, those of a script or notebook, on their way to another process and back.

They go by value: name, bases, attributes. Each gets a number, and what comes back from there refers to
the class by it, so that the caller gets objects of his own class.
"""

from __future__ import annotations

import sys
from abc import ABCMeta, update_abstractmethods
from functools import cached_property, lru_cache
from types import GetSetDescriptorType, MappingProxyType, MemberDescriptorType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAIN = "__main__"
_AT_FIRST = ("__module__", "__qualname__", "__doc__", "__slots__")
_MADE_AGAIN = ("__dict__", "__weakref__", "_abc_impl", "__abstractmethods__", "__classdictcell__")
# Since Python 3.14 a function makes them, which refers to all that the class was made from.
_ANNOTATIONS = ("__annotate_func__", "__annotations_cache__")
_CACHED = type(lru_cache(len))


class Classes:
    """The classes of one call, by number; the same numbers on both sides."""

    def __init__(self) -> None:
        self._numbers: dict[type, int] = {}
        self._by_number: dict[int, type] = {}

    def copy(self) -> Classes:
        """To try something with."""
        other = Classes()
        for known, number in self._numbers.items():
            other.put(known, number)
        return other

    def number_of(self, known: type) -> int | None:
        """None for one that has not gone from one side to the other."""
        return self._numbers.get(known)

    def known(self, number: int) -> type:
        """The class of this number."""
        return self._by_number[number]

    def put(self, known: type, number: int) -> None:
        """Remember it."""
        self._numbers[known] = number
        self._by_number[number] = known

    def by_value(self, going: type) -> tuple[Any, ...]:
        """What pickle is to do with a class: make an empty one, and give it its attributes."""
        number = len(self._numbers)
        self.put(going, number)
        own = vars(going)
        first = {name: own[name] for name in _AT_FIRST if name in own}
        rest = {name: value for name, value in own.items() if not _is_made_again(name, value)}
        if "__annotate_func__" in own:
            rest["__annotations__"] = _annotations(going)
        made = (type(going), going.__name__, going.__bases__, first, number)
        return new_class, made, rest, None, None, fill_class

    def make(self, kind: Any, name: str, bases: tuple[type, ...], first: dict[str, Any], number: int) -> type:
        """`new_class` where it arrives."""
        made: type = kind(name, bases, first)
        self.put(made, number)
        return made


def has_no_module(found: Any) -> bool:
    """Whether a class or a function that is cached cannot be imported on the other side."""
    return found.__module__ == MAIN or "<locals>" in found.__qualname__


def cannot_go(going: type) -> str | None:
    """Why a class cannot go by value, such as an Enum, which its metaclass makes; None if it can."""
    if type(going) in (type, ABCMeta):
        return None
    where = "the program's main module" if going.__module__ == MAIN else "a function"
    return (
        f"class {going.__qualname__} is of {where} and its metaclass is {type(going).__name__}: "
        "put it into a module of its own"
    )


def _is_made_again(name: str, value: object) -> bool:
    return name in (*_AT_FIRST, *_MADE_AGAIN, *_ANNOTATIONS) or isinstance(
        value, (GetSetDescriptorType, MemberDescriptorType)
    )


def _annotations(going: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(going, format=annotationlib.Format.FORWARDREF)
    return {}


def new_class(*made: Any) -> type:
    """Stands in a pickle for `Classes.make`."""
    raise NotImplementedError


def fill_class(made: Any, attributes: dict[str, Any]) -> None:
    """The second half: methods may refer to their class."""
    for name, value in attributes.items():
        setattr(made, name, value)
        kind: Any = value.__class__
        set_name = getattr(kind, "__set_name__", None)
        if set_name is not None:
            set_name(value, made, name)
    update_abstractmethods(made)  # of an abstract class; nothing for others


def part(found: Any) -> Any:
    """How a part of a class that pickle knows nothing of is made again; None for anything else."""
    kind: Any = found.__class__
    if kind is MappingProxyType:
        return proxy, (dict(found),)
    if kind in (staticmethod, classmethod):
        return kind, (found.__func__,)
    if kind is property:
        return kind, (found.fget, found.fset, found.fdel, found.__doc__)
    if kind is cached_property:
        return kind, (found.func,)
    if kind is _CACHED and has_no_module(found):
        return cache, (found.cache_parameters(), found.__wrapped__)
    if kind.__name__ == "ForwardRef":  # in annotations; it may hold compiled code
        return kind, (found.__forward_arg__,)
    return None


def proxy(of: dict[Any, Any]) -> Any:
    """A view of a dict: its class has no name that pickle could look up."""
    return MappingProxyType(of)


def cache(parameters: dict[str, Any], function: Any) -> Any:
    """An empty cache around a function."""
    return lru_cache(**parameters)(function)


def sentinel_name(found: object) -> str | None:
    """The name of one of the objects of dataclasses that are compared with `is`."""
    if type(found).__module__ != "dataclasses":
        return None
    return next((name for name, value in vars(sys.modules["dataclasses"]).items() if value is found), None)
