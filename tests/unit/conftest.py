"""Unit tests: the simulated kernel that those of the lifecycle have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netkit.testing import FakeKernel
from tests.unit.fake_lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two namespaces in a kernel that is simulated."""
    with FakeKernel() as kernel:
        yield Lab(kernel, kernel.namespace("red"), kernel.namespace("blue"))
