"""Every example of the README and of docs/ runs as it is printed; the site builds without a warning."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml

from netkit import errors
from tests.harness.page import blocks, is_printed, sessions
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
        timeout=2 * LONG,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_entrance_has_examples() -> None:
    """A fence that the reader above does not recognise would be an example that nobody runs."""
    assert {"README.md", "docs/tutorial.md"} <= {_name(page) for page in WITH_EXAMPLES}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_python_fence_is_found(page: Path) -> None:
    text = page.read_text()
    fences = sum(line.strip().startswith(("```python", "```py", "```console")) for line in text.splitlines())
    lines = text.splitlines()
    shown = [block for block in blocks(text) if lines[block.line - 2].strip()[:6] in ("```pyt", "```con")]
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
        timeout=2 * LONG,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "index.html").exists()


def test_blocks_know_their_lines() -> None:
    page = (
        "a\n\n```python\nx = 1\n```\n\n```text\n1\n```\n\n- b\n\n    ```python\n    y = 2\n    ```\n"
        "<!-- setup\nz = 3\n-->\n<!-- run: ip, netkit -->\n| `ip` | netkit | why |\n|---|---|---|\n"
        "| `ip link` | `a = 1`, then `b(\\|)` | `no` |\n| `ip rule` | | |\n"
    )
    assert [tuple(block) for block in blocks(page)] == [
        ("python", "x = 1\n", 4, "1\n"),
        ("python", "y = 2\n", 14, None),
        ("python", "z = 3\n", 17, None),
        ("shell", "ip link\nip rule\n", 20, None),
        ("cells", "a = 1\nb(|)\n", 20, None),
    ]


def test_what_is_printed_is_compared_but_for_numbers_spacing_and_gaps() -> None:
    ((_, expected),) = sessions("$ netkit doctor\nkernel  6.1\n...\nlink/ether ... ok\n")
    assert is_printed(expected, ["kernel 5.10", "other", "more", "link/ether 92:0e ok"])
    assert is_printed(expected, ["kernel 5.10", "", "link/ether  ok"])
    for wrong in (
        ["link/ether a ok", "kernel 5.10"],
        ["kernel 5.10", "link/ether a ok", "more"],
        ["kernel 5.10"],
    ):
        assert not is_printed(expected, wrong)
    assert is_printed([], [])
    assert not is_printed([], ["something"])
    assert not is_printed(["a.b"], ["a-b"])


def _run(tmp_path: Path, page: str) -> str:
    path = tmp_path / "page.md"
    path.write_text(page)
    argv = [
        sys.executable,
        "-c",
        "import sys; from pathlib import Path; from tests.harness.page import run_page\n",
    ]
    argv[-1] += "run_page(Path(sys.argv[1]))"
    return subprocess.run([*argv, path], cwd=ROOT, capture_output=True, text=True, timeout=LONG).stderr


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```python\nprint(1, 'a')\n```\n```text\n2 a\n```\n", ""),
        ("```python\nprint('b')\n```\n```text\na\n```\n", "page.md:2: it is to print\na\nbut says\nb\n"),
        ("```python\nprint('b')\n```\n```text\n```\n", "page.md:2: it is to print\n\nbut says\nb\n"),
        (
            "```python\nfor x in 'ab': print(x)  # -> a\n```\n",
            "page.md:2: it is to print\na\nbut says\na\nb\n",
        ),
        (
            "```python\nprint('b')  # -> b\nprint('c')  # -> d\n```\n",
            "page.md:3: it is to print\nd\nbut says\nc\n",
        ),
        ("```console\n$ echo a\nb\n```\n", "page.md:2: echo a: it is to print\nb\nbut says\na\n"),
        ("<!-- run: ip -->\n\n| `ip` |\n|---|\n| `false` |\n", "page.md:2: false: status 1\n\n"),
        ("<!-- run: netkit -->\n\n| netkit |\n|---|\n| `raise SystemExit('ran')` |\n", "ran\n"),
    ],
)
def test_a_page_that_says_something_else_fails(tmp_path: Path, page: str, said: str) -> None:
    assert _run(tmp_path, page).removeprefix(f"{tmp_path}/") == said


DATA = re.compile(r"^ *```(yaml|toml|json)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if DATA.search(page.read_text())], ids=_name)
def test_data_is_well_formed(page: Path) -> None:
    read = {"yaml": yaml.safe_load, "toml": tomllib.loads, "json": json.loads}
    for kind, text in DATA.findall(page.read_text()):
        assert isinstance(read[kind](textwrap.dedent(text)), dict)


def test_every_exception_has_its_remedy() -> None:
    page = (ROOT / "docs/howto/errors.md").read_text()
    for name in set(errors.__all__) - {"NetkitError"}:
        assert re.search(
            rf"^## {name}$.*?^```python\n.*?\b{name}\b.*?^```text\n.+?^```", page, re.M | re.S
        ), name
        assert f"| [{name}](#{name.lower()}) |" in page


def test_the_readme_leads_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link
