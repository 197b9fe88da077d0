"""A program: run the examples of one documentation page in namespaces of their own.

    python -m tests.harness.page docs/tutorial.md

All ```python blocks of a page share one set of globals, as if typed one after the other. A ```text block
right below one is what it prints; `# -> ...` after a print() is what that one prints. A ```console block is
a session: lines after `$ ` are run, and what follows is what comes out. In each of them numbers and spacing
are left out of the comparison, and `...` stands for anything: a line of its own for any lines. `<!-- setup
... -->` is run, not shown. A ```toml block that begins with `# lab.toml` is that file. Below `<!-- run: ip,
netkit -->` stands a table: what is in these columns is run, one column after the other. A ```python block
with a `def test_...` is a file of tests: pytest runs it, and all must pass; where a session that begins
with `$ pytest` follows, that is how it is run, and it may fail as shown.
"""

from __future__ import annotations

import builtins
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(
    r"^(?P<indent> *)(?:```(?P<kind>python|console|toml(?=\n# \S+\.toml\n))\b[^\n]*\n(?P<code>.*?)^ *```"
    r"(?:\n+ *```text\n(?P<text>.*?)^ *```)?"
    r"|<!-- setup\n(?P<setup>.*?)-->"
    r"|<!-- run: (?P<columns>[^\n]*) -->\n+(?P<table>(?:\|[^\n]*\n)+))",
    re.MULTILINE | re.DOTALL,
)
_SHELL = ("ip", "nft", "shell")  # tables' columns of commands; all others are Python


INCLUDED = "--8<--"  # a whole program from a file (pymdownx.snippets), which has a test of its own


class Block(NamedTuple):
    """One example, the line of the page it begins at, and what it is shown to print."""

    kind: str
    code: str
    line: int
    text: str | None = None


def blocks(text: str) -> Iterator[Block]:
    """The runnable blocks of a page in their order."""
    for match in _BLOCK.finditer(text):
        # The line after the fence, counted from 1.
        line = text[: match.start()].count("\n") + 2
        if match["table"]:
            yield from _columns(match["columns"].split(", "), match["table"], line)
            continue
        code = match["code"] if match["kind"] else match["setup"]
        indent = len(match["indent"])
        dedented = "".join(line[indent:] if line.strip() else line for line in code.splitlines(True))
        yield Block(match["kind"] or "python", dedented, line, match["text"])


def _columns(names: list[str], table: str, line: int) -> Iterator[Block]:
    """What is typed in some columns of a table: everything between backticks."""
    rows = [re.split(r"(?<!\\)\|", row)[1:-1] for row in table.splitlines()]
    titles = [cell.strip(" `") for cell in rows[0]]
    for name in names:
        cells = [row[titles.index(name)] for row in rows[2:]]
        code = [typed.replace("\\|", "|") for cell in cells for typed in re.findall("`([^`]+)`", cell)]
        yield Block("shell" if name in _SHELL else "cells", "\n".join(code) + "\n", line)


def run_page(path: Path) -> None:
    """Run every block; the first that fails raises, with the page's own line numbers."""
    names: dict[str, object] = {"__name__": "__main__"}
    found = list(blocks(path.read_text()))
    for block, following in zip(found, [*found[1:], None], strict=True):
        where = f"{path}:{block.line}"
        if block.code.startswith(INCLUDED):
            continue
        if block.kind == "python" and _TESTS.search(block.code):
            _write_tests(block)
            if following is None or not following.code.startswith("$ pytest"):
                _compare(where, "pytest -q", ["..."])
        elif block.kind == "console":
            for command, expected in sessions(block.code):
                _compare(where, command, expected)
        elif block.kind == "toml":
            Path(block.code.split()[1]).write_text(block.code)
        elif block.kind == "shell":
            for command in block.code.splitlines():
                _compare(where, command, ["..."])
        else:
            _run(block, str(path), names)


def _run(block: Block, path: str, names: dict[str, object]) -> None:
    """A block of Python; what it prints is what it is shown to print."""
    printed = io.StringIO()
    said: dict[int, str] = {}
    real = print

    def tapped(*values: object, sep: str | None = " ", end: str | None = "\n", **others: object) -> None:
        caller = sys._getframe(1)
        if caller.f_code.co_filename == path:
            text = (" " if sep is None else sep).join(map(str, values))
            said[caller.f_lineno] = said.get(caller.f_lineno, "") + text + "\n"
        real(*values, sep=sep, end=end, **others)  # type: ignore[call-overload]

    builtins.print = tapped
    try:
        with redirect_stdout(printed if block.text is not None else sys.stdout):
            # Blank lines before the code give tracebacks the page's line numbers.
            exec(compile("\n" * (block.line - 1) + block.code, path, "exec"), names)
    finally:
        builtins.print = real
    for number, line in enumerate(block.code.splitlines(), block.line):
        if match := re.search(r"\bprint\(.*\)\s+# -> (.*)", line):
            _match(f"{path}:{number}", [match[1]], said.get(number, "").splitlines())
    if block.text is not None:
        _match(f"{path}:{block.line}", block.text.splitlines(), printed.getvalue().splitlines())


_TESTS = re.compile(r"^(async )?def test_", re.MULTILINE)


def _write_tests(block: Block) -> None:
    """In the present directory, which is the page's own."""
    Path("test_page.py").write_text(block.code)


def sessions(code: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines printed below it."""
    for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, *expected = part.splitlines()
        yield command, expected


def _compare(where: str, command: str, expected: list[str]) -> None:
    argv = shlex.split(command, comments=True)
    if argv[0] in ("netkit", "pytest"):
        argv = [sys.executable, "-m", *argv]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode and not (expected and "pytest" in argv and done.returncode == 1):
        raise SystemExit(f"{where}: {command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    _match(f"{where}: {command}", expected, done.stdout.splitlines())


def _match(where: str, expected: list[str], printed: list[str]) -> None:
    if not is_printed(expected, printed):
        raise SystemExit(
            f"{where}: it is to print\n" + "\n".join(expected) + "\nbut says\n" + "\n".join(printed)
        )


def is_printed(expected: list[str], printed: list[str]) -> bool:
    """Whether the printed lines are the expected ones: all of them, but for numbers, spacing and `...`."""
    lines = [_loose(line) for line in expected if line.strip()]
    pattern = "".join([r"(?:.*\n)*?" if line == "..." else _with_gaps(line) + r"\n" for line in lines])
    return bool(re.fullmatch(pattern, "".join([_loose(line) + "\n" for line in printed if line.strip()])))


def _with_gaps(line: str) -> str:
    return ".*".join([re.escape(part) for part in re.split(r" ?\.\.\. ?", line)])


def _loose(line: str) -> str:
    return " ".join(re.sub(r"\d+(\.\d+)?(e-?\d+)?", "0", line).split())


if __name__ == "__main__":
    from tests.harness.isolation import isolate

    reason = isolate()
    if reason:
        sys.exit(reason)
    page = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        run_page(page)
