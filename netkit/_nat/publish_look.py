"""What publishing wants to know of a namespace's files, read as seldom as can be."""

from __future__ import annotations

from netkit._system.kept_files import KeptFiles
from netkit._system.sysctl_files import DIRECTORY, TABLES_IN_USE, read_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._runtime import Runtime

FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
_BRIDGE_CALLS = {4: "net/bridge/bridge-nf-call-iptables", 6: "net/bridge/bridge-nf-call-ip6tables"}


class Look:
    """How things are now, for these IP versions."""

    def __init__(self, runtime: Runtime, versions: Iterable[int]) -> None:
        self._runtime = runtime
        self._versions = [*versions]
        keys = [table[version] for table in (FORWARDING, TABLES_IN_USE) for version in self._versions]
        if runtime.opener.guarded:
            paths = {key: f"{DIRECTORY}/{key}" for key in keys}
            found = self._files().read(paths.values())
            self._values = {key: found[path] for key, path in paths.items() if path in found}
        else:
            self._values = runtime.inside(lambda: read_each(keys))

    def _files(self) -> KeptFiles:
        return self._runtime.once("files that publishing reads", lambda: KeptFiles(self._runtime.inside))

    def forwards(self, version: int) -> bool:
        """Whether it forwards packets of this IP version; what a kernel does not have is not in the way."""
        return self._values.get(FORWARDING[version]) != "0"

    def tables(self) -> dict[int, list[str]]:
        """The tables of iptables-legacy that somebody has used, by IP version."""
        names = {version: TABLES_IN_USE[version] for version in self._versions}
        return {version: self._values.get(name, "").split() for version, name in names.items()}

    def filters_bridged(self) -> list[int]:
        """The IP versions whose packets pass the chains of IP where they are bridged."""
        keys = [_BRIDGE_CALLS[version] for version in self._versions]
        if self._runtime.opener.guarded:
            found = self._files().read([f"{DIRECTORY}/{key}" for key in keys])
            on = {path.removeprefix(f"{DIRECTORY}/") for path, text in found.items() if text == "1"}
        else:
            on = {key for key, text in self._runtime.inside(lambda: read_each(keys)).items() if text == "1"}
        return [version for version in self._versions if _BRIDGE_CALLS[version] in on]
