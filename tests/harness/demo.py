"""`netkit demo` as a command, and what it takes to play it by each backend."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec

import pytest

from netkit._demo import leftovers

COMMAND = [sys.executable, "-m", "netkit", "demo"]
HAS_IPTABLES = shutil.which("iptables-legacy") is not None and find_spec("iptc") is not None
NEEDS_IPTABLES = pytest.mark.skipif(not HAS_IPTABLES, reason="needs Debian's iptables, and python-iptables")
NEEDS_NFT = pytest.mark.skipif(shutil.which("nft") is None, reason="needs Debian's nftables")
BACKENDS = ["nftables", pytest.param("iptables", marks=NEEDS_IPTABLES)]


@pytest.fixture(scope="module")
def reading_is_warm(netkit_is_warm: None) -> None:
    """The current namespace's sockets live as long as its handle, which other tests may hold."""
    leftovers.Machine("warm-up")
