"""JSON, TOML and YAML: from text to plain values. A name that is there twice is refused, not lost."""

from __future__ import annotations

from netkit._spec.value import type_of
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def from_json(content: str | bytes) -> Any:
    """The value of a JSON text."""
    import json

    _check_text(content)
    try:
        return json.loads(content, object_pairs_hook=_once_each)
    except SpecError:
        raise
    except (ValueError, RecursionError) as problem:  # among others: too many digits, too deep
        raise SpecError(f"this is no JSON: {problem}") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise SpecError(f"this JSON has the key {twice!r} twice in one object")
    return found


def from_toml(content: str | bytes) -> Any:
    """The value of a TOML text."""
    import tomllib

    _check_text(content)
    try:
        return tomllib.loads(content if isinstance(content, str) else content.decode())
    except (ValueError, RecursionError) as problem:
        raise SpecError(f"this is no TOML: {problem}") from None


def from_yaml(content: str | bytes) -> Any:
    """The value of a YAML text, of the types that JSON has too."""
    from importlib import import_module

    _check_text(content)
    try:
        yaml: Any = import_module("yaml")
    except ImportError:
        raise SpecError(
            "YAML needs the package PyYAML, which is not installed: pip install PyYAML; "
            "JSON and TOML need nothing"
        ) from None
    try:
        _refuse_twice(yaml.compose(content, Loader=yaml.SafeLoader), set())
        return yaml.safe_load(content)
    except SpecError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise SpecError(f"this is no YAML: {problem}") from None


def _check_text(content: object) -> None:
    """A file would be read twice, and the second time be empty."""
    if not isinstance(content, (str, bytes)):
        raise TypeError(f"a str or bytes is wanted, not {type_of(content)}; Topology.load(PATH) reads a file")


def _refuse_twice(node: Any, seen: set[int]) -> None:
    """PyYAML takes the last of two equal keys without a word."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if node.id == "mapping":
        keys: set[str] = set()
        for key, value in node.value:
            if key.id == "scalar":  # what else it may be, is no str, and refused with its place
                if key.value in keys:
                    line = key.start_mark.line + 1
                    raise SpecError(
                        f"this YAML has the key {key.value!r} twice in one mapping, in line {line}"
                    )
                keys.add(key.value)
            _refuse_twice(value, seen)
    elif node.id == "sequence":
        for each in node.value:
            _refuse_twice(each, seen)


FORMATS = {".json": from_json, ".toml": from_toml, ".yaml": from_yaml, ".yml": from_yaml}
