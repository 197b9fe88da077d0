"""CNI's bridge and host-local with portmap after them: each container has a port of the hub besides."""

from __future__ import annotations

from typing import Any

from . import cni_star


class Star(cni_star.Star):
    """See contestants.Star."""

    chain = ({"type": "portmap", "capabilities": {"portMappings": True}},)

    def _call(self, command: str, configuration: dict[str, Any], number: int, previous: object) -> Any:
        if configuration["type"] == "portmap":
            mapping = {"hostPort": 20000 + number, "containerPort": 80, "protocol": "tcp"}
            configuration = {**configuration, "runtimeConfig": {"portMappings": [mapping]}}
        return super()._call(command, configuration, number, previous)
