"""The networks of a failed test: sections of its report, and files in its tmp_path."""

from __future__ import annotations

import os
import select
from itertools import pairwise
from pathlib import Path

import pytest

from netkit._display.sources import of_named
from netkit._fixtures.lab import labs_of
from netkit._known import runtime_of
from netkit._sockets import sockets_text
from netkit.errors import NetkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from netkit._display.picture import Picture
    from netkit._fixtures.lab import Lab
    from netkit._namespace import Namespace
    from netkit._system.started import Process

DIRECTORY = "netkit"
_LAST_OUTPUT = 2000  # characters of each stream of a program
# What is in every namespace, and tells nothing: the report leaves it out, the files have it.
_ALWAYS = (" table local ", ": from all lookup ")


def add_networks(item: pytest.Item, report: pytest.TestReport) -> None:
    """A section for each namespace of the test's fixtures, and one that says where the files are.

    Whatever goes wrong here is told, and does not hide why the test failed.
    """
    labs = labs_of(item)
    if not any(lab.namespaces for lab in labs):
        return
    texts = {label: _described(namespace) for lab in labs for label, namespace in lab.namespaces}
    for label, text in texts.items():
        report.sections.append((f"netkit: namespace {label}", _without_the_usual(text)))
    picture = _picture(labs)
    if picture is not None:
        report.sections.append(("netkit: picture", str(picture)))
    try:
        directory = _directory(item)
        _save(directory, labs, texts)
        if picture is not None:
            (directory / "picture.svg").write_text(picture.to_svg())
        told = str(directory)
    except OSError as problem:
        told = f"the files could not be written: {problem}"
    report.sections.append(("netkit: files", told))


def _picture(labs: list[Lab]) -> Picture | None:
    try:
        return of_named([each for lab in labs for each in lab.namespaces])
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


def _save(directory: Path, labs: list[Lab], texts: dict[str, str]) -> None:
    for lab in labs:
        for label, capture in lab.captures.items():
            capture.stop()  # what was in the ring is there now
            capture.save(directory / f"{label.replace('/', '_')}.pcapng")
    for label, text in texts.items():
        (directory / f"{label.replace('/', '_')}.txt").write_text(text + "\n")
