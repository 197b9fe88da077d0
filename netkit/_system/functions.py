"""Functions and values on their way to another process of the same Python, and back.

Pickle, and beyond it: functions that no module has (lambdas, closures, those of a notebook or script)
go as their code, with the globals that they use, and so do classes (classes.py); sockets and namespaces
go as descriptors.
"""

from __future__ import annotations

import importlib
import io
import marshal
import pickle
import socket
import sys
from types import CellType, CodeType, FunctionType, ModuleType

from netkit._system import classes as _classes
from netkit._system.classes import MAIN, Classes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Unportable(Exception):
    """What cannot be taken along; the text says why."""


class Descriptor:
    """A number in an object's ``__reduce__`` that is a descriptor: where it arrives it is another int."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> Any:
        raise TypeError("an open namespace is this process's own: it cannot be pickled")


def pack(value: object, classes: Classes | None = None) -> tuple[bytes, list[int]]:
    """The bytes of a value, and the descriptors of the sockets in it, which stay the caller's."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, classes or Classes())
    try:
        pickler.dump(value)
    except Unportable:
        raise
    except Exception as problem:  # pickle raises whatever an object's own methods do
        raise Unportable(str(problem) or type(problem).__name__) from problem
    return buffer.getvalue(), pickler.fds


def unpack(data: bytes, fds: Sequence[int], classes: Classes | None = None) -> Any:
    """The value again; the sockets in it take their descriptors over."""
    return _Unpickler(io.BytesIO(data), fds, classes or Classes()).load()


def new_classes() -> Classes:
    """None yet: each call has its own."""
    return Classes()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, classes: Classes) -> None:
        super().__init__(file, 5)
        self.fds: list[int] = []
        self._classes = classes
        self._numbers: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> Any:
        # By name: in the process of call() netkit has been imported anew.
        if (type(obj).__module__, type(obj).__name__) == (__name__, "Descriptor"):
            self.fds.append(obj.fd)
            return ("descriptor", len(self.fds) - 1, None)
        if isinstance(obj, FunctionType):  # ours by name: there netkit has been imported anew
            return ("ours", obj.__name__, None) if _ours(obj.__name__) is obj else None
        if isinstance(obj, type):
            number = self._classes.number_of(obj)
            return None if number is None else ("class", number, None)
        if (name := _classes.sentinel_name(obj)) is not None:
            return ("dataclasses", name, None)
        if not isinstance(obj, socket.socket):
            return None
        if obj.fileno() < 0:
            raise Unportable("a closed socket")
        if id(obj) not in self._numbers:
            self._numbers[id(obj)] = len(self.fds)
            self.fds.append(obj.fileno())
        return ("socket", self._numbers[id(obj)], obj.gettimeout())

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, ModuleType):
            return importlib.import_module, (obj.__name__,)
        if isinstance(obj, FunctionType) and not _is_importable(obj):
            return _by_value(obj)
        if isinstance(obj, type):
            return self._of_class(obj)
        return _classes.part(obj) or NotImplemented

    def _of_class(self, obj: type) -> Any:
        if not _classes.has_no_module(obj):
            return NotImplemented
        if reason := _classes.cannot_go(obj):
            raise Unportable(reason)
        return self._classes.by_value(obj)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, fds: Sequence[int], classes: Classes) -> None:
        super().__init__(file)
        self._fds = fds
        self._classes = classes
        self._sockets: dict[int, socket.socket] = {}

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "ours":
            return self._classes.make if pid[1] == "new_class" else _ours(pid[1])
        if pid[0] == "dataclasses":
            return getattr(importlib.import_module("dataclasses"), pid[1])
        number: int = pid[1]
        if pid[0] == "class":
            return self._classes.known(number)
        if pid[0] == "descriptor":
            return self._fds[number]
        timeout: float | None = pid[2]
        if number not in self._sockets:
            made = self._sockets[number] = socket.socket(fileno=self._fds[number])
            made.settimeout(timeout)
        return self._sockets[number]


def _ours(name: str) -> Any:
    """The function of this name that makes something again."""
    return globals().get(name) or getattr(_classes, name, None)


def _is_importable(function: FunctionType) -> bool:
    if function.__module__ == MAIN:
        return False
    found: Any = sys.modules.get(function.__module__ or "")
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def _by_value(function: FunctionType) -> tuple[Any, ...]:
    code = function.__code__
    cells = function.__closure__ or ()
    used = {name: function.__globals__[name] for name in _names(code) if name in function.__globals__}
    state = {
        "globals": used,
        "defaults": function.__defaults__,
        "keywords": function.__kwdefaults__,
        "attributes": dict(vars(function)),
        "cells": [[cell.cell_contents] if _is_filled(cell) else [] for cell in cells],
    }
    made = (marshal.dumps(code), function.__module__, function.__qualname__, len(cells))
    return _new_function, made, state, None, None, _fill_function


def _names(code: CodeType) -> set[str]:
    """The names that the code, and the code in it, may look up among the globals."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _new_function(code: bytes, module: str, qualified: str, cells: int) -> FunctionType:
    namespace = {"__name__": module, "__builtins__": __builtins__}
    made = FunctionType(marshal.loads(code), namespace, closure=tuple(CellType() for _ in range(cells)))
    made.__qualname__ = qualified
    made.__module__ = module
    return made


def _fill_function(function: FunctionType, state: dict[str, Any]) -> None:
    function.__globals__.update(state["globals"])
    function.__defaults__ = state["defaults"]
    function.__kwdefaults__ = state["keywords"]
    vars(function).update(state["attributes"])
    for cell, contents in zip(function.__closure__ or (), state["cells"], strict=True):
        if contents:
            cell.cell_contents = contents[0]


def outcome_of(call: Callable[[], object], classes: Classes | None = None) -> tuple[bytes, list[int], object]:
    """Make a call: its result or exception, packed; and the object itself, which holds the descriptors."""
    classes = classes or Classes()
    try:
        result: object = ("returned", call())
    except BaseException as problem:
        result = ("raised", _portable(problem, classes))
    try:
        return (*pack(result, classes), result)
    except Unportable as problem:
        return (*pack(("lost", str(problem))), result)


def _portable(problem: BaseException, classes: Classes) -> BaseException:
    import traceback

    text = "".join(traceback.format_exception(problem))
    try:
        tried = classes.copy()
        data, _ = pack(problem, tried)
        unpack(data, [], tried)
    except Exception:
        problem = RuntimeError(f"{type(problem).__name__}: {problem}")
    problem.add_note("It was raised in the process of call():\n" + text)
    return problem
