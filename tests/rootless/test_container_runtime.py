"""Containers without root: the example of docs/howto/container_runtime.md, by an ordinary user with crun."""

from __future__ import annotations

from pathlib import Path

from tests.harness.cgroups import VERSION_2
from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.tools import needs

HOWTO = Path(__file__).parents[2] / "docs/howto"


@needs("crun", "busybox")
def test_an_ordinary_user_runs_containers(nobody: Ordinary) -> None:
    program = nobody.home / "container_runtime.py"
    program.write_text((HOWTO / "container_runtime.py").read_text())
    unshare = [PYTHON, "-m", "netkit", "unshare", "--", "unshare", "--mount", "--cgroup"]
    runtime = ["crun", "--cgroup-manager=disabled"]
    done = nobody.run([*unshare, "sh", "-ec", VERSION_2, "sh", PYTHON, "-W", "error", str(program), *runtime])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"```text\n{done.stdout}```" in (HOWTO / "container_runtime.md").read_text()
