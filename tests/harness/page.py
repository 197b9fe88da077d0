"""A program: run the examples of one documentation page in namespaces of their own.

    python -m tests.harness.page docs/tutorial.md

All ```python blocks of a page share one set of globals, as if typed one after the other. A ```console
block is a session: lines after `$ ` are run, and what follows must come out, in this order, with digits
and spacing left out of the comparison; `...` stands for anything. `<!-- setup ... -->` is run, not shown.
A ```python block with a `def test_...` is a file of tests: pytest runs it, and all must pass; where a session
that begins with `$ pytest` follows, that is how it is run, and it may fail as shown.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(
    r"^(?P<indent> *)(?:```(?P<kind>python|console)\b[^\n]*\n(?P<code>.*?)^ *```"
    r"|<!-- setup\n(?P<setup>.*?)-->)",
    re.MULTILINE | re.DOTALL,
)


INCLUDED = "--8<--"  # a whole program from a file (pymdownx.snippets), which has a test of its own


class Block(NamedTuple):
    """One example, and the line of the page it begins at."""

    kind: str
    code: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    """The runnable blocks of a page in their order."""
    for match in _BLOCK.finditer(text):
        code = match["code"] if match["kind"] else match["setup"]
        indent = len(match["indent"])
        dedented = "".join(line[indent:] if line.strip() else line for line in code.splitlines(True))
        # The line after the fence, counted from 1.
        yield Block(match["kind"] or "python", dedented, text[: match.start()].count("\n") + 2)


def run_page(path: Path) -> None:
    """Run every block; the first that fails raises, with the page's own line numbers."""
    names: dict[str, object] = {"__name__": "__main__"}
    found = list(blocks(path.read_text()))
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.code.startswith(INCLUDED):
            continue
        if block.kind == "python" and _TESTS.search(block.code):
            _write_tests(block)
            if following is None or not following.code.startswith("$ pytest"):
                _compare(f"{path}:{block.line}", "pytest -q", [])
        elif block.kind == "python":
            # Blank lines before the code give tracebacks the page's line numbers.
            exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), names)
        else:
            for command, expected in sessions(block.code):
                _compare(f"{path}:{block.line}", command, expected)


_TESTS = re.compile(r"^(async )?def test_", re.MULTILINE)


def _write_tests(block: Block) -> None:
    """In the present directory, which is the page's own."""
    Path("test_page.py").write_text(block.code)


def sessions(code: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines printed below it."""
    for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, *expected = part.splitlines()
        yield command, [line for line in expected if line.strip()]


def _compare(where: str, command: str, expected: list[str]) -> None:
    argv = shlex.split(command, comments=True)
    if argv[0] in ("netkit", "pytest"):
        argv = [sys.executable, "-m", *argv]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode and not (expected and "pytest" in argv and done.returncode == 1):
        raise SystemExit(f"{where}: {command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    missing = first_missing(expected, done.stdout)
    if missing is not None:
        raise SystemExit(f"{where}: {command}: does not print\n{missing}\nbut\n{done.stdout}")


def first_missing(expected: list[str], output: str) -> str | None:
    """The first expected line that does not come after the ones before it."""
    printed = iter([_loose(line) for line in output.splitlines()])
    for line in expected:
        if line.strip() != "..." and _loose(line) not in printed:  # `in` consumes up to the match
            return line
    return None


def _loose(line: str) -> str:
    return " ".join(re.sub(r"\d+(\.\d+)?", "0", line).split())


if __name__ == "__main__":
    from tests.harness.isolation import isolate

    reason = isolate()
    if reason:
        sys.exit(reason)
    page = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        if _TESTS.search(page.read_text()):
            os.chdir(directory)
        run_page(page)
