"""netkit's Topology: the star as one plan, hub included, which is written anew for each build."""

from __future__ import annotations

from netkit import Topology

from .. import plan


class Star:
    """See contestants.Star."""

    survives = False

    def hub(self) -> str:
        return str(self.net["switch"].path)

    def build(self, size: int) -> None:
        subnet = f"{plan.FIRST - 1}/{plan.PREFIX}"
        self.net = Topology.star(size, subnet=subnet, named=False).create()

    def teardown(self) -> None:
        self.net.delete()

    def place(self, container: int) -> str:
        return str(self.net[f"box{container + 1}"].path)
