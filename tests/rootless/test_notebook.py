"""A notebook in a real Jupyter kernel: with root, by the broker, and by an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import place
from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import needs
from tests.rootless import notebook

pytestmark = pytest.mark.slow
SAID = """\
0.0 ['lo', 'e0']
42 e0
42
(0, 0.0, -9, False)
{refusal}
interrupted
"""


WITH_ROOT = SAID.format(refusal="StateError") + "False\n"
WITHOUT_ROOT = SAID.format(refusal="UnsupportedError") + "0.0 ['lo', 'e0']\nkilled\n"


@pytest.mark.parametrize(
    ("rootless", "arguments", "said"),
    [
        pytest.param("0", [], WITH_ROOT, id="root", marks=pytest.mark.capable),
        pytest.param("1", ["--kill"], WITHOUT_ROOT, id="broker"),
    ],
)
def test_by_root(rootless: str, arguments: list[str], said: str) -> None:
    project = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, notebook.__file__, *arguments], capture_output=True, text=True, timeout=2 * LONG,
        env={**os.environ, "PYTHONPATH": project, "NETKIT_ROOTLESS": rootless},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, said), done.stderr
    assert place.names() == []


@needs("setpriv", "unshare")
def test_by_an_ordinary_user(nobody: Ordinary) -> None:
    env = nobody.borrow("nbclient", "ipykernel")
    argv = nobody.counted([PYTHON, "-c", Path(notebook.__file__).read_text(), "--kill"])
    done = nobody.run(argv, env=env, timeout=4 * LONG)
    assert (done.returncode, done.stdout) == (0, WITHOUT_ROOT), done.stderr
