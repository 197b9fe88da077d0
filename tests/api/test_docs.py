"""Every example of the README and of docs/ runs as it is printed; the site builds without a warning."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.page import blocks, first_missing, sessions
from tests.harness.patience import LONG

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_EXAMPLES = [page for page in PAGES if list(blocks(page.read_text()))]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.kernel
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=_name)
def test_examples_run(page: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.harness.page", _name(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=4 * LONG,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_entrance_has_examples() -> None:
    """A fence that the reader above does not recognise would be an example that nobody runs."""
    assert {"README.md", "docs/tutorial.md"} <= {_name(page) for page in WITH_EXAMPLES}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_python_fence_is_found(page: Path) -> None:
    text = page.read_text()
    fences = sum(line.strip().startswith(("```python", "```py", "```console")) for line in text.splitlines())
    shown = [block for block in blocks(text) if "<!-- setup" not in text.splitlines()[block.line - 2]]
    assert len(shown) == fences


@pytest.mark.skipif(not importlib.util.find_spec("mkdocs"), reason="mkdocs is not installed (extra: dev)")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    # Not -W error: the site builder's own deprecations are not ours.
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},  # an announcement, not a warning about our pages
        capture_output=True,
        text=True,
        timeout=4 * LONG,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "index.html").exists()


def test_blocks_know_their_lines() -> None:
    page = "a\n\n```python\nx = 1\n```\n\n- b\n\n    ```python\n    y = 2\n    ```\n<!-- setup\nz = 3\n-->\n"
    assert [tuple(block) for block in blocks(page)] == [
        ("python", "x = 1\n", 4),
        ("python", "y = 2\n", 10),
        ("python", "z = 3\n", 13),
    ]


def test_console_is_compared_loosely_but_in_order() -> None:
    ((command, expected),) = sessions("$ netkit doctor\nkernel  6.1\n...\nok\n")
    assert command == "netkit doctor"
    assert first_missing(expected, "kernel 5.10\nother\nok\n") is None
    assert first_missing(expected, "ok\nkernel 5.10\n") == "ok"
