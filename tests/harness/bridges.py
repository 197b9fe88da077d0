"""What `ip -d link` and bridge(8) say of bridges and their ports."""

from __future__ import annotations

import json
from typing import Any

from netkit import Namespace
from tests.harness.oracle import link, run_in


def data(ns: Namespace, name: str = "br0") -> dict[str, Any]:
    """What `ip -d link` says of the bridge itself."""
    info: dict[str, Any] = link(ns, name)["linkinfo"]
    assert info["info_kind"] == "bridge"
    return info["info_data"]


def port_data(ns: Namespace, name: str) -> dict[str, Any]:
    """What `ip -d link` says of a port."""
    info: dict[str, Any] = link(ns, name)["linkinfo"]
    assert info["info_slave_kind"] == "bridge"
    return info["info_slave_data"]


def fdb(ns: Namespace, *words: str) -> list[dict[str, Any]]:
    return json.loads(run_in(ns, "bridge", "-j", "fdb", "show", *words) or "[]")
