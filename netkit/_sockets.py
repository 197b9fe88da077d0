"""The sockets of a namespace that have a port, and who holds one; the twin is ``ss -n``."""

from __future__ import annotations

import os
from _socket import AF_INET, AF_INET6

from netkit._netlink.sock_diag import (
    LISTENING,
    NETLINK_SOCK_DIAG,
    STATES,
    TIME_WAIT,
    UNCONNECTED,
    dump_sockets,
    parse_sockets,
)
from netkit._spec.addresses import address_of
from netkit._spec.port_mapping import PROTOCOLS
from netkit.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.sock_diag import BoundSocket
    from netkit._runtime import Runtime


def bound_sockets(runtime: Runtime, proto: str) -> list[BoundSocket]:
    """All sockets of a protocol, IPv4 and IPv6, from a fresh read."""
    diag = runtime.open_netlink(NETLINK_SOCK_DIAG)
    try:
        replies = [diag.dump(dump_sockets(family, PROTOCOLS[proto])) for family in (AF_INET, AF_INET6)]
    finally:
        diag.close()
    return [each for some in replies for each in parse_sockets(some)]


def listened(runtime: Runtime, proto: str) -> set[tuple[bytes, int]]:
    """Addresses and ports at which connections (of UDP: datagrams) are taken."""
    state = UNCONNECTED if proto == "udp" else LISTENING
    return {(each.address, each.port) for each in bound_sockets(runtime, proto) if each.state == state}


def holder_of(runtime: Runtime, proto: str, port: int) -> str:
    """Who holds a port, in words; what can't be found out is said, too."""
    try:
        found = _holding(runtime, proto, port)
    except (OSError, SpecError):
        return "another socket (which, the kernel does not tell)"
    owners = [_owner(each) for each in found if each.inode]
    if owners:
        return " and ".join(dict.fromkeys(owners))
    if any(each.state == TIME_WAIT for each in found):
        return "connections in TIME_WAIT, for up to 60 seconds"
    return "another socket (which, the kernel does not tell)"


def has_no_owner(runtime: Runtime, proto: str, port: int) -> bool:
    """Whether no process has a port now: at most connections are left, as in TIME_WAIT."""
    try:
        found = _holding(runtime, proto, port)
    except (OSError, SpecError):
        return False  # the kernel does not tell
    return not any(each.inode for each in found)


def processes_at(runtime: Runtime, proto: str, port: int) -> list[int]:
    """The processes that hold a port, as far as this one may look into them."""
    try:
        found = [_process_of(each) for each in _holding(runtime, proto, port) if each.inode]
    except (OSError, SpecError):
        return []
    return [int(each) for each in dict.fromkeys(found) if each is not None]


def _holding(runtime: Runtime, proto: str, port: int) -> list[BoundSocket]:
    return [each for each in bound_sockets(runtime, proto) if each.port == port]


def sockets_text(runtime: Runtime) -> list[str]:
    """A line for each socket of TCP and UDP, as `ss` has them, with who holds it."""
    lines: list[str] = []
    for proto in ("tcp", "udp"):
        for each in bound_sockets(runtime, proto):
            state = STATES.get(each.state, str(each.state))
            ends = f"{_end(each.address, each.port)} {_end(each.peer, each.peer_port)}"
            owner = _owner(each) if each.inode else "no process"
            lines.append(f"{proto} {state:<11} {ends} {owner}")
    return lines


def _end(address: bytes, port: int) -> str:
    text = str(address_of(address))
    return f"{f'[{text}]' if ':' in text else text}:{port or '*'}"


def _owner(bound: BoundSocket) -> str:
    process = _process_of(bound)
    try:
        if process is not None:
            who = "this process" if int(process) == os.getpid() else f"process {process}"
            return f"{who} ({_command(process)})"
    except OSError:
        pass  # it has ended just now
    return f"a process of user {bound.uid} that this one may not look into"


def _process_of(bound: BoundSocket) -> str | None:
    name = f"socket:[{bound.inode}]"
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with os.scandir(f"/proc/{process}/fd") as descriptors:
                if any(os.readlink(each.path) == name for each in descriptors):
                    return process
        except OSError:
            continue  # gone, or not ours to look at
    return None


def _command(process: str) -> str:
    with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
