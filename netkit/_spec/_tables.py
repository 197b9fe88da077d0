"""iproute2's files of table names, read only when a name is asked for that nobody knows."""

from __future__ import annotations

import os

ETC = "/etc/iproute2"
SHARE = "/usr/share/iproute2"


def read_tables(etc: str = ETC, share: str = SHARE) -> dict[str, int]:
    """Names and numbers as ip(8) reads them: the administrator's files over the distribution's."""
    tables: dict[str, int] = {}
    for folder in (share, etc):
        paths = [f"{folder}/rt_tables"]
        try:
            extra = sorted(name for name in os.listdir(f"{folder}/rt_tables.d") if name.endswith(".conf"))
        except OSError:  # the folder is optional
            extra = []
        paths += [f"{folder}/rt_tables.d/{name}" for name in extra]
        for path in paths:
            tables.update(_parsed(path))
    return tables


def _parsed(path: str) -> dict[str, int]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:  # so is each file
        return {}
    found: dict[str, int] = {}
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) == 2:
            try:
                found[words[1]] = int(words[0], 0)
            except ValueError:  # ip(8) complains and goes on; a name that is missing is an error of ours
                continue
    return found
