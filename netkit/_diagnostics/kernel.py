"""How the running kernel was configured, and which modules it has, as its files tell."""

from __future__ import annotations

import os

_RELEASE = os.uname().release
_CONFIGURATIONS = ("/proc/config.gz", f"/boot/config-{_RELEASE}", f"/lib/modules/{_RELEASE}/config")


class Kernel:
    """Reads its files once; where a file is missing, the answer is "not known" (None)."""

    def __init__(self) -> None:
        self._options = _read_options()
        self._loaded = _loaded()
        self._loadable = {_module(line.partition(":")[0]) for line in _lines(_of_release("modules.dep"))}

    def option(self, name: str) -> str | None:
        """``y``, ``m`` or ``n`` of a CONFIG_ option; None where the configuration can't be read."""
        return None if self._options is None else self._options.get(name, "n")

    def would_load(self, module: str) -> bool:
        """Whether using it would load a module that isn't loaded yet."""
        return module in self._loadable and module not in self._loaded

    def is_loaded(self, module: str) -> bool:
        """Whether it is loaded now: trying a feature loads its module."""
        return module in _loaded()


def _loaded() -> set[str]:
    return {line.split()[0] for line in _lines("/proc/modules")}


def _of_release(name: str) -> str:
    return f"/lib/modules/{_RELEASE}/{name}"


def _module(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def _lines(path: str) -> list[str]:
    try:
        with open(path, errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _read_options() -> dict[str, str] | None:
    for path in _CONFIGURATIONS:
        text = _configuration(path)
        if text is not None:
            pairs = [line.split("=", 1) for line in text.splitlines() if line.startswith("CONFIG_")]
            return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
    return None


def _configuration(path: str) -> str | None:
    import gzip

    try:
        with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as file:
            return str(file.read())
    except OSError:
        return None
