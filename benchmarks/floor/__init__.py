"""The floor: the same kernel work by the shortest C program, compiled when a benchmark runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ..harness import Unavailable

HERE = Path(__file__).parent


def compile_floor(directory: Path) -> Path:
    """The program, built into `directory`."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Unavailable("no C compiler (Debian: gcc libc6-dev)")
    program = directory / "floor"
    sources = [str(path) for path in sorted(HERE.glob("*.c"))]
    command = [compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(program), *sources]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"the floor does not compile: {done.stderr.strip()}")
    return program
