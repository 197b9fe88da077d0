"""What `make` runs before anything else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.harness.patience import LONG

SCRIPTS = Path(__file__).parents[2] / "scripts"
# As pip: it catches Ctrl-C, which reaches the whole foreground group, and fails.
PIP = """#!/bin/sh
[ "$1" = -m ] || exit 0
echo "$@" >>pip
trap '' INT
kill -INT 0
exit 1
"""


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_ctrl_c_in_pip_ends_the_set_up(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    for name in ("setup", "find-python"):
        shutil.copy(SCRIPTS / name, tmp_path / "scripts")
    executable(tmp_path / "scripts" / "packages", "#!/bin/sh\n")  # nothing is installed by a test
    executable(tmp_path / ".venv" / "bin" / "python", PIP)
    python = subprocess.run(
        [SCRIPTS / "find-python"], capture_output=True, text=True, check=True
    ).stdout.strip()
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / ".venv" / ".identity").write_text(f"{tmp_path} {python} {version}\n")
    done = subprocess.run(
        [tmp_path / "scripts" / "setup"], capture_output=True, text=True, start_new_session=True, timeout=LONG
    )
    assert (done.returncode, done.stderr) == (130, "")
    assert len((tmp_path / "pip").read_text().splitlines()) == 1
