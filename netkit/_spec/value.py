"""The base of frozen values, written by hand: dataclasses would cost 7 ms at import."""

from __future__ import annotations

from netkit._shown import Shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ClassVar, Self

_set = object.__setattr__
# become(value, class of its slots): not frozen until it becomes one of its own class again.
become: Callable[[object, type], None] = object.__dict__["__class__"].__set__


class Value(Shown):
    """A frozen object with slots: compared, hashed, shown, copied and pickled by its fields.

    A subclass lists its slots in ``_fields``, sets them in ``__init__`` through
    ``object.__setattr__``, and may leave some out of equality with ``_compared``.

    One of which there are thousands has its slots in a first base class of its own, which is not frozen,
    and is of that class while `__init__` sets them (``become``): plain assignments take half the time. Where
    a subclass may have more slots that cannot be, and they are filled from another object (``fill``).
    """

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()
    _compared: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "_compared" not in cls.__dict__:
            cls._compared = cls._fields

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: cannot delete {name!r}")

    def _key(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self._compared])

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        shown_fields = [f"{name}={getattr(self, name)!r}" for name in self._fields]
        return f"{type(self).__name__}({', '.join(shown_fields)})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    @classmethod
    def _from_fields(cls, values: tuple[object, ...]) -> Self:
        # What was pickled had been checked; the fields are set without checking them again.
        value = cls.__new__(cls)
        for name, field in zip(cls._fields, values, strict=True):
            _set(value, name, field)
        return value

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), tuple([getattr(self, name) for name in self._fields]))


def fill(value: Value, source: object) -> None:
    """Set all fields to those of another object."""
    for name in value._fields:
        _set(value, name, getattr(source, name))


def _restore(kind: type[Value], values: tuple[object, ...]) -> Value:
    return kind._from_fields(values)  # pyright: ignore[reportPrivateUsage]


def shown(value: object) -> str:
    """``repr(value)`` for a message: never longer than a line, never an exception."""
    try:
        text = repr(value)
    except Exception as error:  # repr of 10**5000 is a ValueError, of a stranger's class anything
        return f"{type_of(value)} (its repr fails: {type(error).__name__})"
    return text if len(text) <= 100 else text[:97] + "..."


def shown_path(path: str) -> str:
    """A path for a message: as it is, or quoted and escaped where it would not be seen in one line."""
    return path if path and path.isprintable() else shown(path)


def type_of(value: object) -> str:
    """The name of its type with the article: ``an int``, ``a str``."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"
