"""UDP has no end that the kernel sees: what it remembers of a port's datagrams is forgotten on a change.

Else a client that goes on from the same port would be served by who served it before, for 30 to 180 seconds.
"""

from __future__ import annotations

from errno import EINVAL, EOPNOTSUPP, EPROTONOSUPPORT

from netkit._nat.publish_devices import addresses_of
from netkit._netlink.conntrack import delete_entry, dump_entries, parse_entries
from netkit._spec.port_mapping import PROTOCOLS
from netkit.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._netlink.conntrack import Entry as Connection
    from netkit._runtime import Runtime
    from netkit._spec.port_mapping import Entry

_UDP = PROTOCOLS["udp"]
_ABSENT = (EINVAL, EOPNOTSUPP, EPROTONOSUPPORT)


def forget_udp(runtime: Runtime, entries: Iterable[Entry]) -> None:
    """Forget what was sent to these ports of this namespace, and of no other address."""
    by_version: dict[int, set[tuple[bytes | None, int]]] = {}
    for entry in entries:
        if entry.proto == _UDP:
            by_version.setdefault(entry.version, set()).add((entry.host_ip, entry.port))
    for version, ports in by_version.items():
        _forget(runtime, version, ports)


def _forget(runtime: Runtime, version: int, ports: set[tuple[bytes | None, int]]) -> None:
    numbers = {port for _, port in ports}
    only = numbers.pop() if len(numbers) == 1 else None
    try:
        replies = runtime.netfilter.dump(dump_entries(version, proto=_UDP, dport=only))
    except KernelError as problem:
        if problem.errno in _ABSENT:
            return  # this kernel has no ctnetlink: nothing can be done about it
        raise
    found = [each for each in parse_entries(replies) if each.orig.proto == _UDP]
    if not found:
        return
    local = {address.packed for _, address in addresses_of(runtime, [version])}
    doomed = [each for each in found if _is_meant(each, ports, local)]
    for outcome in runtime.netfilter.batch([delete_entry(each) for each in doomed]):
        if outcome is not None and outcome.errno != 2:  # ENOENT: it has ended by itself
            raise outcome


def _is_meant(found: Connection, ports: set[tuple[bytes | None, int]], local: set[bytes]) -> bool:
    destination, port = found.orig.dst, found.orig.dport
    if (destination, port) in ports:
        return True
    loopback = len(destination) == 4 and destination[0] == 127
    return (None, port) in ports and (destination in local or loopback)
