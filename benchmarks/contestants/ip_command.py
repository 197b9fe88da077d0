"""A command inside, by `ip netns exec`."""

from __future__ import annotations

from . import outside_command


class Runner(outside_command.Runner):
    """See contestants.Runner."""

    prefix = ("ip", "netns", "exec", "{name}")
