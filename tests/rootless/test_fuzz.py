"""What a broker is sent is checked, field by field: whatever comes, it answers and serves on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.ordinary import PYTHON, Ordinary
from tests.harness.patience import LONG
from tests.harness.tools import needs
from tests.rootless import fuzz


@pytest.mark.slow
@needs("setpriv", "unshare")
def test_a_live_broker_survives_anything_and_leaks_nothing(nobody: Ordinary) -> None:
    env = nobody.borrow("hypothesis")
    argv = [PYTHON, "-c", Path(fuzz.__file__).read_text(), "300"]
    done = nobody.run(nobody.counted(argv), env=env, timeout=3 * LONG)
    assert done.returncode == 0, done.stderr
    leaked, works = done.stdout.splitlines()
    assert leaked.split()[0] == "0"
    assert "create: reply" in leaked  # some of it was right
    assert works == "0.0 0"
