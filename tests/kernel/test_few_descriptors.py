"""With each limit of open files: what netkit cannot do it says, naming the limit, and what it can it does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from netkit._system.mode import is_rootless
from tests.harness import few_descriptors
from tests.harness.few_descriptors import LIMITS, WORKS
from tests.harness.patience import LONG
from tests.harness.tools import needs_iptables


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "what", [pytest.param(each, marks=needs_iptables) if each == "iptables" else each for each in WORKS]
)
def test_every_refusal_names_the_limit(what: str, when: str) -> None:
    done = subprocess.run(
        [sys.executable, few_descriptors.__file__, what, when],
        capture_output=True,
        text=True,
        timeout=LONG,
        env=few_descriptors.environment(is_rootless()),
    )
    assert (done.returncode, done.stderr) == (0, "")
    few_descriptors.check(done.stdout)
    assert len(done.stdout.splitlines()) == len(LIMITS)
