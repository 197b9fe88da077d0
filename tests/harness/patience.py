"""How much more time than usual things may take: NETKIT_TEST_PATIENCE=10 in an emulated machine."""

from __future__ import annotations

import os

PATIENCE = float(os.environ.get("NETKIT_TEST_PATIENCE", "1"))
