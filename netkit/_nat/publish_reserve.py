"""A published port is bound here as well, so that no other program takes it, and a conflict is an error.

One socket per port and protocol: of both families where it can be (bind(2) to ``::``). A listening one of
TCP may be bound again while connections of an earlier one are in TIME_WAIT, so what is relayed listens.
"""

from __future__ import annotations

import os
import socket
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EMFILE, EPROTONOSUPPORT, ESOCKTNOSUPPORT
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from weakref import WeakSet

from netkit._sockets import holder_of
from netkit._spec.port_mapping import PROTOCOLS
from netkit._system.limits import make_room
from netkit.errors import ExistsError, KernelError, NotFoundError, kernel_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from netkit._runtime import Runtime
    from netkit._spec.port_mapping import PublishSpec

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "sctp": socket.SOCK_STREAM}
_open_sockets: WeakSet[socket.socket] = WeakSet()


def make_room_for(runtime: Runtime, specs: Iterable[PublishSpec]) -> None:
    """Room for as many descriptors; KernelError if the hard limit has none, before anything is bound."""
    count = sum([(each.ports[1] - each.ports[0] + 1) * len(each.protos) for each in specs])
    wanted = make_room(count)
    most = getrlimit(RLIMIT_NOFILE)[1]
    if most != RLIM_INFINITY and wanted > most:
        raise kernel_error(
            f"reserve {count} ports", EMFILE, netns=runtime.label,
            hint=f"Each is an open file of this process, which may have {most} (RLIMIT_NOFILE, the hard "
            "limit); reserve=False needs none",
        )  # fmt: skip


def reserve(runtime: Runtime, spec: PublishSpec, held: list[Reservation], listens: bool) -> None:
    """Bind all ports of the spec, each as soon as it is bound in ``held``.

    ExistsError names who holds one; where the kernel has no sockets of a protocol nobody can take its ports.
    """
    low, high = spec.ports
    for proto in spec.protos:
        for port in range(low, high + 1):
            bound = _bind(runtime, spec, proto, port, listens and proto == "tcp")
            if bound is not None:
                held.append(Reservation(bound, proto, port))


class Reservation:
    """A bound port."""

    __slots__ = ("port", "proto", "socket")

    def __init__(self, bound: socket.socket, proto: str, port: int) -> None:
        self.socket = bound
        self.proto = proto
        self.port = port


def _bind(runtime: Runtime, spec: PublishSpec, proto: str, port: int, listens: bool) -> socket.socket | None:
    host_ip = spec.host_ip
    if host_ip is None:
        bound = _bound(runtime, spec, socket.AF_INET6, "::", proto, port, listens)
        return bound or _bound(runtime, spec, socket.AF_INET, "0.0.0.0", proto, port, False)
    family = socket.AF_INET if host_ip.version == 4 else socket.AF_INET6
    return _bound(runtime, spec, family, str(host_ip), proto, port, listens)


def _bound(
    runtime: Runtime, spec: PublishSpec, family: int, address: str, proto: str, port: int, listens: bool
) -> socket.socket | None:
    """None where there is no such family or protocol."""
    try:
        sock = runtime.open_socket(family, _KINDS[proto], PROTOCOLS[proto])
    except KernelError as problem:
        if problem.errno in (EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT):
            return None
        raise
    _open_sockets.add(sock)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, spec.host_ip is not None)
        if listens:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if listens:
            sock.listen(128)
    except OSError as problem:
        sock.close()
        if problem.errno == EADDRNOTAVAIL and address == "::":
            return None  # IPv6 is disabled
        raise _explained(runtime, problem.errno or 0, address, proto, port) from None
    return sock


def _explained(runtime: Runtime, number: int, address: str, proto: str, port: int) -> Exception:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    operation = f"publish {proto} port {port}"
    if number == EADDRINUSE:
        hint = f"{where} is held by {holder_of(runtime, proto, port)}"
        return ExistsError(operation, number, netns=runtime.label, hint=hint)
    if number == EADDRNOTAVAIL:
        hint = f"{address} is no address of this namespace: add it to a link first, or give reserve=False"
        return NotFoundError(operation, number, netns=runtime.label, hint=hint)
    return kernel_error(operation, number, netns=runtime.label)


def close_reservations(held: list[Reservation]) -> None:
    """Let the ports go."""
    while held:
        held.pop().socket.close()


def _after_fork() -> None:
    """A child does not hold the ports: they are to be free when the parent lets them go."""
    for sock in list(_open_sockets):
        sock.close()


os.register_at_fork(after_in_child=_after_fork)
