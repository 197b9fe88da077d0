"""`netkit demo` as a command."""

from __future__ import annotations

import sys

import pytest

from netkit._demo import leftovers

COMMAND = [sys.executable, "-m", "netkit", "demo"]


@pytest.fixture(scope="module")
def reading_is_warm(netkit_is_warm: None) -> None:
    """The current namespace's sockets live as long as its handle, which other tests may hold."""
    leftovers.Machine("warm-up")
