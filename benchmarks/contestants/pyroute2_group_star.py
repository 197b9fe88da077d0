"""pyroute2's IPRoute by who knows of link groups: one request deletes them all."""

from __future__ import annotations

from . import pyroute2_star


class Star(pyroute2_star.Star):
    """See contestants.Star."""

    more = {"group": 4711}  # noqa: RUF012

    def _delete_links(self) -> None:
        self.ipr.link("del", group=4711)
