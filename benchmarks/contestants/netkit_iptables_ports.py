"""netkit by its iptables backend."""

from __future__ import annotations

from . import netkit_ports


class Publisher(netkit_ports.Publisher):
    """See contestants.Publisher."""

    backend = "iptables"
