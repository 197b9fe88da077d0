"""The text of a function's body as it stands in its file: what the demo prints is what ran."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable

_MARKS = ("  # fmt: skip", "  # noqa")


def body(function: Callable[..., object]) -> list[str]:
    """The lines of a function's body without its docstring and its last `return`."""
    lines = inspect.getsource(function).splitlines()
    (definition,) = ast.parse(textwrap.dedent("\n".join(lines))).body
    assert isinstance(definition, ast.FunctionDef)
    statements = definition.body
    if ast.get_docstring(definition) is not None:
        statements = statements[1:]
    if isinstance(statements[-1], ast.Return) and len(statements) > 1:
        statements = statements[:-1]
    last = statements[-1].end_lineno
    text = "\n".join(_without_marks(line) for line in lines[_first(definition) : last])
    return textwrap.dedent(text).splitlines()


def _first(definition: ast.FunctionDef) -> int:
    """The line after the docstring, comments included; counted from 0."""
    docstring = definition.body[0]
    if ast.get_docstring(definition) is None or docstring.end_lineno is None:
        return definition.body[0].lineno - 1
    return docstring.end_lineno


def _without_marks(line: str) -> str:
    """A line without the marks for the formatter, which say nothing to a reader."""
    for mark in _MARKS:
        line = line.partition(mark)[0]
    return line.rstrip()
