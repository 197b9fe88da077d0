"""Names for devices: those that are given, and around them those that are not."""

from __future__ import annotations

from netkit._spec import names
from netkit._topology.naming import called
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netkit._topology.interfaces import Cable, Interface


class Devices:
    """Gives every device a name that its namespace has only once."""

    def __init__(self, bridges: Iterable[Interface], cables: Sequence[Cable]) -> None:
        self._bridges = list(bridges)
        self._cables = cables
        self._used: dict[str, set[str]] = {}
        self._next: dict[str, int] = {}

    def name_all(self) -> None:
        """Those that are given first, then the rest around them."""
        ends = [end for cable in self._cables for end in (cable.near, cable.far) if end.device]
        for interface in [*[each for each in self._bridges if each.device], *ends]:
            self._claim(interface)
        for bridge in self._bridges:
            if not bridge.device:
                bridge.device = self._free(bridge.netns, bridge.owner)
        for cable in self._cables:
            near, far = cable.near, cable.far
            first, second = (far, near) if cable.swapped else (near, far)
            for end, other in ((first, second), (second, first)):
                if not end.device:
                    self._name_end(cable, end, other)

    def _claim(self, interface: Interface) -> None:
        used = self._used.setdefault(interface.netns, {"lo"})
        if interface.device in used:
            word = "device" if isinstance(interface.where, str) else "name"
            raise SpecError(
                f"{interface.path}.{word}: '{interface.device}' is taken in {called(interface.netns)}: "
                "a namespace has each device name once"
            )
        used.add(interface.device)

    def _name_end(self, cable: Cable, end: Interface, other: Interface) -> None:
        is_port = cable.master is not None and (end is cable.near or cable.far_master is not None)
        if is_port:
            wanted = f"to-{other.owner}" if cable.far_master is not None else other.owner
            end.device = self._free(end.netns, wanted)
            return
        number = self._next.get(end.netns, 0)
        used = self._used.get(end.netns, ())
        while f"eth{number}" in used:
            number += 1
        end.device = f"eth{number}"
        self._next[end.netns] = number + 1
        if used:
            self._used[end.netns].add(end.device)

    def _free(self, netns: str, wanted: str) -> str:
        used = self._used.setdefault(netns, {"lo"})
        base = fitting(wanted)
        name, number = base, 1
        while name in used:
            number += 1
            name = _numbered(base, number)
        used.add(name)
        return name


def fitting(wanted: str) -> str:
    """A device name made of any name: the same where it can be, else shortened."""
    usual = len(wanted) <= 15 and wanted.isalnum() and wanted.isascii()
    if usual and wanted not in ("all", "default"):
        return wanted
    plain = wanted.replace(":", "-").replace("%", "-")
    for name in (plain, names.shortened(plain)):
        try:
            return names.interface_name(name)
        except SpecError:
            continue
    return names.shortened("port" + plain.encode().hex())


def _numbered(base: str, number: int) -> str:
    suffix = f"-{number}"
    return base.encode()[: 15 - len(suffix)].decode(errors="ignore") + suffix
