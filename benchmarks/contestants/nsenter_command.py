"""A command inside, by `nsenter`."""

from __future__ import annotations

from . import outside_command


class Runner(outside_command.Runner):
    """See contestants.Runner."""

    prefix = ("nsenter", "--net=/run/netns/{name}")
