"""`ip -batch` by who knows of link groups: one command deletes them all."""

from __future__ import annotations

from . import commands_star


class Star(commands_star.Star):
    """See contestants.Star."""

    GROUP, HUB = "group 4711", "hub-group"

    def _deletions(self) -> str:
        return f"ip -n {self.HUB} link delete group 4711\n"
