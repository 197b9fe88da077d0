"""An ordinary user: uid 65534, no capability, no supplementary group, and a Python he can read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any

import pytest

from netkit._system.mode import is_rootless
from tests.harness import counted, isolation
from tests.harness.patience import LONG, PATIENCE

NOBODY = 65534
SOMEBODY = 65533  # nobody else runs anything as this user
_ROOT = Path(__file__).parents[2]


def _becoming(uid: int) -> dict[str, Any]:
    """For subprocess: root becomes that user, an ordinary user is one."""
    return {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}


BECOME = _becoming(NOBODY)


def _python() -> str:
    """This session's Python, if that user can run it, or else the system's."""
    own = os.path.realpath(sys.executable)
    argv = [own, "-I", "-c", "import ctypes, json"]
    with suppress(OSError, subprocess.SubprocessError):  # no right to execute it, or no such user here
        if subprocess.run(argv, capture_output=True, **BECOME).returncode == 0:
            return own
    return "/usr/bin/python3"


PYTHON = _python()


def cannot_be_one() -> str | None:
    """Why this session cannot run anything as an ordinary user; None if it can."""
    if is_rootless() and os.geteuid() != 0:
        return None  # this session is one
    if os.geteuid() != 0 or len(Path("/proc/self/uid_map").read_text().split()) != 3:
        return "only root can become another user"
    if int(Path("/proc/self/uid_map").read_text().split()[2]) <= NOBODY:
        return "this user namespace has no other user"
    if not os.access(PYTHON, os.X_OK):
        return f"there is no {PYTHON}, and an ordinary user may be unable to read root's"
    return None


class Ordinary:
    """Runs programs as that user, with a copy of netkit and a home of his own."""

    def __init__(self, home: Path, uid: int = NOBODY) -> None:
        self.home = home
        self._become = _becoming(uid)
        self._mounted: str | None = None
        shutil.copytree(_ROOT / "netkit", home / "netkit", ignore=shutil.ignore_patterns("__pycache__"))
        if self._become:
            for path in [home, *home.rglob("*")]:
                os.chown(path, uid, uid)

    def popen(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[str] | None = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program, with pipes on its output."""
        own = {"HOME": str(self.home), "PYTHONPATH": str(self.home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        own["NETKIT_TEST_PATIENCE"] = str(PATIENCE)
        return subprocess.Popen(
            argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**own, **(env or {})}, cwd=cwd or self.home, **self._become,
        )  # fmt: skip

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 2 * LONG
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        with self.popen(argv, env=env) as process:
            output, error = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(argv, process.returncode, output, error)

    def borrow(self, *modules: str) -> dict[str, str]:
        """The environment in which his Python finds what this session's has installed.

        Skips where it is another version of Python, which cannot load them.
        """
        env = {"PYTHONPATH": f"{self.home}:{self._packages()}"}
        program = f"import sys; print(sys.version_info[:2]); import {', '.join(modules)}"
        done = self.run([PYTHON, "-c", program], env=env)
        if done.returncode and done.stdout != f"{sys.version_info[:2]}\n":
            pytest.skip(f"{PYTHON} cannot use this session's packages: {done.stderr.splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
        return env

    def _packages(self) -> str:
        """This session's packages; where he cannot go to them, as below /root, another way there.

        It is read-only, and not in his home: what removes that removes nothing of them.
        """
        packages = sysconfig.get_path("purelib")
        if not self._become or not isolation.isolated or self.run(["test", "-x", packages]).returncode == 0:
            return packages
        if self._mounted is None:
            self._mounted = mkdtemp(prefix="netkit-packages-", dir="/tmp")
            os.chmod(self._mounted, 0o755)
            subprocess.run(["mount", "--bind", "-o", "ro", packages, self._mounted], check=True)
        return self._mounted

    def end(self) -> None:
        """Home and mount are gone."""
        if self._mounted is not None:
            subprocess.run(["umount", self._mounted], check=True)
            os.rmdir(self._mounted)
        shutil.rmtree(self.home)

    def counted(self, argv: Sequence[str]) -> list[str]:
        """The command that runs a program and fails if it leaves a process, mount or namespace."""
        return [*counted.INSIDE, PYTHON, "-c", Path(counted.__file__).read_text(), *argv]

    def python(self, source: str, *, env: Mapping[str, str] | None = None, timeout: float = 2 * LONG) -> str:
        """Run a Python program that is to end well; its output."""
        program = self.home / "program.py"
        program.write_text(source)
        done = self.run([PYTHON, "-W", "error", str(program)], env=env, timeout=timeout)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", done.stderr
        return done.stdout


@contextmanager
def ordinary_user(uid: int = NOBODY) -> Generator[Ordinary]:
    """His home is a directory that he can reach, and is gone afterwards."""
    ordinary = Ordinary(Path(mkdtemp(prefix="netkit-nobody-", dir="/tmp")), uid)
    try:
        yield ordinary
    finally:
        ordinary.end()
