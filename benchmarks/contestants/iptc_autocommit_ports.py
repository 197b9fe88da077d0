"""python-iptables as its README shows it: each rule a commit."""

from __future__ import annotations

from . import iptc_ports


class Publisher(iptc_ports.Publisher):
    """See contestants.Publisher."""

    autocommit = True
