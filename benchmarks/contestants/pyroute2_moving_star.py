"""pyroute2's IPRoute as most programs use it: both ends created here, one moved to where it belongs."""

from __future__ import annotations

from .. import plan
from . import pyroute2_star


class Star(pyroute2_star.Star):
    """See contestants.Star."""

    def _link(self, number: int) -> None:
        port, far = f"port{number}", f"far{number}"
        self.ipr.link("add", ifname=port, kind="veth", peer=far)
        self.ipr.link("set", index=self.ipr.link_lookup(ifname=far)[0], net_ns_fd=f"c{number}", ifname="eth0")
        master = self.bridges[number // plan.PORTS]
        self.ipr.link("set", index=self.ipr.link_lookup(ifname=port)[0], master=master, state="up")
