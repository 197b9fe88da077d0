"""Run one of the harness's programs, which prints what it found as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.harness.patience import LONG


def program(name: str, *arguments: object, timeout: float = 5 * LONG) -> Any:
    """`python -m tests.harness.NAME ARGUMENTS`: its JSON; a failure shows what it said."""
    command = [sys.executable, "-m", f"tests.harness.{name}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)
