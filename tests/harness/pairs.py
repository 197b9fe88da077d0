"""A pair between two namespaces, with addresses of both families."""

from __future__ import annotations

from netkit import Namespace, VethPair

BOTH = {
    "address": ["10.0.0.1/24", "fd00::1/64"],
    "peer_address": ["10.0.0.2/24", "fd00::2/64"],
}


def the_pair(host: Namespace, box: Namespace) -> VethPair:
    return VethPair(host, box, name="eth0", peer_name="eth0", **BOTH)  # type: ignore[arg-type]
