"""The machine's own network before and after the suite: `Baseline().check()` must be empty at the end.

A helper process is started before the suite enters namespaces of its own and so stays in the
machine's; asked with a line on its standard input, it answers with what it reads there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

from tests.harness import processes
from tests.harness.patience import LONG

_READER = Path(__file__).with_name("machine.py")
_MARK = "NETKIT_TEST_SESSION"


class Baseline:
    """What the machine was when this object was made. Make it before `isolate()`."""

    def __init__(self) -> None:
        self._helper = subprocess.Popen(
            [sys.executable, "-I", str(_READER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._before = self._read()
        self.mark = uuid.uuid4().hex
        os.environ[_MARK] = self.mark  # inherited: finds processes that left our tree

    def check(self, grace: float = LONG) -> list[str]:
        """A line for each thing that is not what it was; processes that are ending get `grace` seconds."""
        found = [
            f"process left: {line}"
            for line in processes.leftovers(
                f"{_MARK}={self.mark}", except_for={self._helper.pid}, grace=grace
            )
        ]
        after = self._read()
        for kind, before in self._before.items():
            found += differences(kind, before, after[kind])
        return found

    def close(self) -> None:
        """End the helper."""
        self._helper.communicate()
        os.environ.pop(_MARK, None)

    def _read(self) -> dict[str, dict[str, str]]:
        assert self._helper.stdin is not None
        assert self._helper.stdout is not None
        self._helper.stdin.write("read\n")
        self._helper.stdin.flush()
        answer = self._helper.stdout.readline()
        if not answer:
            raise RuntimeError(f"the machine's reader ended with status {self._helper.wait()}")
        return json.loads(answer)


def differences(kind: str, before: dict[str, str], after: dict[str, str]) -> list[str]:
    lines = [f"{kind}: gone: {before[key]}" for key in before.keys() - after.keys()]
    for key in after:
        if key not in before:
            # A module loaded by the suite brings its sysctls along; a device's are seen as a link.
            lines += [] if kind == "sysctl" else [f"{kind}: new: {after[key]}"]
        elif before[key] != after[key]:
            lines.append(f"{kind}: was: {before[key]}\n{kind}: is:  {after[key]}")
    return sorted(lines)
