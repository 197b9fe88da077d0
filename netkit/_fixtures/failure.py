"""The networks of a failed test: sections of its report, and files in its tmp_path."""

from __future__ import annotations

import os
import select
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from netkit._capture.capture import stop_all
from netkit._display.sources import of_named
from netkit._fixtures.lab import labs_of
from netkit._known import runtime_of
from netkit._sockets import sockets_text
from netkit.errors import NetkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO, Any, TypeVar

    from netkit._display.picture import Picture
    from netkit._fixtures.lab import Lab
    from netkit._namespace import Namespace
    from netkit._system.started import Process

    T = TypeVar("T")

DIRECTORY = "netkit"
_LAST_OUTPUT = 2000  # characters of each stream of a program
# What is in every namespace, and tells nothing: the report leaves it out, the files have it.
_ALWAYS = (" table local ", ": from all lookup ")


def add_networks(item: pytest.Item, report: pytest.TestReport) -> None:
    """A section for each namespace of the test's fixtures, and one that says where the files are.

    Whatever goes wrong here is told, and does not hide why the test failed.
    """
    labs = labs_of(item)
    namespaces = _by_label((lab, lab.namespaces) for lab in labs)
    if not namespaces:
        return
    texts = {label: _described(namespace) for label, namespace in namespaces.items()}
    for label, text in texts.items():
        report.sections.append((f"netkit: namespace {label}", _without_the_usual(text)))
    picture = _picture(namespaces)
    if picture is not None:
        report.sections.append(("netkit: picture", str(picture)))
    files: dict[str, Callable[[Path], object]] = {
        f"{label}.txt": partial(_write, text=text + "\n") for label, text in texts.items()
    }
    if picture is not None:
        files["picture.svg"] = partial(_write, text=picture.to_svg())
    captures = _by_label((lab, lab.captures.items()) for lab in labs)
    if captures:
        stop_all(captures.values())  # what was in their rings is there now
    # These come last: what is small is written even where the disk is nearly full.
    files |= {f"{label}.pcapng": capture.save for label, capture in captures.items()}
    report.sections.append(("netkit: files", "\n".join(_saved(item, files))))


def _by_label(of_labs: Iterable[tuple[Lab, Iterable[tuple[str, T]]]]) -> dict[str, T]:
    """What belongs to a module is called as its fixture is, ``module_netns``, beside the test's ``netns``."""
    found: dict[str, T] = {}
    for lab, labelled in of_labs:
        for label, thing in labelled:
            called = label if lab.scope == "function" else f"{lab.scope}_{label}"
            while called in found:
                called += "+"
            found[called] = thing
    return found


def _picture(namespaces: dict[str, Namespace]) -> Picture | None:
    try:
        return of_named(list(namespaces.items()))
    except (NetkitError, OSError):
        return None  # a namespace that the test has deleted: its section says so


def _without_the_usual(text: str) -> str:
    lines = text.splitlines()
    kept = [line for line in lines if not any(part in line for part in _ALWAYS)]
    return "\n".join([line for line, following in pairwise([*kept, ""]) if not _is_empty(line, following)])


def _is_empty(line: str, following: str) -> bool:
    """A heading with nothing below it."""
    return line.endswith(":") and not line.startswith(" ") and not following.startswith(" ")


# -- a namespace ----------------------------------------------------------------------


def _described(namespace: Namespace) -> str:
    parts: list[str] = []
    for part in (_configuration, _sockets, _programs):
        try:
            parts += part(namespace)
        except (NetkitError, OSError) as problem:
            parts.append(f"{part.__name__[1:]}: {problem}")
    return "\n".join(parts)


def _configuration(namespace: Namespace) -> list[str]:
    return [str(namespace.snapshot())]


def _sockets(namespace: Namespace) -> list[str]:
    lines = sockets_text(runtime_of(namespace))
    return ["sockets:", *[f"  {line}" for line in lines]] if lines else []


def _programs(namespace: Namespace) -> list[str]:
    lines: list[str] = []
    for process in namespace._processes().started:
        lines += [f"  {line}" for line in _program(process)]
    return ["programs:", *lines] if lines else []


def _program(process: Process) -> Iterator[str]:
    status = process.poll()
    yield f"{process.pid} {process.command}: " + ("runs" if status is None else f"ended with {status}")
    for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
        text = "" if stream is None else _unread(stream)
        for line in text[-_LAST_OUTPUT:].splitlines():
            yield f"  {name}: {line}"


def _unread(stream: IO[Any]) -> str:
    """What a program has written to a pipe and the test has not read."""
    if stream.closed:
        return ""
    number, content = stream.fileno(), b""
    while select.select([number], [], [], 0)[0]:
        some = os.read(number, 1 << 16)
        if not some:
            break
        content += some
    return content.decode(errors="replace")


# -- files ----------------------------------------------------------------------------


def _directory(item: pytest.Item) -> Path:
    """``netkit`` in the test's tmp_path, which is made for it if the test has none."""
    request: pytest.FixtureRequest | None = getattr(item, "_request", None)
    try:
        assert request is not None
        made: Path = request.getfixturevalue("tmp_path")
    except (AssertionError, pytest.FixtureLookupError):  # its fixtures did not get that far
        raise OSError("this test has no tmp_path") from None
    directory = made / DIRECTORY
    directory.mkdir(exist_ok=True)
    return directory


def _saved(item: pytest.Item, files: dict[str, Callable[[Path], object]]) -> Iterator[str]:
    """Writes all it can; says where, and what could not be written."""
    try:
        directory = _directory(item)
    except OSError as problem:
        yield f"the files could not be written: {problem}"
        return
    yield str(directory)
    for name, write in files.items():
        path = directory / name.replace("/", "_")
        try:
            write(path)
        except OSError as problem:
            yield f"{path.name} could not be written: {problem}"


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", "backslashreplace")
