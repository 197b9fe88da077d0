"""netkit with named namespaces, which `ip netns exec` finds."""

from __future__ import annotations

from . import netkit_demo


class Demo(netkit_demo.Demo):
    """See contestants.Demo."""

    named = True
