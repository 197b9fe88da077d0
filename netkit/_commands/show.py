"""`netkit show`: the namespaces of this machine as one picture. Nothing is changed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from netkit import Namespace, Picture
from netkit._display.model import Box
from netkit._display.sources import of_named
from netkit._spec.value import shown_path
from netkit._system.nsfs import NETNS_DIRECTORY
from netkit.errors import NetkitError, NotFoundError, SpecError

HERE = "here"


def show(names: Sequence[str], as_json: bool, html: str | None) -> None:
    """Print them, all or those that are named; write the page if one is asked for."""
    if as_json and html == "-":
        raise SpecError("--json and --html - both write to the standard output: give --html a file")
    picture = _of(names)
    if html is not None:
        _write(html, picture.to_html())
    if as_json:
        print(json.dumps(picture.to_dict()))
    elif html != "-":
        print(_printable(str(picture)))


def _of(names: Sequence[str]) -> Picture:
    opened: list[tuple[str, Namespace]] = []
    refused: list[Box] = []
    try:
        for name in names or [HERE, *registered()]:
            try:
                opened.append((name, _open(name)))
            except NotFoundError:
                if names:
                    raise
                refused.append(Box(f"r{len(refused)}", name, state="stale: it leads to no namespace"))
            except (NetkitError, OSError) as problem:
                if names:
                    raise
                refused.append(Box(f"r{len(refused)}", name, state=str(problem)))
        picture = of_named(opened)
    finally:
        for _, netns in opened:
            netns.close()
    return Picture([*picture.boxes, *refused], picture.wires, "the namespaces of this machine")


def _open(name: str) -> Namespace:
    if name == HERE:
        return Namespace.current()
    if name.isdecimal() and name not in registered():
        return Namespace.from_pid(int(name))
    return Namespace.open(name)


def registered() -> list[str]:
    """The names in /run/netns."""
    try:
        return sorted(os.listdir(NETNS_DIRECTORY))
    except OSError:
        return []  # there is no such directory before the first name


def _write(path: str, page: str) -> None:
    if path == "-":
        print(page, end="")
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
    except OSError as problem:
        raise SpecError(f"--html {shown_path(path)}: {problem.strerror}") from None


def _printable(text: str) -> str:
    """In what the terminal can show: the branches of trees are not in every encoding."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for line, plain in (("├─", "|-"), ("└─", "`-"), ("│", "|"), ("──", "--"), ("→", "->"), ("…", "...")):
            text = text.replace(line, plain)
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
