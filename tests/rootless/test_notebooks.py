"""The notebooks of docs/notebooks in a real Jupyter kernel, with root and by an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from netkit import Topology
from tests.harness import browser
from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import lacking
from tests.rootless import notebooks

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "docs" / "notebooks"
STEMS = sorted(path.stem for path in DIRECTORY.glob("*.ipynb"))


def check(output: str) -> None:
    """Each of them has drawn something, and shown a table or a tree."""
    shown = json.loads(output)
    assert sorted(shown) == STEMS
    for stem, kinds in shown.items():
        assert kinds.get("image/svg+xml", 0) >= 3, stem
        assert kinds.get("text/html", 0) >= kinds["image/svg+xml"], stem


@pytest.mark.slow
@pytest.mark.capable
def test_they_run_with_root_and_a_browser_draws_what_they_show(tmp_path: Path) -> None:
    """Also on a machine that does not know its own name, and would ask a server for it."""
    drawings, hosts = tmp_path / "drawings", tmp_path / "hosts"
    drawings.mkdir()
    hosts.write_text("127.0.0.1 localhost\n")
    unnamed = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    done = subprocess.run(
        [*unnamed, sys.executable, notebooks.__file__, str(DIRECTORY), str(drawings)],
        capture_output=True, text=True, timeout=3 * LONG,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NETKIT_ROOTLESS": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check(done.stdout)
    texts = [path.read_text() for path in sorted(drawings.iterdir())]
    assert len(texts) == sum(each[notebooks.SVG] for each in json.loads(done.stdout).values())
    if reason := lacking("chromium"):
        pytest.skip(f"they run, and nobody looks at what is drawn: {reason}")
    for dark in (False, True):
        browser.check(texts, tmp_path, dark=dark)


@pytest.mark.slow
def test_they_run_as_an_ordinary_user(nobody: Ordinary) -> None:
    env = nobody.borrow("nbclient", "ipykernel")
    copied = nobody.home / "notebooks"
    shutil.copytree(DIRECTORY, copied)
    for path in [copied, *copied.iterdir()]:
        path.chmod(0o755)
    argv = nobody.counted([PYTHON, "-c", Path(notebooks.__file__).read_text(), str(copied)])
    done = nobody.run(argv, env=env, timeout=3 * LONG)
    assert done.returncode == 0, done.stderr
    check(done.stdout)


@pytest.mark.parametrize("stem", STEMS)
def test_they_are_stored_without_outputs(stem: str) -> None:
    """What was printed once would be in every difference; what is true is seen by running them."""
    path = DIRECTORY / f"{stem}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs"), cell.id
        assert cell.get("execution_count") is None, cell.id
    assert notebook.cells[0].source.startswith("# ")
    assert f"](../notebooks/{stem}.ipynb)" in (ROOT / "docs/howto/notebook.md").read_text()


def test_the_picture_of_the_page_is_what_is_drawn_now() -> None:
    plan = Topology.star(3, subnet="172.18.0.0/24", forwarding=True)
    plan.add_namespace("internet")
    plan.add_link("switch", "internet", name="wan", subnet="198.51.100.0/30", default_route=True)
    plan.masquerade("switch", saddr="lan", oif="wan")
    stored = ROOT / "docs/howto/notebook.svg"
    assert stored.read_text() == plan.to_svg() + "\n", "write it anew"
