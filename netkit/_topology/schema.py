"""A table of a plan that comes from outside: its keys and values checked, errors with their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netkit._spec.value import shown
from netkit._topology.naming import place, suggestion
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeVar

    D = TypeVar("D")
    T = TypeVar("T")

_KINDS: dict[str, str] = {
    "dict": "a table",
    "list": "a list",
    "int": "an int",
    "NoneType": "nothing",
}


def at(path: str, convert: Callable[..., T], *values: Any) -> T:
    """Convert a value; what is wrong with it is said with its place."""
    try:
        return convert(*values)
    except SpecError as problem:
        raise SpecError(f"{path}: {problem}") from None


class Table:
    """A mapping with known keys. A value of None is as good as none, but where None says something."""

    __slots__ = ("_values", "path")

    def __init__(self, value: object, path: str, keys: Iterable[str]) -> None:
        given, known = mapping(value, path), list(keys)
        for key in given:
            if key not in known:
                raise SpecError(f"{place(path, key)}: there is no such key here: {suggestion(key, known)}")
        self._values = {
            key: each for key, each in given.items() if each is not None or key in ("address", "subnet")
        }
        self.path = path

    def get(self, key: str, convert: Callable[[Any], T], default: D) -> T | D:
        """What a key's value becomes, or the default where there is none."""
        if key not in self._values:
            return default
        return at(place(self.path, key), convert, self._values[key])

    def need(self, key: str) -> Any:
        """The value of a key that has to be there, as it is."""
        if key not in self._values:
            raise SpecError(f"{place(self.path, key)}: it is missing")
        return self._values[key]

    def entries(self, key: str) -> list[tuple[str, Any]]:
        """The members of a list, each with its place."""
        where = place(self.path, key)
        return [(f"{where}[{n}]", each) for n, each in enumerate(sequence(self._values.get(key), where))]

    def pairs(self, key: str) -> list[tuple[str, str, Any]]:
        """The members of a mapping: place, key and value. A list of keys is one without values."""
        where, value = place(self.path, key), self._values.get(key)
        if isinstance(value, (list, tuple)):
            return [(path, at(path, text, each), None) for path, each in self.entries(key)]
        return [(place(where, name), name, each) for name, each in mapping(value, where).items()]

    def rest(self, *without: str) -> dict[str, Any]:
        """The values of the other keys, as they are."""
        return {key: value for key, value in self._values.items() if key not in without}

    def __contains__(self, key: str) -> bool:
        return key in self._values


def mapping(value: object, path: str) -> dict[str, Any]:
    """A mapping from str; None, which is what YAML makes of nothing, is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SpecError(f"{path or 'the plan'}: {shown(value)} is {kind(value)}: a table is wanted")
    given: Mapping[object, Any] = value  # pyright: ignore[reportUnknownVariableType]
    for key in given:
        if not isinstance(key, str):
            hint = f": write it in quotes, {str(key)!r}" if isinstance(key, (bool, int, float)) else ""
            raise SpecError(f"{path or 'the plan'}: the key {shown(key)} is {kind(key)}, not a str{hint}")
    return {str(key): each for key, each in given.items()}


def sequence(value: object, path: str) -> list[Any]:
    """A list; None is an empty one."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"{path}: {shown(value)} is {kind(value)}: a list is wanted")
    return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def text(value: object) -> str:
    """A str."""
    if not isinstance(value, str):
        raise SpecError(f"{shown(value)} is {kind(value)}: a str is wanted")
    return value


def kind(value: object) -> str:
    """What a value is, in words."""
    name = type(value).__name__
    return _KINDS.get(name, f"a {name}")
