"""Topology: a whole network as a plan, and what is built from it.

topology.py    Topology: the plan and its life             plan.py        what it consists of (rules.py)
shapes.py      star, line, ring, tree, mesh                values.py      frozen parts (checks.py makes them)
layout.py      the plan worked out                         interfaces.py  devices, and who is on one wire
addressing.py  addresses (subnets.py, overlaps.py)         routing.py     shortest paths
gateways.py    default and given routes                    references.py  names that stand for addresses
building.py    layout -> resources                         network.py     Network: what is live
"""

from __future__ import annotations

from netkit._topology.network import Network
from netkit._topology.topology import Topology

__all__ = ["Network", "Topology"]
